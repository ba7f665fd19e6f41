"""Streams that the native start and stop ask the media server for: when, how often, and what happens where it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.receiver import WAIT_S
from tests.support.sessions import ANNOUNCED_WAIT_S, at, restore
from tests.support.waiting import begun, until
from tests.unit.sessions.test_commands import CommandsHarness, Opener
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError, LimitReached, NotFound
from wavstream.model.call import CallFacts
from wavstream.model.filters import RecordingFilters
from wavstream.model.recording import Recording, Status

SESSION = "call-77"


class OpenerHarness(CommandsHarness):
    """The office with a media server behind it."""

    def __init__(
        self, folder: Path, catalog: Catalog, database: FaultyDatabase, *, close_wait_s: float = 3600.0
    ) -> None:
        self.opener = Opener()
        super().__init__(folder, catalog, database, self.opener, close_wait_s=close_wait_s)

    async def end(self, recording: Recording) -> None:
        """Stop the recording; what is asked behind the answer has been asked."""
        await self.commands.end(app_id="one", recording_id=recording.id)
        await asyncio.sleep(0)

    @property
    def asked(self) -> list[str]:
        return [what for what, _ in self.opener.asked]


@pytest.fixture
def office(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> OpenerHarness:
    return OpenerHarness(tmp_path, catalog, database)


async def test_a_start_of_a_session_that_nobody_announced_is_opened_and_its_stop_closes_it(
    office: OpenerHarness,
) -> None:
    recording = await office.start()
    assert (recording.status, recording.opened) == (Status.ACCEPTED, True)
    assert await office.row(recording) == recording
    office.stream()

    await office.end(recording)

    assert office.opener.asked == [("open", recording.id), ("close", SESSION)]


async def test_a_stop_before_the_stream_has_come_closes_too(office: OpenerHarness) -> None:
    await office.end(await office.start())

    assert office.asked == ["open", "close"]


async def test_a_stream_that_came_by_itself_or_may_come_back_is_neither_opened_nor_closed(
    office: OpenerHarness,
) -> None:
    stream = office.stream()
    first = await office.start()
    stream.closed(False, at(1))
    second = await office.start()

    for recording in (first, second):
        await office.end(recording)

    assert office.asked == []


async def test_recordings_of_one_session_share_what_was_opened_until_the_last_is_stopped(office: OpenerHarness) -> None:
    office.opener.gate = asyncio.Event()
    starts = [await begun(office.start()) for _ in range(2)]
    office.opener.gate.set()
    recordings = [await start for start in starts]
    office.stream()
    recordings.append(await office.start())

    for recording in recordings[:-1]:
        await office.end(recording)
    before = office.asked
    await office.end(recordings[-1])

    assert before == ["open"]
    assert office.asked == ["open", "close"]


async def test_a_stop_leaves_the_stream_to_a_start_that_is_being_written(office: OpenerHarness) -> None:
    first = await office.start()
    office.stream()
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starting = asyncio.create_task(office.start())
    await office.database.waiting.wait()

    await office.end(first)
    gate.set()
    second = await starting
    await asyncio.sleep(0)
    before = office.asked
    await office.end(second)

    assert before == ["open"]
    assert office.asked == ["open", "close"]


@pytest.mark.parametrize("clean", [True, False], ids=["that ends", "that is lost"])
async def test_a_start_right_after_a_stop_is_not_given_the_stream_that_goes(office: OpenerHarness, clean: bool) -> None:
    recording = await office.start()
    for _ in range(2):
        stream = office.stream()
        office.opener.gate = asyncio.Event()
        await office.end(recording)
        starting = await begun(office.start())
        before = office.asked[-1]

        office.opener.gate.set()
        for _ in range(20):  # whoever does not wait for the stream goes on now
            await asyncio.sleep(0)
        stream.closed(clean, at(1))
        async with asyncio.timeout(WAIT_S):
            recording = await starting

        assert (before, office.asked[-1]) == ("close", "open")
        assert (recording.status, recording.opened) == (Status.ACCEPTED, True)


async def test_a_stream_that_the_media_server_does_not_end_is_there_for_the_next_start(
    office: OpenerHarness,
) -> None:
    office = OpenerHarness(office.spool.parent, office.catalog, office.database, close_wait_s=0.0)
    first = await office.start()
    office.stream()
    await office.end(first)

    second = await office.start()

    assert (second.status, second.opened) == (Status.ONGOING, False)
    assert office.asked == ["open", "close"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_start_whose_stream_cannot_be_had_is_refused_whole(office: OpenerHarness, announced: bool) -> None:
    if announced:
        await office.commands.announce(app_id="one", session_id=SESSION, call=CallFacts())
    office.now_s = 30.0
    office.opener.failure = NotFound("the media server has no such session")

    with pytest.raises(NotFound):
        await office.start(idempotency_key="k", request_digest="d")

    page = await office.commands.list(app_id="one", filters=RecordingFilters(), limit=10, cursor=None)
    assert page.data == ()
    assert office.asked == ["open"]
    office.tick_round()
    assert len(office.sessions) == announced
    office.opener.failure = None
    await office.start(idempotency_key="k", request_digest="another")


async def test_a_refused_start_leaves_an_announced_session_no_longer_than_it_was_to_be(office: OpenerHarness) -> None:
    await office.commands.announce(app_id="one", session_id=SESSION, call=CallFacts())
    office.opener.failure = DependencyError("it does not answer")
    office.now_s = ANNOUNCED_WAIT_S - 1
    with pytest.raises(DependencyError):
        await office.start()

    office.now_s = ANNOUNCED_WAIT_S
    office.tick_round()

    assert len(office.sessions) == 0


async def test_an_announced_session_can_be_recorded_hours_later_and_as_long_after_each_stop(
    office: OpenerHarness,
) -> None:
    await office.commands.announce(app_id="one", session_id=SESSION, call=CallFacts(from_="+4930"))
    for turn in (1, 2):
        office.now_s += ANNOUNCED_WAIT_S - 1
        office.tick_round()
        recording = await office.start()
        stream = office.stream()
        await office.end(recording)
        stream.closed(True, at(office.now_s))
        office.tick_round()

        assert office.commands.session("one", SESSION).from_ == "+4930"
        assert office.asked == ["open", "close"] * turn

    office.now_s += ANNOUNCED_WAIT_S
    office.tick_round()
    assert len(office.sessions) == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_a_session_that_nobody_announced_is_over_when_what_was_opened_has_gone(
    office: OpenerHarness, announced: bool
) -> None:
    recording = await office.start()
    stream = office.stream()
    if announced:  # as it streams
        await office.commands.announce(app_id="one", session_id=SESSION, call=CallFacts())
    await office.end(recording)
    stream.closed(True, at(1))
    office.tick_round()

    assert len(office.sessions) == announced


async def test_a_start_whose_row_cannot_be_written_is_closed_again(office: OpenerHarness) -> None:
    office.database.faults = {"Recordings.add": FOREVER}

    with pytest.raises(DependencyError):
        await office.start()

    await until(lambda: office.asked == ["open", "close"])


async def test_a_stream_that_cannot_be_closed_is_told_to_the_log(office: OpenerHarness) -> None:
    recording = await office.start()
    office.opener.failure = DependencyError("the opener's webhook answered 500")

    with capture_logs() as logs:
        await office.end(recording)

    failed = [line["error"] for line in logs if line["event"] == "opened_stream_close_failed"]
    assert failed == ["the opener's webhook answered 500"]


@pytest.mark.parametrize("request_id", [None, "rec-1"])
async def test_what_was_opened_before_a_restart_is_closed_after_it_and_a_session_of_a_command_stays(
    office: OpenerHarness, request_id: str | None
) -> None:
    recording = await office.start()
    office.stream()
    running = replace(recording, status=Status.ONGOING)
    await office.catalog.recordings.save(running)
    row = await office.row(recording)
    assert row is not None
    row = replace(row, request_id=request_id)
    restarted = OpenerHarness(office.spool.parent, office.catalog, office.database)
    session = restarted.sessions.find_or_make("one", SESSION, at(10))
    journal = restarted.writer.open(key="k", app_id="one", session_id=SESSION)
    restore(session, restarted.recorder, row, journal=journal, lost=["a"], last_us=at(9), now_us=at(10))

    await restarted.end(row)
    restarted.tick_round()

    assert restarted.asked == ["close"]
    assert len(restarted.sessions) == (request_id is not None)


async def test_the_end_of_the_server_waits_for_what_is_being_closed(office: OpenerHarness) -> None:
    recording = await office.start()
    office.opener.gate = asyncio.Event()
    await office.end(recording)
    office.ticker.shut_down(at(1))
    asyncio.get_running_loop().call_soon(office.opener.gate.set)

    with capture_logs() as logs:
        await office.opened.stop(WAIT_S)

    assert (office.asked, office.opener.answers) == (["open", "close"], 2)
    assert logs == []


async def test_the_end_of_the_server_does_not_wait_for_ever(office: OpenerHarness) -> None:
    recording = await office.start()
    office.opener.gate = asyncio.Event()
    await office.end(recording)

    with capture_logs() as logs:
        await office.opened.stop(0.0)

    assert [line["streams"] for line in logs] == [1]
    assert (office.asked, office.opener.answers) == (["open", "close"], 1)


async def test_what_a_start_that_a_shutdown_overtakes_needs_is_not_closed(office: OpenerHarness) -> None:
    first = await office.start()
    office.stream()
    gate = office.database.gates["Recordings.add"] = asyncio.Event()
    starting = asyncio.create_task(office.start())
    await office.database.waiting.wait()
    await office.end(first)

    office.ticker.shut_down(at(1))
    gate.set()
    second = await starting
    await office.opened.stop(WAIT_S)

    assert (second.status, second.opened) == (Status.ACCEPTED, True)
    assert office.asked == ["open"]
    with pytest.raises(LimitReached):
        await office.start()
