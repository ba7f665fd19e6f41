"""The gateway's commands: what is taken on, what is refused, and what a refusal leaves behind, which is nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.faulty_database import FOREVER, FaultyDatabase
from tests.support.sessions import ANNOUNCED_WAIT_S, at, journaled
from tests.support.waiting import until
from tests.unit.sessions.test_commands import OPTIONS, CommandsHarness, Opener
from wavstream.api.gateway.commands import Command, CommandConflict, CommandRules, GatewayCommands, NotConfigured
from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError, Forbidden, LimitReached, NotFound, TooSoon
from wavstream.journal.events import RecordingStopped
from wavstream.model.app import App, WebhookTarget
from wavstream.model.call import CallFacts
from wavstream.model.fact import Fact, command_done
from wavstream.model.operation import Operation
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc

SESSION = "call-77"


class Gateway(CommandsHarness):
    """The gateway's commands over the office's."""

    def __init__(self, folder: Path, catalog: Catalog, database: FaultyDatabase) -> None:
        self.opener = Opener()
        super().__init__(folder, catalog, database, self.opener)
        self.gateway = self.commands_with()

    def commands_with(self, **chosen: bool) -> GatewayCommands:
        """As after a restart: nothing is remembered but what the catalog has."""
        return GatewayCommands(self.commands, self.catalog.operations, rules=CommandRules(**chosen), now_us=self.now_us)

    async def record(self, uid: str | None = None, *, app_id: str = "one", session_id: str = SESSION) -> Operation:
        return await self.gateway.start(app_id=app_id, session_id=session_id, command_uid=uid, options=OPTIONS)

    async def end(self, uid: str | None = None, *, app_id: str = "one", session_id: str = SESSION) -> Operation:
        return await self.gateway.stop(app_id=app_id, session_id=session_id, command_uid=uid)

    async def announce(self) -> None:
        await self.commands.announce(app_id="one", session_id=SESSION, call=CallFacts())

    @property
    def recordings(self) -> list[Recording]:
        """Those of the session that run or wait."""
        session = self.sessions.find("one", SESSION)
        return [] if session is None else [each.row for each in session.recordings.by_id.values()]

    async def told(self) -> list[Fact]:
        """Return the facts that the app is to be told, each as soon as the one before has arrived."""
        facts = []
        now = utc(at(self.now_s)) + timedelta(hours=1)
        while due := (await self.catalog.outbox.due("one", now, 1)).announcements:
            facts.append(due[0].fact)
            await self.catalog.outbox.mark_delivered(due[0], now)
        return facts


@pytest.fixture
async def office(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> Gateway:
    target = WebhookTarget("https://shop.example/hooks")
    await catalog.apps.add(App("one", created_at=utc(at(0)), webhook=target), key_hash="h", key_lookup="l")
    return Gateway(tmp_path, catalog, database)


async def test_a_start_and_a_stop_are_written_with_what_they_are_told_of(office: Gateway) -> None:
    office.stream()
    started = await office.record("rec-1")
    (recording,) = office.recordings
    assert (recording.id, recording.status, recording.request_id) == (started.recording_id, "ongoing", "rec-1")
    assert (row := await office.row(recording)) is not None
    assert (row.status, row.request_id) == (Status.ONGOING, "rec-1")
    office.now_s = 5
    stopped = await office.end()
    assert office.recorder.ends == [EndReason.STOPPED]
    assert stopped.recording_id == recording.id
    assert [(fact.body["command"], fact.body["request_id"], fact.body["success"]) for fact in await office.told()] == [
        ("record/start", "rec-1", True),
        ("record/stop", stopped.request_id, True),
    ]


async def test_a_stop_without_a_start_is_refused(office: Gateway) -> None:
    office.stream()
    await office.start()  # by another API: these commands do not see it
    with pytest.raises(CommandConflict, match="No recording is running"):
        await office.end("end-1")
    assert office.recorder.ends == []


async def test_a_second_start_is_refused_and_names_the_recording_that_runs(office: Gateway) -> None:
    office.stream()
    first = await office.record()
    office.now_s = 5
    with pytest.raises(CommandConflict) as refused:
        await office.record("rec-2")
    assert refused.value.detail == {"recording_id": first.recording_id}
    assert len(office.recordings) == 1


async def test_start_stop_and_start_again_make_two_recordings(office: Gateway) -> None:
    office.stream()
    uids = []
    for turn in range(2):
        await office.record(f"rec-{turn}")
        uids += [recording.request_id for recording in office.recordings]
        office.now_s += 5
        await office.end()
        office.now_s += 5
    assert uids == ["rec-0", "rec-1"]
    assert len(office.recorder.ended) == 2


async def test_a_command_never_makes_a_session(office: Gateway) -> None:
    for command in (office.record, office.end):
        with pytest.raises(NotFound, match="Session not found"):
            await command()
    with pytest.raises(NotFound):
        office.gateway.newest(app_id="one", session_id=SESSION)
    assert len(office.sessions) == 0


async def test_a_session_of_another_app_is_forbidden_also_while_it_is_brought_back(office: Gateway) -> None:
    office.stream(app_id="two")
    for command in (office.record, office.end):
        with pytest.raises(Forbidden):
            await command()
    office.sessions.defer("two", "held")
    with pytest.raises(Forbidden):
        await office.record(session_id="held")
    office.sessions.defer("one", "mine")
    with pytest.raises(LimitReached):
        await office.record(session_id="mine")


async def test_start_and_stop_share_two_seconds_from_what_was_taken_on(office: Gateway) -> None:
    office.stream()
    office.stream(session_id="another")
    await office.record()
    for now_s, left_s in ((0.5, 2), (1.5, 1)):
        office.now_s = now_s
        with pytest.raises(TooSoon) as refused:
            await office.end()
        assert refused.value.retry_after_s == left_s
    await office.record(session_id="another")
    office.now_s = 2
    await office.end()
    office.now_s = 3.9
    with pytest.raises(TooSoon):
        await office.record()
    office.now_s = 4
    await office.record()


async def test_a_stop_can_have_a_short_cooldown_of_its_own(office: Gateway) -> None:
    office.gateway = office.commands_with(stop_is_heavy=False)
    office.stream()
    await office.record()
    await office.end()
    with pytest.raises(TooSoon):
        await office.end()
    office.now_s = 1.9
    with pytest.raises(TooSoon):
        await office.record()


async def test_a_command_uid_runs_once_and_then_gives_its_operation_again(office: Gateway) -> None:
    office.stream()
    first, second = await asyncio.gather(office.record("rec-1"), office.record("rec-1"))
    assert first == second == await office.record("rec-1")  # in its cooldown: nothing is run
    assert len(office.recordings) == 1
    office.now_s = 2
    end, again = await asyncio.gather(office.end("end-1"), office.end("end-1"))
    assert end == again
    assert len(await office.told()) == 2


async def test_a_command_uid_is_known_after_a_restart_and_after_its_session_for_a_day(office: Gateway) -> None:
    stream = office.stream()
    first = await office.record("rec-1")
    stream.closed(True, at(1))
    office.ticker.tick(at(1))
    office.gateway = office.commands_with()
    office.now_s = 86_400
    assert await office.record("rec-1") == first
    with pytest.raises(CommandConflict) as refused:
        await office.end("rec-1")
    assert refused.value.detail == {"command": "record/start"}
    office.now_s = 86_400.000001
    office.stream()
    assert (await office.record("rec-1")).id != first.id


async def test_a_command_uid_is_of_its_session_and_app(office: Gateway) -> None:
    office.stream()
    office.stream(session_id="another")
    office.stream(app_id="two")
    operations = [
        await office.record("rec-1"),
        await office.record("rec-1", session_id="another"),
        await office.record("rec-1", app_id="two"),
    ]
    assert len({operation.id for operation in operations}) == 3


async def test_a_refused_command_leaves_its_uid_and_its_cooldown_unused(office: Gateway) -> None:
    office.stream()
    with pytest.raises(CommandConflict):
        await office.end("x")
    await office.record("x")
    assert [fact.body["command"] for fact in await office.told()] == ["record/start"]


async def test_a_command_that_cannot_be_written_is_not_run(office: Gateway) -> None:
    office.stream()
    office.database.faults = {"Operations.add": FOREVER}
    with pytest.raises(DependencyError):
        await office.record("rec-1")
    assert office.recordings == []
    office.database.faults.clear()
    await office.record("rec-1")
    office.now_s = 2
    office.database.faults = {"Operations.add": FOREVER}
    with pytest.raises(DependencyError):
        await office.end("end-1")
    assert len(office.recordings) == 1
    office.database.faults.clear()
    await office.end("end-1")


async def test_a_stop_that_was_written_and_not_done_is_done_after_the_restart(office: Gateway) -> None:
    office.stream()
    office.stream(session_id="another")
    await office.record()
    (recording,) = office.recordings
    await office.record(session_id="another")
    stop = Operation(
        id="o2", app_id="one", session_id=SESSION, command=Command.RECORD_STOP, request_id="end-1",
        recording_id=recording.id, at=utc(at(3)),
    )  # fmt: skip
    fact = command_done(
        app_id="one", session_id=SESSION, operation_id="o2", command=stop.command, request_id="end-1", error=None,
        at=stop.at,
    )  # fmt: skip
    await office.catalog.operations.add(stop, fact)
    office.now_s = 9
    for _ in range(2):
        await office.gateway.finish_stops()
    assert office.recorder.ends == [EndReason.STOPPED]
    session = office.sessions.find("one", SESSION)
    assert session is not None
    assert session.notes.journal is not None
    stopped = [event for event in journaled(session.notes.journal) if isinstance(event, RecordingStopped)]
    assert [event.end_us for event in stopped] == [at(3)]


async def test_a_stop_that_was_written_and_not_done_ends_what_still_waits_and_closes_its_stream(
    office: Gateway,
) -> None:
    await office.announce()
    started = await office.record()
    stop = replace(started, id="o2", command=Command.RECORD_STOP, request_id="end-1")
    fact = command_done(
        app_id="one", session_id=SESSION, operation_id="o2", command=stop.command, request_id="end-1", error=None,
        at=stop.at,
    )  # fmt: skip
    await office.catalog.operations.add(stop, fact)
    await office.gateway.finish_stops()
    await until(lambda: office.opener.asked[1:])
    assert office.recordings == []
    assert office.opener.asked[1:] == [("close", SESSION)]


async def test_while_the_server_goes_down_a_command_is_to_be_tried_again(office: Gateway) -> None:
    office.stream()
    await office.record()
    office.now_s = 2
    office.ticker.shut_down(at(2))
    with pytest.raises(LimitReached, match="restarting"):
        await office.end()


async def test_a_recording_that_ends_while_its_stop_is_written_was_stopped(office: Gateway) -> None:
    stream = office.stream()
    await office.record()
    office.now_s = 2
    gate = office.database.gates["Operations.add"] = asyncio.Event()
    stopping = asyncio.create_task(office.end("end-1"))
    await office.database.waiting.wait()
    stream.closed(True, at(2))
    gate.set()
    assert (await stopping).request_id == "end-1"
    assert office.recorder.ends == [EndReason.HANGUP]


async def test_a_stop_during_a_reconnect_ends_the_recording_there(office: Gateway) -> None:
    stream = office.stream()
    await office.record()
    stream.closed(False, at(3))
    office.now_s = 5
    await office.end()
    assert office.recorder.ends == [EndReason.STOPPED]


async def test_an_announced_session_is_opened_for_a_start_and_closed_by_its_stop(office: Gateway) -> None:
    await office.announce()
    started = await office.record("rec-1")
    assert office.opener.asked == [("open", started.recording_id)]
    assert [recording.status for recording in office.recordings] == ["accepted"]
    office.stream()
    assert [recording.status for recording in office.recordings] == ["ongoing"]
    office.now_s = 5
    office.gateway = office.commands_with()
    await office.end()
    await until(lambda: office.opener.asked[1:])
    assert office.opener.asked[1:] == [("close", SESSION)]


async def test_a_session_whose_opened_stream_has_ended_can_be_recorded_once_more(office: Gateway) -> None:
    await office.announce()
    await office.record()
    stream = office.stream()
    office.now_s = 5
    await office.end()
    await until(lambda: office.opener.asked[1:])
    stream.closed(True, at(5))
    office.tick_round()
    office.now_s = 60
    again = await office.record()
    assert office.opener.asked[1:] == [("close", SESSION), ("open", again.recording_id)]
    office.now_s = 125
    office.tick_round()
    with pytest.raises(CommandConflict, match="No recording is running"):  # its stream did not come
        await office.end()
    office.now_s = 6 + ANNOUNCED_WAIT_S
    office.tick_round()
    with pytest.raises(NotFound):
        await office.end()


async def test_a_stream_that_came_by_itself_is_neither_opened_nor_closed(office: Gateway) -> None:
    stream = office.stream()
    await office.record()
    office.now_s = 5
    await office.end()
    stream.closed(False, at(5))
    office.now_s = 10
    await office.record()  # its leg may come back by itself
    await asyncio.sleep(0)
    assert office.opener.asked == []


async def test_a_start_whose_stream_cannot_be_opened_is_refused_whole(office: Gateway) -> None:
    await office.announce()
    office.opener.failure = DependencyError("the opener's webhook answered 500")
    with pytest.raises(DependencyError):
        await office.record("rec-1")
    assert office.recordings == []
    office.opener.failure = None
    office.database.faults = {"Operations.add": FOREVER}
    with pytest.raises(DependencyError):
        await office.record("rec-1")
    await until(lambda: office.opener.asked[-1] == ("close", SESSION))
    office.database.faults.clear()
    await office.record("rec-1")


async def test_a_start_before_its_stream_can_be_stopped(office: Gateway) -> None:
    await office.announce()
    await office.record()
    office.now_s = 2
    stopped = await office.end()
    row = await office.catalog.recordings.get(stopped.recording_id)
    assert row is not None
    assert (row.status, row.end_reason) == (Status.ABSENT, EndReason.STOPPED)


async def test_without_a_media_url_no_recording_is_started(office: Gateway) -> None:
    office.stream()
    await office.record()
    office.gateway = office.commands_with(has_media_url=False)
    office.now_s = 2
    await office.end()
    office.now_s = 4
    with pytest.raises(NotConfigured, match="WAVSTREAM_URL not configured"):
        await office.record()


async def test_the_newest_recording_that_runs_is_the_one_to_listen_to(office: Gateway) -> None:
    office.stream()
    assert office.gateway.newest(app_id="one", session_id=SESSION) is None
    await office.start()
    office.now_s = 1
    second = await office.record()
    assert (newest := office.gateway.newest(app_id="one", session_id=SESSION)) is not None
    assert newest.id == second.recording_id
