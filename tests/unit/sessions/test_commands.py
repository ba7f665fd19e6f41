"""What the commands answer, and what they leave behind when they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.erasing import an_eraser
from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.sessions import FRAME, TIMING, Handle, QuietRecorder, QuietWriter, at, introduction, journaled, talk
from tests.support.waiting import WAIT_S, begun
from wavstream.catalog.catalog import Catalog
from wavstream.dialects.events import Frame
from wavstream.errors import Conflict, DependencyError, Forbidden, InvalidFields, LimitReached, NotFound, WavstreamError
from wavstream.journal.events import RecordingStopped
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.session import RunningRecording
from wavstream.model.times import utc
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.commands import Commands
from wavstream.sessions.deferred_stream import ANY
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.openers.base import OpenRequest
from wavstream.sessions.registry import TICK_SLOTS, SessionLimits, Sessions
from wavstream.sessions.session import SessionStream
from wavstream.sessions.ticker import Ticker
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import KeyTemplate
from wavstream.workers.boundary import Alone, Elsewhere

OPTIONS = RecordingOptions()


def shown(recording: Recording) -> RunningRecording:
    """Return the recording as its session shows it."""
    return RunningRecording(id=recording.id, status=recording.status)


@dataclass
class Opener:
    """A media server that does as it is told, or fails, or takes its time."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """``("open", recording)`` and ``("close", session)``, in order."""
    failure: WavstreamError | None = None
    gate: asyncio.Event | None = None
    """What it waits for before it answers."""
    answers: int = 0
    trouble: str | None = None

    async def open(self, request: OpenRequest) -> None:
        await self._answer("open", request.recording_id)

    async def close(self, *, app_id: str, session_id: str) -> None:
        await self._answer("close", session_id)

    async def _answer(self, what: str, of: str) -> None:
        self.asked.append((what, of))
        if self.gate is not None:
            await self.gate.wait()
        self.answers += 1
        if self.failure is not None:
            raise self.failure


def open_request(recording: Recording) -> OpenRequest:
    """As the service makes it."""
    return OpenRequest(
        app_id=recording.app_id,
        session_id=recording.session_id,
        recording_id=recording.id,
        media_url="ws://localhost/media/pcm",
        stream_token=None,
        expires_at=recording.created_at,
    )


class CommandsHarness:
    """Commands with a real catalog and storage, and sessions that record into the air."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        database: FaultyDatabase,
        opener: Opener | None = None,
        *,
        close_wait_s: float = 3600.0,
        boundary: Alone | None = None,
    ) -> None:
        self.now_s = 0.0
        self.recorder = QuietRecorder()
        self.catalog, self.database = catalog, database
        self.recorder.catalog = self.catalog
        self.spool = folder / "spool"
        self.storage = LocalStorage(folder / "recordings")
        self.storage.prepare(self.spool)
        self.writer = QuietWriter()
        self.reserve = DiskReserve(self.spool, 0)
        self.new_recordings = NewRecordings(keys=KeyTemplate(), reserve=self.reserve, now_us=self.now_us)
        self.sessions = Sessions(
            timing=TIMING,
            limits=SessionLimits(sessions=3, streams_per_session=4),
            recorder=self.recorder,
            writer=self.writer,
            new_recordings=self.new_recordings,
            options_of=lambda _: OPTIONS,
        )
        self.ticker = Ticker(self.sessions, writer=self.writer, recorder=self.recorder)
        self.opened = OpenedStreams(
            opener,
            request_for=open_request,
            sessions=self.sessions,
            now_us=self.now_us,
            close_wait_s=close_wait_s,
        )
        self.eraser = an_eraser(self.catalog, self.storage, self.recorder)
        self.commands = Commands(
            sessions=self.sessions,
            recorder=self.recorder,
            opened=self.opened,
            catalog=self.catalog,
            eraser=self.eraser,
            new_recordings=self.new_recordings,
            now_us=self.now_us,
            boundary=boundary,
        )

    def now_us(self) -> int:
        return at(self.now_s)

    def stream(self, leg: str = "a", session_id: str = "call-77", app_id: str = "one") -> SessionStream:
        started = introduction(leg, session_id=session_id)
        stream = self.sessions.open_stream(started, app_id=app_id, handle=Handle(), now_us=at(self.now_s))
        assert isinstance(stream, SessionStream)
        return stream

    async def start(self, session_id: str = "call-77", **more: Any) -> Recording:
        return await self.commands.start(app_id="one", session_id=session_id, options=OPTIONS, **more)

    async def finished(self, recording: Recording) -> Recording:
        """Let the recorder finish the recording's file: it is published and in the catalog."""
        available = replace(self.recorder.ended[recording.id], status=Status.AVAILABLE)
        spooled = self.spool / f"{recording.id}.wav"
        spooled.write_bytes(b"RIFF")
        self.storage.publish(spooled, recording.object_key, sidecar=b"{}")
        await self.catalog.recordings.save(available)
        self.recorder.finish(available)
        return available

    async def stop(self, recording: Recording) -> Recording:
        """Stop the recording, whose file is then finished."""
        answer = await begun(self.commands.stop(app_id="one", recording_id=recording.id))
        await self.finished(recording)
        return await answer

    async def row(self, recording: Recording) -> Recording | None:
        return await self.catalog.recordings.get(recording.id)

    def tick_round(self) -> None:
        for _ in range(TICK_SLOTS):
            self.ticker.tick(at(self.now_s))


@pytest.fixture
def office(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> CommandsHarness:
    return CommandsHarness(tmp_path, catalog, database)


def waits(stream: SessionStream) -> None:
    """Let 20 ms of the stream wait in the kernel until somebody drains it."""
    told: list[int] = []

    def drain(now_us: int) -> int:
        if not told:
            told.append(now_us)
            stream.frame(Frame(0, (now_us - at(0.0)) * 8 // 1000, 160, FRAME), now_us)
        return now_us

    stream.handle.drain = drain  # type: ignore[method-assign]


class Drained(Handle):
    """A handle whose drain a test may replace."""


async def test_what_was_said_before_a_command_and_was_not_read_yet_is_before_it_in_the_journal(
    office: CommandsHarness,
) -> None:
    started = introduction("a", session_id="call-77")
    stream = office.sessions.open_stream(started, app_id="one", handle=Drained(), now_us=at(0.0))
    assert isinstance(stream, SessionStream)
    waits(stream)
    recording = await office.start()
    assert stream.position == 160, "said before the start: not in it"
    (journal,) = office.writer.journals
    waits(stream)
    office.now_s = 1.0
    await office.commands.pause(app_id="one", recording_id=recording.id)
    waits(stream)
    office.now_s = 2.0
    await office.commands.resume(app_id="one", recording_id=recording.id)
    waits(stream)
    office.now_s = 3.0
    await office.stop(recording)
    rows = [row if isinstance(row, tuple) else type(row).__name__ for row in journaled(journal)]
    assert [row for row in rows if row != "SessionState"] == [
        "RecordingStarted",
        ("frame", 0, 8_000),
        "RecordingPaused",
        ("withheld", 0, 16_000, 160),
        "RecordingResumed",
        ("frame", 0, 24_000),
        "RecordingStopped",
    ]


async def test_a_command_finds_a_call_ended_whose_hang_up_was_not_read_yet(office: CommandsHarness) -> None:
    started = introduction("a", session_id="call-77")
    stream = office.sessions.open_stream(started, app_id="one", handle=Drained(), now_us=at(0.0))
    recording = await office.start()

    def drain(now_us: int) -> int:
        stream.closed(True, now_us)
        return now_us

    stream.handle.drain = drain  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await office.commands.pause(app_id="one", recording_id=recording.id)
    assert office.recorder.ended[recording.id].end_reason is EndReason.HANGUP


async def test_what_waits_when_the_server_goes_down_is_in_the_journal(office: CommandsHarness) -> None:
    started = introduction("a", session_id="call-77")
    stream = office.sessions.open_stream(started, app_id="one", handle=Drained(), now_us=at(0.0))
    assert isinstance(stream, SessionStream)
    await office.start()
    waits(stream)
    office.ticker.shut_down(at(1.0))
    (journal,) = office.writer.journals
    rows = [row if isinstance(row, tuple) else type(row).__name__ for row in journaled(journal)]
    assert rows[-2:] == [("frame", 0, 8_000), "ServerStopped"]


async def test_a_stop_while_nothing_is_read_waits_until_all_that_was_said_before_it_has_been(
    office: CommandsHarness,
) -> None:
    stream = office.stream()
    recording = await office.start()
    office.sessions.reading.pause(True)
    office.now_s = 20.0
    stop = asyncio.create_task(office.commands.stop(app_id="one", recording_id=recording.id))
    again = asyncio.create_task(office.commands.stop(app_id="one", recording_id=recording.id))
    for _ in range(20):
        await asyncio.sleep(0)
        office.tick_round()
    assert recording.id not in office.recorder.ended
    office.now_s = 23.0
    office.sessions.reading.pause(False)
    talk(stream, from_s=23.0, frames=100)
    office.tick_round()
    office.now_s = 23.2
    office.tick_round()
    async with asyncio.timeout(WAIT_S):
        while recording.id not in office.recorder.ended:
            await asyncio.sleep(0)
    finished = await office.finished(recording)
    assert await stop == await again == finished
    (journal,) = office.writer.journals
    (stopped,) = [event for event in journaled(journal) if isinstance(event, RecordingStopped)]
    assert (stopped.end_us, stopped.cuts) == (at(20.0), True)
    assert office.recorder.ended[recording.id].ended_at == utc(at(20.0))


# ---- start ---------------------------------------------------------------------------------------------------------


async def test_a_start_on_a_live_session_is_ongoing_and_in_the_catalog(office: CommandsHarness) -> None:
    office.stream()

    recording = await office.start()

    assert recording.status is Status.ONGOING
    assert await office.row(recording) == recording


async def test_a_start_on_a_session_that_does_not_stream_is_accepted_and_waits(office: CommandsHarness) -> None:
    recording = await office.start()
    office.tick_round()

    assert recording.status is Status.ACCEPTED
    assert await office.row(recording) == recording
    assert office.commands.session("one", "call-77").recordings == (shown(recording),)


async def test_a_start_without_room_on_the_disk_is_refused_and_leaves_nothing(office: CommandsHarness) -> None:
    office.reserve.min_free_bytes = 1 << 62
    await office.reserve.look()

    with pytest.raises(LimitReached, match=r"limits\.min_free_bytes"):
        await office.start(idempotency_key="k")

    assert list(office.sessions) == []
    page = await office.commands.list(app_id="one", filters=RecordingFilters(), limit=10, cursor=None)
    assert page.data == ()


async def test_a_start_on_a_session_too_many_is_refused(office: CommandsHarness) -> None:
    for number in range(3):
        await office.start(f"call-{number}")

    with pytest.raises(LimitReached, match="as many sessions"):
        await office.start("call-3")


async def test_a_start_whose_row_cannot_be_written_starts_nothing(office: CommandsHarness) -> None:
    office.stream()
    office.database.faults = {"Recordings.add": FOREVER}

    with pytest.raises(DependencyError):
        await office.start()
    with pytest.raises(DependencyError):
        await office.start("another")
    office.tick_round()

    assert [session.session_id for session in office.sessions] == ["call-77"]
    assert office.commands.session("one", "call-77").recordings == ()


async def test_a_start_whose_state_cannot_be_written_has_started_and_is_told_to_the_catalog_later(
    office: CommandsHarness,
) -> None:
    office.stream()
    office.database.faults = {"Recordings.save": FOREVER}

    recording = await office.start()

    assert recording.status is Status.ONGOING
    assert office.recorder.changed == [recording]


async def test_a_session_that_ends_while_its_start_is_written_leaves_a_recording_that_waits(
    office: CommandsHarness,
) -> None:
    stream = office.stream()
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starting = asyncio.create_task(office.start())
    await office.database.waiting.wait()

    stream.closed(True, at(0))
    office.tick_round()
    for number in range(3):  # and others take its place meanwhile
        office.sessions.find_or_make("one", f"call-{number}", at(0)).announce(at(0))
    gate.set()
    recording = await starting

    assert recording.status is Status.ACCEPTED
    assert office.commands.session("one", "call-77").recordings == (shown(recording),)


async def test_a_stream_that_comes_while_its_start_is_written_is_recorded(office: CommandsHarness) -> None:
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starting = asyncio.create_task(office.start())
    await office.database.waiting.wait()

    office.stream()
    gate.set()
    recording = await starting

    assert recording.status is Status.ONGOING
    assert await office.row(recording) == recording


async def test_a_start_that_a_shutdown_overtakes_waits_for_the_next_start_of_the_server(
    office: CommandsHarness,
) -> None:
    office.stream()
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starting = asyncio.create_task(office.start())
    await office.database.waiting.wait()

    office.ticker.shut_down(at(1))
    gate.set()
    recording = await starting

    assert recording.status is Status.ACCEPTED
    assert office.recorder.begun == []
    with pytest.raises(LimitReached):
        await office.start("call-78")


# ---- idempotency ---------------------------------------------------------------------------------------------------


async def test_a_start_that_is_repeated_with_its_key_starts_once(office: CommandsHarness) -> None:
    first = await office.start(idempotency_key="k", request_digest="d")

    again = await office.start(idempotency_key="k", request_digest="d")

    assert again == first
    assert len(office.commands.session("one", "call-77").recordings) == 1


async def test_starts_with_one_key_at_the_same_moment_start_once(office: CommandsHarness) -> None:
    office.stream()

    answers = await asyncio.gather(*(office.start(idempotency_key="k", request_digest="d") for _ in range(5)))

    assert len({answer.id for answer in answers}) == 1
    assert len(office.commands.session("one", "call-77").recordings) == 1
    assert len(office.commands._starts._idempotent) == 0


async def test_starts_with_one_key_of_which_the_first_fails_start_once(office: CommandsHarness) -> None:
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starts = [asyncio.create_task(office.start(idempotency_key="k", request_digest="d")) for _ in range(4)]
    await office.database.waiting.wait()
    gate.set()
    office.database.faults = {"Recordings.add": FOREVER}
    first = starts.pop(0)
    first.cancel()
    await asyncio.wait((first,))
    office.database.faults.clear()

    # More come while those before them still wait.
    starts += [asyncio.create_task(office.start(idempotency_key="k", request_digest="d")) for _ in range(4)]
    answers = await asyncio.gather(*starts)

    assert len({answer.id for answer in answers}) == 1
    assert len(office.commands.session("one", "call-77").recordings) == 1


async def test_a_key_used_with_another_request_is_refused(office: CommandsHarness) -> None:
    await office.start(idempotency_key="k", request_digest="d")

    with pytest.raises(InvalidFields, match="Idempotency-Key"):
        await office.start(idempotency_key="k", request_digest="other")


async def test_a_start_that_failed_frees_its_key(office: CommandsHarness) -> None:
    office.database.faults = {"Recordings.add": FOREVER}
    with pytest.raises(DependencyError):
        await office.start(idempotency_key="k", request_digest="d")
    office.database.faults.clear()

    recording = await office.start(idempotency_key="k", request_digest="other")

    assert await office.row(recording) == recording


async def test_a_key_whose_recording_was_never_written_starts_it(office: CommandsHarness) -> None:
    probe = await office.start("call-1")
    await office.catalog.idempotency.remember(
        app_id="one", key="k", request_digest="d", recording_id="f" * 32, now=probe.created_at
    )

    recording = await office.start(idempotency_key="k", request_digest="d")

    assert await office.start(idempotency_key="k", request_digest="d") == recording


# ---- stop, pause, resume -------------------------------------------------------------------------------------------


async def test_a_stop_answers_when_the_file_is_there(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    office.now_s = 5.0

    stopped = await office.stop(recording)

    assert (stopped.status, stopped.end_reason) == (Status.AVAILABLE, EndReason.STOPPED)


async def test_a_second_stop_while_the_file_is_finished_is_refused_with_the_state(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    first = await begun(office.commands.stop(app_id="one", recording_id=recording.id))

    for action in (office.commands.stop, office.commands.pause, office.commands.resume):
        with pytest.raises(Conflict, match="completed") as refusal:
            await action(app_id="one", recording_id=recording.id)
        assert refusal.value.state == "completed"

    await office.finished(recording)
    assert (await first).status is Status.AVAILABLE


async def test_a_stop_of_what_has_ended_is_refused_with_the_state(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    await office.stop(recording)

    with pytest.raises(Conflict) as refusal:
        await office.commands.stop(app_id="one", recording_id=recording.id)

    assert refusal.value.state == "available"


async def test_a_stop_of_what_waits_for_its_first_stream_leaves_it_absent(office: CommandsHarness) -> None:
    recording = await office.start()

    stopped = await office.commands.stop(app_id="one", recording_id=recording.id)

    assert (stopped.status, stopped.end_reason) == (Status.ABSENT, EndReason.STOPPED)
    assert await office.row(recording) == stopped


async def test_a_stop_that_a_shutdown_interrupts_answers_what_the_catalog_knows(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    stopping = await begun(office.commands.stop(app_id="one", recording_id=recording.id))

    office.recorder.finished[recording.id].cancel()

    assert (await stopping).id == recording.id


async def test_a_recording_that_a_restart_has_in_its_hands_is_asked_for_again(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    office.ticker.shut_down(at(1))

    with pytest.raises(LimitReached, match="restart"):
        await office.commands.stop(app_id="one", recording_id=recording.id)


@pytest.mark.parametrize("app_id", ["one", ANY])
async def test_a_session_that_is_brought_back_is_there_whoever_asks_and_however(
    office: CommandsHarness, app_id: str
) -> None:
    office.sessions.defer(app_id, "call-77")
    ask: list[Callable[[], object]] = [
        lambda: office.commands.session("one", "call-77"),
        lambda: office.commands.recordings_of("one", "call-77"),
        lambda: office.commands.playable_rates("one", "call-77"),
        lambda: office.commands.play(app_id="one", session_id="call-77", sound={}),
    ]

    for each in ask:
        with pytest.raises(LimitReached, match="try again") as refused:
            each()
        assert refused.value.retry_after_s == 1
    assert office.commands.is_known("one", "call-77")
    office.sessions.attach(app_id, "call-77", at(1))
    assert not office.commands.is_known("one", "call-77")
    for each in ask:
        with pytest.raises(NotFound):
            each()


async def test_a_session_that_is_brought_back_is_another_apps_where_that_is_known(office: CommandsHarness) -> None:
    office.sessions.defer("one", "call-77")

    with pytest.raises(NotFound):
        office.commands.session("two", "call-77")
    with pytest.raises(Forbidden):
        office.commands.recordings_of("two", "call-77")
    assert not office.commands.is_known("two", "call-77")


@pytest.mark.parametrize("app_id", ["one", ANY])
async def test_no_command_overtakes_what_streams_have_said_that_wait_to_be_let_in(
    office: CommandsHarness, app_id: str
) -> None:
    office.stream()
    recording = await office.start()
    office.sessions.defer(app_id, "call-77")

    for command in (office.commands.pause, office.commands.resume, office.commands.stop):
        with pytest.raises(LimitReached, match="try again"):
            await command(app_id="one", recording_id=recording.id)
    office.sessions.attach(app_id, "call-77", at(1))

    assert (await office.commands.pause(app_id="one", recording_id=recording.id)).status is Status.PAUSED


async def test_pause_and_resume_change_the_row_and_are_refused_in_the_wrong_state(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()

    with pytest.raises(Conflict, match="not paused"):
        await office.commands.resume(app_id="one", recording_id=recording.id)
    paused = await office.commands.pause(app_id="one", recording_id=recording.id)
    with pytest.raises(Conflict, match="not ongoing"):
        await office.commands.pause(app_id="one", recording_id=recording.id)
    row = await office.row(recording)
    resumed = await office.commands.resume(app_id="one", recording_id=recording.id)

    assert (paused.status, resumed.status) == (Status.PAUSED, Status.ONGOING)
    assert row == paused
    assert await office.row(recording) == resumed


async def test_a_pause_may_name_what_it_leaves_and_that_stays_so(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    named: list[PauseBehavior | None] = [PauseBehavior.SILENCE, None, PauseBehavior.SKIP]

    behaviors = []
    for behavior in named:
        paused = await office.commands.pause(app_id="one", recording_id=recording.id, behavior=behavior)
        behaviors.append(paused.options.pause_behavior)
        await office.commands.resume(app_id="one", recording_id=recording.id)

    assert recording.options.pause_behavior is PauseBehavior.SKIP
    assert behaviors == [PauseBehavior.SILENCE, PauseBehavior.SILENCE, PauseBehavior.SKIP]


async def test_a_client_state_that_is_changed_is_in_the_row_from_the_next_change_on(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    name = {"app_id": "one", "recording_id": recording.id}

    office.commands.set_client_state(**name, client_state="YQ==")
    office.commands.set_client_state(app_id="two", recording_id=recording.id, client_state="Yg==")
    paused = await office.commands.pause(app_id="one", recording_id=recording.id)

    row = await office.row(recording)
    assert row is not None
    assert row.options.client_state == paused.options.client_state == "YQ=="


async def test_pauses_that_are_skipped_are_counted(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    for behavior in (PauseBehavior.SKIP, PauseBehavior.SILENCE, PauseBehavior.SKIP):
        office.now_s += 1.0
        await office.commands.pause(app_id="one", recording_id=recording.id, behavior=behavior)
        office.now_s += 2.5
        resumed = await office.commands.resume(app_id="one", recording_id=recording.id)

    assert resumed.skipped_us == 5_000_000
    assert await office.row(recording) == resumed


async def test_a_change_of_the_status_is_dated(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    office.now_s = 2.0
    paused = await office.commands.pause(app_id="one", recording_id=recording.id)

    assert (recording.changed_at, paused.changed_at) == (utc(at(0)), utc(at(2)))


async def test_whoever_waits_for_the_end_gets_the_recording_as_it_ends_up(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    waits = await begun(office.commands.wait_ended(app_id="one", recording_id=recording.id))
    gives_up = await begun(office.commands.wait_ended(app_id="one", recording_id=recording.id))
    gives_up.cancel()

    stopped = await office.stop(recording)

    assert (await waits).status is stopped.status is Status.AVAILABLE
    assert (await office.commands.wait_ended(app_id="one", recording_id=recording.id)).id == recording.id
    with pytest.raises(NotFound):
        await office.commands.wait_ended(app_id="two", recording_id=recording.id)


async def test_whoever_waits_for_one_that_never_began_is_told_when_it_is_given_up(office: CommandsHarness) -> None:
    recording = await office.start()
    waits = await begun(office.commands.wait_ended(app_id="one", recording_id=recording.id))

    await office.commands.stop(app_id="one", recording_id=recording.id)

    assert (await waits).status is Status.ABSENT


async def test_a_sound_is_played_to_the_streams_that_have_its_rate(office: CommandsHarness) -> None:
    stream = office.stream()
    sound = np.arange(160, dtype=np.int16)
    assert office.commands.playable_rates("one", "call-77") == {8000}

    assert office.commands.play(app_id="one", session_id="call-77", sound={8000: sound, 16000: sound}) == 1
    assert office.commands.play(app_id="one", session_id="call-77", sound={16000: sound}, after=True) == 0

    assert isinstance(stream.handle, Handle)
    assert len(stream.handle.played) == 1
    with pytest.raises(NotFound):
        office.commands.play(app_id="two", session_id="call-77", sound={8000: sound})


async def test_a_list_shows_a_recording_whose_file_is_being_made_as_it_is(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    await office.commands.end(app_id="one", recording_id=recording.id)

    page = await office.commands.list(app_id="one", filters=RecordingFilters(), limit=10, cursor=None)
    numbered = await office.commands.numbered_page(app_id="one", filters=RecordingFilters(), number=1, size=10)

    assert [each.status for each in (*page.data, *numbered.data)] == [Status.COMPLETED] * 2
    assert numbered.total == 1
    await office.finished(recording)


async def test_a_recording_of_an_announced_call_knows_from_the_start_what_is_known_of_it(
    office: CommandsHarness,
) -> None:
    call = CallFacts(from_="+1", to="+2", vendor_ids={"call_leg_id": "leg-1"})
    await office.commands.announce(app_id="one", session_id="call-77", call=call)

    recording = await office.start()

    assert (recording.status, recording.call) == (Status.ACCEPTED, call)
    assert await office.row(recording) == recording


async def test_a_call_is_known_to_its_app_while_it_streams_or_is_announced(office: CommandsHarness) -> None:
    office.stream()
    await office.commands.announce(app_id="one", session_id="call-78", call=CallFacts())

    known = [office.commands.is_known("one", call) for call in ("call-77", "call-78", "call-79")]

    assert (known, office.commands.is_known("two", "call-77")) == ([True, True, False], False)


async def test_a_pause_that_the_catalog_cannot_note_is_a_pause(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    office.database.faults = {"Recordings.save": FOREVER}

    paused = await office.commands.pause(app_id="one", recording_id=recording.id)

    assert paused.status is Status.PAUSED
    assert office.recorder.changed == [paused]


# ---- whose it is ---------------------------------------------------------------------------------------------------


async def test_what_belongs_to_another_app_does_not_exist(office: CommandsHarness) -> None:
    office.stream()
    running = await office.start()
    await office.commands.announce(app_id="one", session_id="call-78", call=CallFacts())

    for action in (office.commands.stop, office.commands.pause, office.commands.resume, office.commands.get):
        with pytest.raises(NotFound):
            await action(app_id="two", recording_id=running.id)
    with pytest.raises(NotFound):
        await office.commands.delete(app_id="two", recording_id=running.id)
    with pytest.raises(NotFound):
        office.commands.session("two", "call-78")
    assert (await office.commands.sessions("two", limit=9)).data == ()
    stopping = await begun(office.commands.stop(app_id="one", recording_id=running.id))
    with pytest.raises(NotFound):
        await office.commands.stop(app_id="two", recording_id=running.id)
    await office.finished(running)
    await stopping


# ---- delete --------------------------------------------------------------------------------------------------------


async def test_a_deleted_recording_has_no_file_and_is_gone_for_its_owner(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()
    await office.stop(recording)

    await office.commands.delete(app_id="one", recording_id=recording.id)

    assert list(office.storage.walk()) == []
    assert (await office.commands.get(app_id="one", recording_id=recording.id)).status is Status.DELETED
    assert office.recorder.released == [recording.id]
    with pytest.raises(NotFound):
        await office.commands.delete(app_id="one", recording_id=recording.id)


async def test_a_recording_that_is_being_made_cannot_be_deleted(office: CommandsHarness) -> None:
    office.stream()
    recording = await office.start()

    with pytest.raises(Conflict) as refusal:
        await office.commands.delete(app_id="one", recording_id=recording.id)

    assert refusal.value.state == "ongoing"


async def test_a_recording_whose_file_is_made_again_is_available_still_and_is_not_erased_meanwhile(
    office: CommandsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.sessions.commands.STOP_WAIT_S", 0.01)
    office.stream()
    recording = await office.start()
    stopping = await begun(office.commands.stop(app_id="one", recording_id=recording.id))
    await office.catalog.recordings.save(replace(recording, status=Status.AVAILABLE, ended_at=recording.created_at))

    got = await office.commands.get(app_id="one", recording_id=recording.id)
    assert got.status is Status.AVAILABLE
    with pytest.raises(Conflict, match="try again when it is finished"):
        await office.commands.delete(app_id="one", recording_id=recording.id)
    stopping.cancel()


async def test_an_announced_session_shows_what_was_told_of_it(office: CommandsHarness) -> None:
    view = await office.commands.announce(app_id="one", session_id="call-77", call=CallFacts(from_="+4930"))
    office.tick_round()

    assert (view.from_, view.streams) == ("+4930", ())
    assert office.commands.session("one", "call-77") == view


class OneOfSeveral(Alone):
    """Of the nodes of a cluster: keeps what it is told, and has lost a session when a test says so."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.looks = 0
        self.is_here_for = 100

    def check_here(self, session_id: str) -> None:
        self.looks += 1
        if self.looks > self.is_here_for:
            raise Elsewhere(1)

    def refused(self, session_id: str) -> None:
        self.told.append(session_id)


async def test_what_is_refused_is_told_so_that_the_claim_of_its_session_is_let_go_of(
    tmp_path: Path, catalog: Catalog, database: FaultyDatabase
) -> None:
    boundary = OneOfSeveral()
    office = CommandsHarness(tmp_path, catalog, database, boundary=boundary)
    office.reserve.free_bytes = 0
    with pytest.raises(LimitReached, match="disk is full"):
        await office.start("started")
    with pytest.raises(LimitReached, match="disk is full"):
        await office.start("again", idempotency_key="once")
    office.sessions.load.is_draining = True
    with pytest.raises(LimitReached, match="drained"):
        await office.commands.announce(app_id="one", session_id="announced", call=CallFacts())
    assert boundary.told == ["started", "again", "announced"]
    assert office.sessions.ids() == set()

    office.sessions.load.is_draining, office.reserve.free_bytes = False, 1 << 40
    await office.start("call-77")
    assert boundary.told == ["started", "again", "announced"]


async def test_a_session_that_was_let_go_of_while_the_catalog_answered_begins_where_it_is_by_then(
    tmp_path: Path, catalog: Catalog, database: FaultyDatabase
) -> None:
    boundary = OneOfSeveral()
    office = CommandsHarness(tmp_path, catalog, database, boundary=boundary)
    boundary.is_here_for = 1
    with pytest.raises(Elsewhere):
        await office.start(idempotency_key="once")
    assert office.sessions.ids() == set()
    boundary.is_here_for = 100
    assert (await office.start(idempotency_key="once")).status is Status.ACCEPTED  # the key is of nothing yet
