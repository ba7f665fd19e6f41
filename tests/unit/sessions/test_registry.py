"""Sessions found and made, streams let in or held, and the ticker that visits them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.sessions import (
    ANNOUNCED_WAIT_S,
    FRAME,
    TIMING,
    Handle,
    QuietRecorder,
    QuietWriter,
    a_recording,
    at,
    introduction,
    journaled,
    restore,
)
from wavstream.dialects import events as said
from wavstream.dialects.events import Frame
from wavstream.errors import LimitReached, QuotaReached
from wavstream.journal.events import Mark, RecordingStarted, ServerStopped
from wavstream.model.call import CallFacts
from wavstream.model.options import ChannelLayout, RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.model.times import utc
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.deferred_stream import DeferredStream
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.sessions.registry import TICK_SLOTS, SessionLimits, Sessions
from wavstream.sessions.session import Session, SessionStream
from wavstream.sessions.ticker import Ticker
from wavstream.storage.object_keys import KeyTemplate

MONO = RecordingOptions(channels=ChannelLayout.MONO)


class RegistryHarness:
    """The live sessions and what they are handed."""

    def __init__(
        self,
        *,
        sessions: int = 100,
        streams: int = 3,
        auto_record: bool = False,
        min_free_bytes: int = 0,
        quotas: Quotas | None = None,
    ) -> None:
        self.recorder = QuietRecorder()
        self.writer = QuietWriter()
        self.reserve = DiskReserve(Path(), min_free_bytes)
        self.sessions = Sessions(
            timing=TIMING,
            limits=SessionLimits(sessions=sessions, streams_per_session=streams, auto_record=auto_record),
            recorder=self.recorder,
            writer=self.writer,
            new_recordings=NewRecordings(keys=KeyTemplate(), reserve=self.reserve, now_us=lambda: at(0)),
            options_of={"default": MONO}.__getitem__,
            quotas=quotas,
        )
        self.ticker = Ticker(self.sessions, writer=self.writer, recorder=self.recorder)

    def open(
        self, leg: str = "a", *, session_id: str = "call-77", at_s: float = 0.0, record: bool = False,
        handle: Handle | None = None,
    ) -> SessionStream | DeferredStream:  # fmt: skip
        started = introduction(leg, session_id=session_id, record=record)
        return self.sessions.open_stream(started, app_id="default", handle=handle or Handle(), now_us=at(at_s))

    def session(self, session_id: str = "call-77") -> Session:
        found = self.sessions.find("default", session_id)
        assert found is not None
        return found

    def tick_round(self, at_s: float) -> None:
        for _ in range(TICK_SLOTS):
            self.ticker.tick(at(at_s))


def live(stream: SessionStream | DeferredStream) -> SessionStream:
    assert isinstance(stream, SessionStream)
    return stream


# ---- sessions ------------------------------------------------------------------------------------------------------


async def test_a_session_is_made_once_and_belongs_to_one_app() -> None:
    board = RegistryHarness().sessions

    mine = board.find_or_make("one", "call-77", at(0))
    theirs = board.find_or_make("two", "call-77", at(0))

    assert board.find_or_make("one", "call-77", at(1)) is mine
    assert mine is not theirs
    assert [session for session in board if session.app_id == "one"] == [mine]
    assert (list(board), len(board)) == ([mine, theirs], 2)
    assert board.find("three", "call-77") is None


async def test_a_session_too_many_is_refused_unless_it_was_let_in_before() -> None:
    board = RegistryHarness(sessions=1).sessions
    board.find_or_make("default", "call-1", at(0))

    with pytest.raises(LimitReached, match="as many sessions") as refusal:
        board.find_or_make("default", "call-2", at(0))

    assert refusal.value.retry_after_s > 0
    assert board.find_or_make("default", "call-1", at(0)).session_id == "call-1"
    assert board.find_or_make("default", "call-2", at(0), beyond_limit=True).session_id == "call-2"


async def test_where_there_is_no_room_the_app_that_has_announced_most_loses_what_it_announced_first() -> None:
    board = RegistryHarness(sessions=6)
    board.open(session_id="call-1")
    for number, app_id in enumerate(("two", "one", "one", "one", "one"), 2):
        board.sessions.find_or_make(app_id, f"call-{number}", at(number)).announce(at(number))
    for session_id in ("call-5", "call-6"):  # starts have them in their hands
        board.sessions.find_or_make("one", session_id, at(6)).expect_stream(at(6))
    first = board.sessions.find("one", "call-3")
    assert first is not None

    left = []
    for number in (7, 8, 9):
        board.open(session_id=f"call-{number}")
        left.append(sorted(session.session_id for session in board.sessions))
    with pytest.raises(LimitReached):
        board.open(session_id="call-10")

    assert left == [
        ["call-1", "call-2", "call-4", "call-5", "call-6", "call-7"],
        ["call-1", "call-2", "call-5", "call-6", "call-7", "call-8"],
        ["call-1", "call-5", "call-6", "call-7", "call-8", "call-9"],
    ]
    board.tick_round(2 * ANNOUNCED_WAIT_S)
    assert first.announced_until_us is not None  # what was forgotten is not visited any more


async def test_a_stream_too_many_is_refused_and_the_others_stay() -> None:
    board = RegistryHarness(streams=2)
    board.open("a")
    board.open("b")

    with pytest.raises(LimitReached, match="as many streams"):
        board.open("c")

    assert len(board.session().streams) == 2


async def test_a_session_that_nothing_keeps_is_forgotten_by_the_beat() -> None:
    board = RegistryHarness()
    live(board.open("a")).closed(True, at(1))
    board.open("a", session_id="call-78")

    board.tick_round(2)

    assert board.sessions.find("default", "call-77") is None
    assert board.sessions.find("default", "call-78") is not None


# ---- recordings that nobody asks the API for -----------------------------------------------------------------------


async def test_a_stream_that_asks_for_it_starts_one_recording_of_its_session() -> None:
    board = RegistryHarness()

    for leg in ("a", "b"):
        board.open(leg, record=True)

    (recording,) = (each.row for each in board.session().recordings.running)
    assert recording.options == MONO
    assert [changed.id for changed in board.recorder.changed] == [recording.id]


async def test_a_stream_that_comes_back_does_not_start_what_was_stopped_again() -> None:
    board = RegistryHarness()
    stream = live(board.open("a", record=True))
    session = board.session()
    session.recordings.stop(session.recordings.running[0], EndReason.STOPPED, at(1))
    stream.closed(False, at(2))
    board.tick_round(3)

    board.open("a", record=True, at_s=4)

    assert board.session() is session
    assert session.recordings.running == []


async def test_every_session_is_recorded_once_where_the_operator_says_so() -> None:
    board = RegistryHarness(auto_record=True)

    for leg, session_id in (("a", "call-1"), ("b", "call-1"), ("a", "call-2")):
        board.open(leg, session_id=session_id)

    assert [len(board.session(name).recordings.running) for name in ("call-1", "call-2")] == [1, 1]


async def test_a_recording_that_waits_is_the_one_that_a_stream_asks_for() -> None:
    board = RegistryHarness()
    asked = a_recording()
    board.sessions.find_or_make("default", "call-77", at(0)).start(asked, at(0))

    board.open("a", record=True)

    assert [each.row.id for each in board.session().recordings.running] == [asked.id]


# ---- a restart -----------------------------------------------------------------------------------------------------


async def test_a_stream_of_a_session_whose_journal_is_read_waits_and_then_loses_nothing() -> None:
    board, handle = RegistryHarness(auto_record=True), Handle()
    board.sessions.defer("default", "call-77")

    held = board.open("a", handle=handle)
    held.frame(Frame(0, 0, 160, FRAME), at(0.1))
    held.event(said.Mark("early"), at(0.2))
    while_held = (handle.reading, board.sessions.find("default", "call-77"))
    board.sessions.attach("default", "call-77", at(5))
    held.frame(Frame(0, 160, 160, FRAME), at(5.1))

    assert while_held == (False, None)
    assert handle.reading
    journal = board.session().notes.journal
    assert journal is not None
    assert journaled(journal)[1:] == [("frame", 0, 0), Mark(stream=1, name="early"), ("frame", 0, 160)]
    (stream,) = board.session().streams
    assert stream.joined_us == at(5)


async def test_how_long_its_frames_are_is_known_once_a_stream_is_let_in_and_has_sent_some() -> None:
    board = RegistryHarness()
    board.sessions.defer("default", "call-77")
    held = board.open("a")
    before = held.frame_samples
    board.sessions.attach("default", "call-77", at(5))
    silent = held.frame_samples

    held.frame(Frame(0, 0, 240, FRAME), at(5.1))

    assert (before, silent, held.frame_samples) == (0, 0, 240)


async def test_a_stream_that_left_while_it_waited_has_left_when_it_is_let_in() -> None:
    board, handle = RegistryHarness(auto_record=True), Handle()
    board.sessions.defer("default", "call-77")

    board.open("a", handle=handle).closed(True, at(1))
    board.sessions.attach("default", "call-77", at(5))

    assert board.session().streams == []
    assert board.recorder.ends == [EndReason.HANGUP]


async def test_a_held_stream_too_many_is_told_to_try_again_and_the_others_are_let_in() -> None:
    board, handles = RegistryHarness(streams=1), [Handle(), Handle()]
    board.sessions.defer("default", "call-77")
    for leg, handle in zip("ab", handles, strict=True):
        board.open(leg, handle=handle)

    board.sessions.attach("default", "call-77", at(5))

    assert [[code for code, _ in handle.closed] for handle in handles] == [[], [1013]]


async def test_streams_of_other_sessions_are_not_held() -> None:
    board = RegistryHarness()
    board.sessions.defer("default", "call-77")

    assert isinstance(board.open("a", session_id="call-78"), SessionStream)


async def test_nothing_new_is_taken_in_when_the_server_goes_down() -> None:
    board = RegistryHarness(auto_record=True)
    stream = live(board.open("a"))
    session = board.session()
    journal = session.notes.journal
    assert journal is not None

    board.ticker.shut_down(at(1))
    board.ticker.shut_down(at(1.1))
    stream.closed(True, at(2))

    assert [type(row) for row in journaled(journal)] == [RecordingStarted, ServerStopped]
    assert board.writer.submitted == [[journal]]
    with pytest.raises(LimitReached, match="restarting"):
        board.open("a", session_id="call-78")
    assert board.recorder.ended == {}


# ---- the ticker ----------------------------------------------------------------------------------------------------


async def test_every_session_is_visited_once_in_ten_slots() -> None:
    board = RegistryHarness(auto_record=True)
    for number in range(25):
        board.open("a", session_id=f"call-{number}")

    board.tick_round(1)

    visited = [journal for journals in board.writer.submitted for journal in journals]
    assert len(visited) == 25
    assert {journal.session_id for journal in visited} == {f"call-{number}" for number in range(25)}
    assert [len(journals) for journals in board.writer.submitted].count(3) == 5


async def test_a_session_of_which_much_has_come_is_written_without_its_tick_and_no_other_is() -> None:
    board = RegistryHarness(auto_record=True)
    board.open("a")
    board.open("a", session_id="call-78")
    before = len(board.writer.submitted)

    board.sessions.write_now("default", "call-78")
    board.sessions.write_now("default", "nobody's")

    assert [[each.session_id for each in journals] for journals in board.writer.submitted[before:]] == [["call-78"]]


async def test_journals_are_folded_when_enough_was_journaled() -> None:
    board = RegistryHarness(auto_record=True)
    board.open("a")

    for visit in range(1, 101):
        board.tick_round(visit * 0.15)

    journal = board.session().notes.journal
    assert board.recorder.advanced
    assert all(journals == [journal] for journals in board.recorder.advanced)
    assert len(board.recorder.advanced) < 100 / 3


async def test_sockets_are_read_no_further_while_the_journal_is_full() -> None:
    board, early, late, held = RegistryHarness(), Handle(), Handle(), Handle()
    board.sessions.defer("default", "call-78")
    board.open("a", handle=early)
    board.open("a", session_id="call-78", handle=held)

    board.sessions.apply_backpressure(True)
    board.open("b", handle=late)
    board.sessions.attach("default", "call-78", at(1))
    while_full = (early.reading, late.reading, held.reading)
    board.sessions.apply_backpressure(False)

    assert while_full == (False, False, False)
    assert (early.reading, late.reading, held.reading) == (True, True, True)


@pytest.mark.parametrize(("record", "auto_record"), [(True, False), (False, True)])
async def test_a_stream_that_asks_for_a_recording_is_refused_while_the_disk_has_no_room(
    record: bool, auto_record: bool
) -> None:
    board = RegistryHarness(min_free_bytes=1 << 62, auto_record=auto_record)
    await board.reserve.look()

    with pytest.raises(LimitReached, match="min_free_bytes"):
        board.open(record=record)

    assert not board.session().streams


async def test_a_stream_that_asks_for_none_is_let_in_without_room_on_the_disk() -> None:
    board = RegistryHarness(min_free_bytes=1 << 62)
    await board.reserve.look()

    board.open()

    assert len(board.session().streams) == 1


# ---- quotas --------------------------------------------------------------------------------------------------------


async def test_an_app_has_as_many_sessions_as_its_quota_and_gets_another_when_one_is_over() -> None:
    board = RegistryHarness(quotas=Quotas(of_apps={"loud": {Quota.SESSIONS: 2}})).sessions
    first = board.find_or_make("loud", "1", at(0))
    board.find_or_make("loud", "2", at(0))

    with pytest.raises(QuotaReached, match=r"quotas\.sessions is 2"):
        board.find_or_make("loud", "3", at(0))
    board.find_or_make("quiet", "3", at(0))
    board.find_or_make("loud", "4", at(0), beyond_limit=True)
    board.drop_if_over(first)

    assert board.quotas.refused == {Quota.SESSIONS: 1}
    assert [session.session_id for session in board if session.app_id == "loud"] == ["2", "4"]


async def test_an_app_at_its_quota_gives_up_what_it_announced_and_nothing_of_others() -> None:
    board = RegistryHarness(quotas=Quotas(defaults={Quota.SESSIONS: 2})).sessions
    for app_id, session_id in (("quiet", "1"), ("loud", "2"), ("loud", "3")):
        board.find_or_make(app_id, session_id, at(0)).announce(at(int(session_id)))

    board.find_or_make("loud", "4", at(5))

    assert [session.session_id for session in board] == ["1", "3", "4"]
    assert not board.quotas.refused


async def test_a_stream_that_asks_for_a_recording_is_refused_where_the_app_has_as_many_as_it_may() -> None:
    harness = RegistryHarness(quotas=Quotas(defaults={Quota.RECORDINGS: 1}))
    harness.open(record=True)

    with pytest.raises(QuotaReached, match=r"quotas\.recordings is 1"):
        harness.open(record=True, session_id="call-78")
    harness.open(session_id="call-79")
    (recording,) = harness.session().recordings.by_id.values()
    harness.session().recordings.stop(recording, EndReason.STOPPED, at(1))

    with pytest.raises(QuotaReached):  # its file is still being made
        harness.open(record=True, session_id="call-78")
    harness.recorder.forget(recording.row.id)
    harness.open(record=True, session_id="call-78")
    assert harness.recorder.counts.of("default") == harness.recorder.counts.total == 1


async def test_starts_that_are_under_way_count_for_the_session_and_for_the_app() -> None:
    quotas = Quotas(defaults={Quota.RECORDINGS: 3, Quota.RECORDINGS_PER_SESSION: 2})
    board = RegistryHarness(quotas=quotas).sessions
    with board.starting("shop", "1"), board.starting("shop", "1"):
        with pytest.raises(QuotaReached, match=r"quotas\.recordings_per_session is 2"):
            board.check_recording("shop", "1")
        with board.starting("shop", "2"), pytest.raises(QuotaReached, match=r"quotas\.recordings is 3"):
            board.check_recording("shop", "3")
        board.check_recording("other", "1")
    board.check_recording("shop", "1")


async def test_the_server_has_as_many_recordings_as_it_may_whoever_asks() -> None:
    board = RegistryHarness(quotas=Quotas()).sessions
    board._limits = SessionLimits(sessions=9, streams_per_session=9, recordings=1)
    with board.starting("shop", "1"), pytest.raises(LimitReached, match="as many recordings"):
        board.check_recording("other", "1")


async def test_a_stream_is_awaited_that_comes_back_or_takes_the_place_of_one_that_is_open() -> None:
    harness = RegistryHarness()
    harness.open("a").closed(False, at(1))
    harness.open("b", at_s=2.0)

    def awaits(leg: str | None, session_id: str = "call-77", app_id: str = "default") -> bool:
        started = introduction(leg, session_id=session_id)
        return harness.sessions.awaits(started, app_id=app_id, handle=Handle())

    assert [awaits("a"), awaits("b"), awaits("c"), awaits(None)] == [True, True, False, False]
    assert not awaits("a", session_id="call-78")
    assert not awaits("a", app_id="other")


async def test_what_calls_left_out_is_counted_also_when_they_are_over() -> None:
    harness = RegistryHarness()
    live(harness.open()).event(said.CallInfo(CallFacts(vendor_ids={str(n): "v" for n in range(40)})), at(0))
    before = harness.sessions.all_left_out()
    harness.session().stream_closed(harness.session().streams[0], clean=True, now_us=at(1))
    harness.tick_round(2.0)

    assert len(harness.sessions) == 0
    assert before == harness.sessions.all_left_out() == {"facts": 8, "events": 0}


async def test_a_session_that_nobody_has_a_use_for_after_all_leaves_no_line() -> None:
    board = RegistryHarness(min_free_bytes=1 << 62)
    await board.reserve.look()
    with capture_logs() as logs:
        with pytest.raises(LimitReached):
            board.open(record=True)
        board.tick_round(1.0)
        assert logs == []
        board.open(session_id="call-78")
    assert [(line["event"], line["session_id"]) for line in logs] == [("session_opened", "call-78")]


async def test_what_a_restart_brought_back_is_as_long_as_it_was() -> None:
    board = RegistryHarness()
    row = replace(a_recording(), created_at=utc(at(0)), started_at=utc(at(0)))
    session = board.sessions.find_or_make("default", "call-77", at(60.0))
    board.sessions.tell_opened(session)
    journal = board.writer.open(key="k", app_id="default", session_id="call-77")
    restore(session, board.recorder, row, journal=journal, lost=[], last_us=at(50.0), now_us=at(60.0))
    with capture_logs() as logs:
        board.tick_round(61.0)
    (over,) = [line for line in logs if line["event"] == "session_over"]
    assert over["length_ms"] == 50_000
