"""From the stop to the row ``available``, with disks and databases that fail on the way."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from tests.support.journals import call, happened, noise
from tests.support.sessions import a_recording, at
from tests.unit.finishing.conftest import KEPT, Workshop, until, written
from wavstream.cli.verify import check
from wavstream.errors import InternalError
from wavstream.journal.events import RecordingStarted, RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.model.hold import Hold
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc


def stopped(recording: Recording, at_s: float = 1.0) -> Recording:
    return replace(recording, status=Status.COMPLETED, end_reason=EndReason.HANGUP, ended_at=utc(at(at_s)))


async def recorded(workshop: Workshop, length_s: float = 1.0) -> tuple[Recording, Journal]:
    """A recording whose stop record is appended."""
    journal = workshop.journal()
    (recording,) = await workshop.begin(journal, a_recording())
    workshop.write(journal, call(recording, samples=noise(length_s), stop=EndReason.HANGUP))
    return stopped(recording, length_s), journal


async def test_a_stopped_recording_is_published_whole_and_its_journal_is_gone(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)

    finished = await workshop.finisher.end(recording, journal)

    assert (finished.status, finished.end_reason) == (Status.AVAILABLE, EndReason.HANGUP)
    assert finished.expires_at == utc(at(1.0)) + KEPT
    assert await workshop.row(recording) == finished
    heard, _ = soundfile.read(workshop.storage.path(recording.object_key), dtype="int16")
    assert np.array_equal(heard[:, 0], noise(1.0))
    assert list(workshop.spool.iterdir()) == []
    assert workshop.finisher.unfinished == 0
    assert workshop.left() == []


async def test_a_recording_can_be_asked_for_at_every_moment_of_its_end(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)

    ended = workshop.finisher.end(recording, journal)
    seen: list[Recording | None] = []
    while not seen or seen[-1] is not None:
        seen.append(workshop.finisher.finishing(recording.id))
        await asyncio.sleep(0)

    assert ended.done()
    assert seen[0] == recording


async def test_a_recording_is_folded_while_it_runs(workshop: Workshop) -> None:
    journal = workshop.journal()
    (recording,) = await workshop.begin(journal, a_recording())
    workshop.write(journal, call(recording, length_s=5.0))
    await written(workshop, journal)

    workshop.finisher.advance([journal])
    await until(lambda: not workshop.finisher.waiting and list(workshop.spool.iterdir()))
    await workshop.finisher._folding.stop()

    assert (workshop.spool / f"{recording.id}.wav").stat().st_size > 1.5 * 8000 * 4
    assert workshop.finisher.finishing(recording.id) is None


async def test_a_recording_without_audio_is_absent(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop, 0.0)

    finished = await workshop.finisher.end(recording, journal)

    assert finished.status is Status.ABSENT
    assert list(workshop.storage.walk()) == []
    assert workshop.left() == []


async def test_a_file_that_could_not_be_published_twice_is_published_whole(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)
    workshop.storage.faults = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")]

    finished = await workshop.finisher.end(recording, journal)

    assert finished.status is Status.AVAILABLE
    check(workshop.storage.path(recording.object_key), finished)
    assert workshop.left() == []


@pytest.mark.parametrize("method", ["save_recording", "get_app"])
async def test_a_catalog_that_fails_for_a_while_makes_no_difference(workshop: Workshop, method: str) -> None:
    recording, journal = await recorded(workshop)
    workshop.catalog.faults = {method: 3}

    finished = await workshop.finisher.end(recording, journal)
    await workshop.settled()

    assert (await workshop.row(recording)).status is Status.AVAILABLE
    assert finished == await workshop.row(recording)


async def test_a_journal_stays_until_the_row_says_that_the_file_is_there(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)
    workshop.catalog.faults = {"save_recording": 1 << 30}

    ending = workshop.finisher.end(recording, journal)
    await until(lambda: list(workshop.storage.walk()))
    left = list(workshop.journals.iterdir())
    state = workshop.finisher.finishing(recording.id)
    workshop.catalog.faults.clear()
    await ending

    assert left
    assert state is not None
    assert state.status is Status.COMPLETED
    assert workshop.finisher.finishing(recording.id) is None
    assert workshop.left() == []


async def test_segments_are_kept_until_the_last_recording_that_needs_them_is_finished(workshop: Workshop) -> None:
    journal = workshop.journal()
    first, second = a_recording(), a_recording()
    (first,) = await workshop.begin(journal, first)
    workshop.write(journal, call(first))
    journal.rotate()
    (second,) = await workshop.begin(journal, second)
    workshop.write(journal, [happened(1.0, RecordingStarted(recording=second, streams=(), leg_order=()))])
    journal.rotate()
    stops = [
        happened(2.0, RecordingStopped(recording_id=each.id, reason=EndReason.STOPPED, end_us=at(2)))
        for each in (first, second)
    ]
    workshop.write(journal, stops)

    await workshop.finisher.end(stopped(second), journal)
    all_three = await segments(workshop, journal)
    await workshop.finisher.end(stopped(first), journal)

    assert all_three == [1, 2, 3]
    assert workshop.left() == []


async def test_segments_of_a_finished_recording_go_while_a_later_one_runs(workshop: Workshop) -> None:
    journal = workshop.journal()
    (first,) = await workshop.begin(journal, a_recording())
    workshop.write(journal, call(first, stop=EndReason.STOPPED))
    journal.rotate()
    (second,) = await workshop.begin(journal, a_recording())
    workshop.write(journal, call(second))

    await workshop.finisher.end(stopped(first), journal)

    assert await segments(workshop, journal) == [2]


async def segments(workshop: Workshop, journal: Journal) -> list[int]:
    """Segments there are, once the writer has done what it was told."""
    await written(workshop, journal)
    return sorted(int(path.stem[-6:]) for path in workshop.journals.iterdir())


# ---- what cannot be rendered ---------------------------------------------------------------------------------------


async def test_a_recording_that_a_bug_keeps_from_being_rendered_has_failed_and_its_journal_is_kept(
    workshop: Workshop, broken_fold: Callable[[str], None]
) -> None:
    recording, journal = await recorded(workshop)
    broken_fold(recording.id)

    finished = await workshop.finisher.end(recording, journal)

    assert (finished.status, finished.error) == (Status.FAILED, "IndexError: a bug")
    assert await workshop.row(recording) == finished
    assert (workshop.finisher.failed, workshop.finisher.unfinished) == (1, 0)
    assert list(workshop.spool.iterdir()) == []
    assert len(workshop.left()) == 1


async def test_a_failed_recording_does_not_keep_others_of_its_session_from_being_rendered(
    workshop: Workshop, broken_fold: Callable[[str], None]
) -> None:
    journal = workshop.journal()
    bad, good = await workshop.begin(journal, a_recording(), a_recording())
    broken_fold(bad.id)
    workshop.write(journal, call(bad, good, stop=EndReason.HANGUP))
    await workshop.finisher.end(stopped(bad), journal)

    with capture_logs() as logs:
        workshop.finisher.advance([journal])
        finished = await workshop.finisher.end(stopped(good), journal)

    assert finished.status is Status.AVAILABLE
    assert logs == []
    assert len(workshop.left()) == 1


async def test_the_journal_of_a_failed_recording_goes_when_the_recording_is_deleted(
    workshop: Workshop, broken_fold: Callable[[str], None]
) -> None:
    recording, journal = await recorded(workshop)
    broken_fold(recording.id)
    await workshop.finisher.end(recording, journal)

    workshop.finisher.forget(recording.id)
    workshop.finisher.forget(recording.id)
    workshop.finisher.forget("another")

    assert workshop.finisher.failed == 0
    assert workshop.left() == []


async def test_the_journal_of_a_failed_recording_goes_when_its_retention_ends(
    workshop: Workshop, broken_fold: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.finishing.conftest.KEPT", timedelta(0))
    recording, journal = await recorded(workshop)
    broken_fold(recording.id)

    await workshop.finisher.end(recording, journal)
    await until(lambda: not workshop.finisher.failed)

    assert workshop.left() == []


async def test_the_journal_of_a_failed_recording_stays_while_the_recording_is_held(
    workshop: Workshop, broken_fold: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.unit.finishing.conftest.KEPT", timedelta(0))
    recording, journal = await recorded(workshop)
    await workshop.catalog.save_recording(recording)
    assert await workshop.catalog.real.holds.put(recording.id, recording.app_id, Hold("legal", "case 4711", utc(at(0))))
    broken_fold(recording.id)

    await workshop.finisher.end(recording, journal)
    await asyncio.sleep(0)

    assert workshop.finisher.failed == 1
    assert len(workshop.left()) == 1


async def test_a_recording_whose_stop_record_is_missing_has_failed(workshop: Workshop) -> None:
    journal = workshop.journal()
    (recording,) = await workshop.begin(journal, a_recording())
    workshop.write(journal, call(recording))

    finished = await workshop.finisher.end(stopped(recording), journal)

    assert finished.status is Status.FAILED
    assert finished.error is not None
    assert finished.error.startswith(InternalError.__name__)


# ---- a shutdown ----------------------------------------------------------------------------------------------------


async def test_a_shutdown_waits_for_what_was_stopped(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)
    ending = workshop.finisher.end(recording, journal)

    await workshop.finisher.stop(30.0)

    assert (await ending).status is Status.AVAILABLE
    assert (await workshop.row(recording)).status is Status.AVAILABLE


async def test_a_shutdown_that_cannot_wait_leaves_the_rest_to_the_next_start(workshop: Workshop) -> None:
    recording, journal = await recorded(workshop)
    workshop.storage.faults = [OSError(errno.ENOSPC, "No space left on device")] * 10_000
    ending = workshop.finisher.end(recording, journal)
    await until(lambda: len(workshop.storage.faults) < 10_000)

    await workshop.finisher.stop(0.0)

    assert ending.cancelled()
    assert (await workshop.row(recording)).status is not Status.AVAILABLE
    assert list(workshop.spool.iterdir()) == []
    assert len(workshop.left()) == 1
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("conclude")] == []


async def test_a_shutdown_does_not_wait_for_a_long_backlog_to_be_folded(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.finishing.rendering.SLICE_BYTES", 1)
    journal = workshop.journal()
    (recording,) = await workshop.begin(journal, a_recording())
    rows = call(recording, length_s=60.0, stop=EndReason.HANGUP)
    for start in range(0, len(rows), 5):
        workshop.write(journal, rows[start : start + 5])
    rendering = workshop.finisher._renderings[recording.id]
    ending = workshop.finisher.end(stopped(recording, 60.0), journal)
    await until(lambda: (workshop.spool / f"{recording.id}.wav").exists())

    await workshop.finisher.stop(0.0)

    assert (ending.cancelled(), rendering.complete, workshop.finisher.waiting) == (True, False, 0)
    assert len(workshop.left()) == 1
