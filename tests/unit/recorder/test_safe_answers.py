"""A command is answered when its record is written, and rows keep their order, whatever disk and catalog do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.support.faulty_database import FOREVER
from tests.support.recorder_harness import RecorderHarness
from tests.support.sessions import Handle, a_recording, introduction
from tests.support.waiting import begun, until
from wavstream.errors import NotYetSafe
from wavstream.model.recording import Status
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.session import Session


class HangingDisk:
    """A disk that takes no write of a journal while the gate is shut."""

    def __init__(self, harness: RecorderHarness) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self._write_at = harness.writer._write_at
        harness.writer._write_at = self.write_at

    def write_at(self, fd: int, content: memoryview, offset: int) -> int:
        self.gate.wait()
        return self._write_at(fd, content, offset)


@pytest.fixture
def disk(harness: RecorderHarness) -> Iterator[HangingDisk]:
    hanging = HangingDisk(harness)
    yield hanging
    hanging.gate.set()


async def a_call(harness: RecorderHarness) -> tuple[Session, LiveRecording]:
    """Return a session that is recorded, with the recording's start in journal and row."""
    harness.sessions.open_stream(introduction("a"), app_id="default", handle=Handle(), now_us=harness.now_us())
    session = harness.sessions.find("default", "call-77")
    assert session is not None
    live = session.start(a_recording(), harness.now_us())
    await live.save_journaled()
    return session, live


async def test_a_pause_that_the_disk_does_not_take_is_no_answer_until_it_does(
    harness: RecorderHarness, disk: HangingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, live = await a_call(harness)
    monkeypatch.setattr("wavstream.recorder.recording.JOURNALED_S", 0.05)
    disk.gate.clear()
    session.recordings.pause(live, harness.now_us())

    for _ in range(2):
        with pytest.raises(NotYetSafe):
            await live.save_journaled()
    status = (await harness.row(live.row)).status
    disk.gate.set()
    monkeypatch.undo()
    await live.save_journaled()

    assert status is Status.ONGOING  # the row never says more than the journal
    assert (await harness.row(live.row)).status is Status.PAUSED


async def test_a_pause_from_the_media_server_is_in_the_journal_before_it_is_in_the_row(
    harness: RecorderHarness, disk: HangingDisk
) -> None:
    session, live = await a_call(harness)
    disk.gate.clear()
    session.recordings.pause_all(harness.now_us(), leg="a")
    saving = await begun(live.journaled())

    assert (await harness.row(live.row)).status is Status.ONGOING
    disk.gate.set()
    await saving
    await harness.settled()
    assert (await harness.row(live.row)).status is Status.PAUSED


async def test_a_row_that_could_not_be_written_comes_before_those_that_follow_it(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, live = await a_call(harness)
    monkeypatch.setattr("wavstream.recorder.recording.ROW_WAIT_S", 0.05)
    saved: list[Status] = []
    save = harness.catalog.recordings.save

    async def note(row, facts=(), **how):  # type: ignore[no-untyped-def]
        done = await save(row, facts, **how)
        saved.append(row.status)
        return done

    monkeypatch.setattr(harness.catalog.recordings, "save", note)
    harness.database.faults = {"Recordings.save": FOREVER}
    session.recordings.pause(live, harness.now_us())
    await live.save_journaled()
    unsaved = live.unsaved
    session.recordings.resume(live, harness.now_us())
    await live.save_journaled()
    harness.database.faults = {}
    await until(lambda: len(saved) == 2)
    await asyncio.sleep(0)

    assert unsaved is not None
    assert unsaved.status is Status.PAUSED
    assert saved == [Status.PAUSED, Status.ONGOING]
    assert live.unsaved is None
    assert (await harness.row(live.row)).status is Status.ONGOING
