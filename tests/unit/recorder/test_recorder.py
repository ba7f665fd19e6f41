"""From the stop to the row ``available``, with disks and databases that fail on the way."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from tests.support.faulty_database import FOREVER
from tests.support.journals import call, happened, noise
from tests.support.recorder_harness import KEPT, RecorderHarness, written
from tests.support.sessions import a_recording, at
from tests.support.waiting import until
from wavstream.cli.verify import check
from wavstream.errors import InternalError
from wavstream.journal.events import RecordingStarted, RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.model.recording import EndReason, LegalHold, Recording, Status
from wavstream.model.times import utc


def stopped(recording: Recording, at_s: float = 1.0) -> Recording:
    return replace(recording, status=Status.COMPLETED, end_reason=EndReason.HANGUP, ended_at=utc(at(at_s)))


async def recorded(harness: RecorderHarness, length_s: float = 1.0) -> Recording:
    """Return a recording whose stop record is appended."""
    journal = harness.journal()
    (recording,) = await harness.begin(journal, a_recording())
    harness.write(journal, call(recording, samples=noise(length_s), stop=EndReason.HANGUP))
    return stopped(recording, length_s)


async def test_a_stopped_recording_is_published_whole_and_its_journal_is_gone(harness: RecorderHarness) -> None:
    recording = await recorded(harness)

    finished = await harness.end(recording)

    assert (finished.status, finished.end_reason) == (Status.AVAILABLE, EndReason.HANGUP)
    assert finished.expires_at == utc(at(1.0)) + KEPT
    assert await harness.row(recording) == finished
    heard, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    assert np.array_equal(heard[:, 0], noise(1.0))
    assert list(harness.spool.iterdir()) == []
    assert harness.recorder.unfinished == 0
    assert harness.left() == []


async def test_a_recording_can_be_asked_for_at_every_moment_of_its_end(harness: RecorderHarness) -> None:
    recording = await recorded(harness)

    ended = harness.end(recording)
    seen: list[Recording | None] = []
    while not seen or seen[-1] is not None:
        seen.append(harness.ended(recording.id))
        await asyncio.sleep(0)

    assert ended.done()
    assert seen[0] == recording


async def test_a_recording_is_folded_while_it_runs(harness: RecorderHarness) -> None:
    journal = harness.journal()
    (recording,) = await harness.begin(journal, a_recording())
    harness.write(journal, call(recording, length_s=8.0))
    await written(harness, journal)

    for _ in range(2):  # each second one is left out, the first or the second by the recording's id
        harness.recorder.fold([journal])
    await until(lambda: not harness.recorder.render.waiting and list(harness.spool.iterdir()))
    await harness.recorder.render.stop()

    assert (harness.spool / f"{recording.id}.wav").stat().st_size > 1.5 * 8000 * 4
    assert harness.ended(recording.id) is None


async def test_a_recording_without_audio_is_absent(harness: RecorderHarness) -> None:
    recording = await recorded(harness, 0.0)

    finished = await harness.end(recording)

    assert finished.status is Status.ABSENT
    assert list(harness.storage.walk()) == []
    assert harness.left() == []


async def test_a_file_that_could_not_be_published_twice_is_published_whole(harness: RecorderHarness) -> None:
    recording = await recorded(harness)
    harness.storage.faults = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")]

    finished = await harness.end(recording)

    assert finished.status is Status.AVAILABLE
    check(harness.storage.path(recording.object_key), finished)
    assert harness.left() == []


class LyingDisk:
    """``os.fsync`` of a disk that fails the calls with these numbers: what they should have kept is gone then."""

    def __init__(self, *failing: int) -> None:
        self.calls = 0
        self.failed: list[tuple[int, str]] = []
        """Inode and path."""
        self.repeated: list[str] = []
        self._failing = failing

    def __call__(self, fd: int) -> None:
        self.calls += 1
        path = Path(f"/proc/self/fd/{fd}").resolve()
        if path.is_file() and (os.fstat(fd).st_ino, str(path)) in self.failed:
            self.repeated.append(str(path))
        if self.calls in self._failing:
            self.failed.append((os.fstat(fd).st_ino, str(path)))
            if path.is_file():
                path.write_bytes(bytes(path.stat().st_size))
            raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("failing", [(1,), (2,), (3,), (4,), (1, 2), (2, 4, 7), (4, 8)])
async def test_a_file_whose_sync_has_failed_is_made_anew_and_not_synced_again(
    harness: RecorderHarness, monkeypatch: pytest.MonkeyPatch, failing: tuple[int, ...]
) -> None:
    recording = await recorded(harness, 3.0)
    disk = LyingDisk(*failing)
    monkeypatch.setattr("wavstream.storage.local.os.fsync", disk)

    finished = await harness.end(recording)
    monkeypatch.undo()

    assert len(disk.failed) == len(failing)
    assert disk.repeated == []
    assert finished.status is Status.AVAILABLE
    check(harness.storage.path(recording.object_key), finished)
    heard, _ = soundfile.read(harness.storage.path(recording.object_key), dtype="int16")
    assert np.array_equal(heard[:, 0], noise(3.0))
    assert list(harness.spool.iterdir()) == []
    assert harness.left() == []


@pytest.mark.parametrize("method", ["Recordings.save", "Apps.get"])
async def test_a_catalog_that_fails_for_a_while_makes_no_difference(harness: RecorderHarness, method: str) -> None:
    recording = await recorded(harness)
    harness.database.faults = {method: 3}

    finished = await harness.end(recording)
    await harness.settled()

    assert (await harness.row(recording)).status is Status.AVAILABLE
    assert finished == await harness.row(recording)


async def test_a_journal_stays_until_the_row_says_that_the_file_is_there(harness: RecorderHarness) -> None:
    recording = await recorded(harness)
    harness.database.faults = {"Recordings.save": FOREVER}

    ending = harness.end(recording)
    await until(lambda: list(harness.storage.walk()))
    left = list(harness.journals.iterdir())
    state = harness.ended(recording.id)
    harness.database.faults.clear()
    await ending

    assert left
    assert state is not None
    assert state.status is Status.COMPLETED
    assert harness.ended(recording.id) is None
    assert harness.left() == []


async def test_segments_are_kept_until_the_last_recording_that_needs_them_is_finished(harness: RecorderHarness) -> None:
    journal = harness.journal()
    first, second = a_recording(), a_recording()
    (first,) = await harness.begin(journal, first)
    harness.write(journal, call(first))
    journal.rotate()
    (second,) = await harness.begin(journal, second)
    harness.write(journal, [happened(1.0, RecordingStarted(recording=second, streams=(), leg_order=()))])
    journal.rotate()
    stops = [
        happened(2.0, RecordingStopped(recording_id=each.id, reason=EndReason.STOPPED, end_us=at(2)))
        for each in (first, second)
    ]
    harness.write(journal, stops)

    await harness.end(stopped(second))
    all_three = await segments(harness, journal)
    await harness.end(stopped(first))

    assert all_three == [1, 2, 3]
    assert harness.left() == []


async def test_segments_of_a_finished_recording_go_while_a_later_one_runs(harness: RecorderHarness) -> None:
    journal = harness.journal()
    (first,) = await harness.begin(journal, a_recording())
    harness.write(journal, call(first, stop=EndReason.STOPPED))
    journal.rotate()
    (second,) = await harness.begin(journal, a_recording())
    harness.write(journal, call(second))

    await harness.end(stopped(first))

    assert await segments(harness, journal) == [2]


async def segments(harness: RecorderHarness, journal: Journal) -> list[int]:
    """Segments there are, once the writer has done what it was told."""
    await written(harness, journal)
    return sorted(int(path.stem[-6:]) for path in harness.journals.iterdir())


# ---- what cannot be rendered ---------------------------------------------------------------------------------------


async def test_a_recording_that_a_bug_keeps_from_being_rendered_has_failed_and_its_journal_is_kept(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    recording = await recorded(harness)
    broken_fold(recording.id)

    finished = await harness.end(recording)

    assert (finished.status, finished.error) == (Status.FAILED, "IndexError: a bug")
    assert await harness.row(recording) == finished
    assert (harness.recorder.failed, harness.recorder.unfinished) == (1, 0)
    assert list(harness.spool.iterdir()) == []
    assert len(harness.left()) == 1


async def test_a_failed_recording_does_not_keep_others_of_its_session_from_being_rendered(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    journal = harness.journal()
    bad, good = await harness.begin(journal, a_recording(), a_recording())
    broken_fold(bad.id)
    harness.write(journal, call(bad, good, stop=EndReason.HANGUP))
    await harness.end(stopped(bad))

    with capture_logs() as logs:
        harness.recorder.fold([journal])
        finished = await harness.end(stopped(good))

    assert finished.status is Status.AVAILABLE
    assert [line for line in logs if line["log_level"] != "info"] == []
    assert len(harness.left()) == 1


async def test_the_journal_of_a_failed_recording_goes_when_the_recording_is_deleted(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    recording = await recorded(harness)
    broken_fold(recording.id)
    await harness.end(recording)

    harness.recorder.release_failed(recording.id)
    harness.recorder.release_failed(recording.id)
    harness.recorder.release_failed("another")

    assert harness.recorder.failed == 0
    assert harness.left() == []


async def test_the_journal_of_a_failed_recording_goes_when_its_retention_ends(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    harness.kept = timedelta(0)
    recording = await recorded(harness)
    broken_fold(recording.id)

    await harness.end(recording)
    await until(lambda: not harness.recorder.failed)

    assert harness.left() == []


async def test_the_journal_of_a_failed_recording_stays_while_the_recording_is_held(
    harness: RecorderHarness, broken_fold: Callable[[str], None]
) -> None:
    harness.kept = timedelta(0)
    recording = await recorded(harness)
    await harness.catalog.recordings.save(recording)
    assert await harness.catalog.holds.put(recording.id, recording.app_id, LegalHold("legal", "case 4711", utc(at(0))))
    broken_fold(recording.id)

    await harness.end(recording)
    await until(lambda: harness.recorder.failed == 1)

    assert len(harness.left()) == 1


async def test_a_recording_whose_stop_record_is_missing_has_failed(harness: RecorderHarness) -> None:
    journal = harness.journal()
    (recording,) = await harness.begin(journal, a_recording())
    harness.write(journal, call(recording))

    finished = await harness.end(stopped(recording))

    assert finished.status is Status.FAILED
    assert finished.error is not None
    assert finished.error.startswith(InternalError.__name__)


# ---- a shutdown ----------------------------------------------------------------------------------------------------


async def test_a_shutdown_waits_for_what_was_stopped(harness: RecorderHarness) -> None:
    recording = await recorded(harness)
    ending = harness.end(recording)

    await harness.recorder.stop(30.0)

    assert (await ending).status is Status.AVAILABLE
    assert (await harness.row(recording)).status is Status.AVAILABLE


async def test_a_shutdown_that_cannot_wait_leaves_the_rest_to_the_next_start(harness: RecorderHarness) -> None:
    recording = await recorded(harness)
    harness.storage.faults = [OSError(errno.ENOSPC, "No space left on device")] * 10_000
    ending = harness.end(recording)
    await until(lambda: len(harness.storage.faults) < 10_000)

    await harness.recorder.stop(0.0)

    assert ending.cancelled()
    assert (await harness.row(recording)).status is not Status.AVAILABLE
    assert list(harness.spool.iterdir()) == []
    assert len(harness.left()) == 1
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("finish recording")] == []


async def test_a_shutdown_does_not_wait_for_a_long_backlog_to_be_folded(
    harness: RecorderHarness,
) -> None:
    harness.recorder.slice_bytes = 1
    journal = harness.journal()
    (recording,) = await harness.begin(journal, a_recording())
    rows = call(recording, length_s=60.0, stop=EndReason.HANGUP)
    for start in range(0, len(rows), 5):
        harness.write(journal, rows[start : start + 5])
    rendering = harness.job(recording.id)
    ending = harness.end(stopped(recording, 60.0))
    await until(lambda: (harness.spool / f"{recording.id}.wav").exists())

    await harness.recorder.stop(0.0)

    assert (ending.cancelled(), rendering.is_complete, harness.recorder.render.waiting) == (True, False, 0)
    assert len(harness.left()) == 1
