"""The recordings of a call by their handles, where REST and SWML meet what happens by itself meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.api.signalwire.conftest import CALL, FakeCommands, SignalWire
from wavstream.api.signalwire.call_recordings import CallRecordings, ControlIdInUse
from wavstream.errors import Conflict, Forbidden, LimitReached, NotFound
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status


@pytest.fixture
def commands(signalwire: SignalWire) -> FakeCommands:
    signalwire.commands.stream()
    return signalwire.commands


@pytest.fixture
def recordings(signalwire: SignalWire, commands: FakeCommands) -> CallRecordings:
    return CallRecordings(signalwire.parts)


async def start(recordings: CallRecordings, control_id: str | None = "rec-1") -> Recording:
    return await recordings.start(
        app_id="shop",
        call_id=CALL,
        options=RecordingOptions(),
        control_id=control_id,
        status_url=None,
        command="record_call",
        said={},
    )


async def test_a_handle_that_another_api_gave_is_in_use_too(recordings: CallRecordings, commands: FakeCommands) -> None:
    origin = Origin(api="another", control_id="rec-1")
    await commands.start(app_id="shop", session_id=CALL, options=RecordingOptions(), origin=origin)

    with pytest.raises(ControlIdInUse, match="control_id rec-1"):
        await start(recordings)
    stopped = await recordings.stop(app_id="shop", call_id=CALL, control_id="rec-1")

    assert stopped.status is Status.COMPLETED
    await start(recordings)


async def test_of_two_starts_at_once_with_one_handle_the_second_is_refused(
    recordings: CallRecordings, commands: FakeCommands
) -> None:
    first, second = await asyncio.gather(start(recordings), start(recordings), return_exceptions=True)

    assert isinstance(first, Recording)
    assert isinstance(second, ControlIdInUse)
    assert commands.only is first


async def test_a_stop_that_comes_while_its_recording_is_started_waits_for_it(recordings: CallRecordings) -> None:
    started, stopped = await asyncio.gather(
        start(recordings), recordings.stop(app_id="shop", call_id=CALL, control_id="rec-1")
    )

    assert (started.id, stopped.status) == (stopped.id, Status.COMPLETED)


async def test_a_recording_that_ends_by_itself_meanwhile_is_not_there_to_stop(
    recordings: CallRecordings, commands: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(recordings)

    async def end(*, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        raise Conflict("the recording is available", state="available")

    monkeypatch.setattr(commands, "end", end)

    with pytest.raises(NotFound, match="rec-1"):
        await recordings.stop(app_id="shop", call_id=CALL, control_id="rec-1")


async def test_a_recording_whose_call_never_came_is_returned_as_it_ended(
    recordings: CallRecordings, commands: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await start(recordings)
    absent = recording.became(Status.ABSENT, recording.created_at)

    async def end(*, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        ended: asyncio.Future[Recording] = asyncio.get_running_loop().create_future()
        ended.set_result(absent)
        return ended

    monkeypatch.setattr(commands, "end", end)

    assert await recordings.stop(app_id="shop", call_id=CALL, control_id=None) is absent


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Forbidden("the session is another app's"), NotFound),
        (NotFound("no such session is live"), NotFound),
        (LimitReached("a restart has the session", retry_after_s=1), LimitReached),
    ],
)
async def test_a_call_that_is_another_apps_does_not_exist_and_one_that_comes_back_soon_does(
    recordings: CallRecordings, commands: FakeCommands, failure: Exception, raised: type[Exception]
) -> None:
    commands.failure = failure

    for act in (recordings.stop, recordings.pause, recordings.resume):
        with pytest.raises(raised):
            await act(app_id="shop", call_id=CALL, control_id="rec-1")


async def test_a_pause_leaves_what_the_options_say_where_nothing_else_is_said(recordings: CallRecordings) -> None:
    options = RecordingOptions().changed({"pause_behavior": "silence"})
    await recordings.start(
        app_id="shop",
        call_id=CALL,
        options=options,
        control_id=None,
        status_url=None,
        command="record_call",
        said={},
    )

    paused = await recordings.pause(app_id="shop", call_id=CALL, control_id=None)

    assert paused.status is Status.PAUSED
    assert paused.options.pause_behavior == "silence"
