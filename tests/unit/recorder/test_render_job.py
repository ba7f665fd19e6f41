"""A recording folded from its journal slice by slice, on a disk that refuses now and then."""

from __future__ import annotations

import errno
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.journals import RATE_HZ, a_leg, a_started_recording, call, happened, leave, noise, nothing
from tests.support.records import frame_record
from tests.support.sessions import at
from wavstream.journal import events
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import clock_record
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.recorder.render_job import SLICE_BYTES, RenderJob
from wavstream.rendering.timeline.clock import Patience

RECORDING = a_started_recording()


def a_job(tmp_path: Path, key: str, recording: Recording = RECORDING, *, slice_bytes: int = SLICE_BYTES) -> RenderJob:
    reader = JournalReader(tmp_path / "journal", key)
    return RenderJob(
        recording,
        reader=reader,
        spool=tmp_path / "rec.wav",
        patience=Patience(),
        on_automatic_end=nothing,
        slice_bytes=slice_bytes,
    )


def fold_all(job: RenderJob) -> None:
    while job.advance():
        pass


def test_a_stopped_recording_is_folded_to_a_whole_file_with_a_receipt(tmp_path: Path) -> None:
    voice = noise(2.0)
    key = leave(tmp_path / "journal", call(RECORDING, samples=voice, stop=EndReason.HANGUP))
    job = a_job(tmp_path, key, slice_bytes=4096)

    slices = 1
    while job.advance():
        slices += 1
    finished = job.finish(RECORDING)

    heard, rate_hz = soundfile.read(job.spool, dtype="int16")
    assert np.array_equal(heard[:, 0], voice)
    assert (rate_hz, not heard[:, 1].any(), job.is_complete) == (8000, True, True)
    assert finished.status is Status.AVAILABLE
    assert finished.receipt is not None
    assert (finished.receipt.samples, finished.receipt.size_bytes) == (16000, job.spool.stat().st_size)
    assert finished.receipt.audio_sha256
    assert not job.advance()
    assert slices >= 1


def test_a_recording_without_audio_is_absent_and_has_no_file(tmp_path: Path) -> None:
    key = leave(tmp_path / "journal", call(RECORDING, length_s=0.0, stop=EndReason.HANGUP))
    job = a_job(tmp_path, key)

    fold_all(job)
    finished = job.finish(RECORDING)

    assert finished.status is Status.ABSENT
    assert not job.spool.exists()


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = noise(2.0)
    key = leave(tmp_path / "journal", call(RECORDING, samples=voice, stop=EndReason.HANGUP))
    write = os.pwrite
    faults: list[int | OSError] = [1000, OSError(errno.ENOSPC, "No space left on device"), 44]

    def write_at(fd: int, chunk: bytes, offset: int) -> int:
        fault = faults.pop() if faults else len(chunk)
        if isinstance(fault, OSError):
            raise fault
        return write(fd, chunk[:fault], offset)

    monkeypatch.setattr(os, "pwrite", write_at)
    job = a_job(tmp_path, key)

    with pytest.raises(OSError, match="No space"):
        fold_all(job)
    fold_all(job)
    job.finish(RECORDING)

    heard, _ = soundfile.read(job.spool, dtype="int16")
    assert np.array_equal(heard[:, 0], voice)


def test_what_is_discarded_leaves_no_file(tmp_path: Path) -> None:
    key = leave(tmp_path / "journal", call(RECORDING, stop=EndReason.HANGUP))
    job = a_job(tmp_path, key)
    fold_all(job)

    job.discard()

    assert not job.spool.exists()


def test_a_journal_is_read_no_further_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = a_started_recording()
    rows = call(recording, length_s=6.0, stop=EndReason.HANGUP)
    key = leave(tmp_path / "journal", rows[:200], rows[200:])
    job = a_job(tmp_path, key, recording, slice_bytes=1)

    def full(fd: int, chunk: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    places = set()
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            fold_all(job)
        places.add(job._reader.position)

    assert len(places) == 1


def a_burst(seconds: float) -> list[bytes]:
    """One leg that sends all its audio in one batch, with the time that passes then behind it in the same one."""
    voice, facts = noise(seconds), a_leg()
    rows = [
        happened(0.0, events.RecordingStarted(recording=RECORDING, streams=(), leg_order=())),
        happened(0.0, events.StreamOpened(facts=facts)),
    ]
    rows += [
        frame_record(
            track=facts.first_track, arrival_us=at(0.1), position=start, payload=voice[start:][:RATE_HZ].tobytes()
        )
        for start in range(0, len(voice), RATE_HZ)
    ]
    rows += [clock_record(at(0.5 * number)) for number in range(1, 20)]
    end = events.RecordingStopped(recording_id=RECORDING.id, reason=EndReason.HANGUP, end_us=at(10))
    return [*rows, happened(10.0, end)]


def test_minutes_that_come_at_once_take_a_few_times_their_size_and_not_six(tmp_path: Path) -> None:
    minutes = 4 * 60.0
    job = a_job(tmp_path, leave(tmp_path / "journal", a_burst(minutes)))

    tracemalloc.start()
    try:
        fold_all(job)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    audio_bytes = int(minutes * RATE_HZ * 2)
    assert job.is_complete
    assert job.size_bytes > 2 * audio_bytes  # a stereo file
    # What was read or its frames, and a part of the file that they become; six times, when all of it was joined.
    assert most_bytes < 4 * audio_bytes


def test_a_disk_that_refuses_in_the_middle_of_a_large_batch_costs_nothing_of_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = leave(tmp_path / "journal", a_burst(60.0))
    whole, job = a_job(tmp_path, key), a_job(tmp_path / "again", key)
    job._reader = JournalReader(tmp_path / "journal", key)
    fold_all(whole)
    write, writes = os.pwrite, iter(range(1000))

    def write_at(fd: int, chunk: bytes, offset: int) -> int:
        if next(writes) % 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, chunk, offset)

    monkeypatch.setattr("wavstream.recorder.spool_file.os.pwrite", write_at)
    refused = 0
    while not job.is_complete or job._file.owed:
        try:
            job.advance()
        except OSError:
            refused += 1
    monkeypatch.undo()

    assert refused > 1
    assert job.finish(RECORDING).receipt == whole.finish(RECORDING).receipt


def test_a_recording_is_folded_every_second_time_unless_it_may_end_by_itself(tmp_path: Path) -> None:
    plain = a_job(tmp_path, "a" * 32)
    assert [plain.is_due() for _ in range(5)] == [True, False, True, False, True]
    ends: tuple[dict[str, Any], ...] = (
        {"max_length_s": 60},
        {"initial_timeout_s": 5},
        {"end_silence_timeout_s": 5},
        {"terminators": "#"},
    )
    for number, options in enumerate(ends):
        recording = replace(RECORDING, options=RECORDING.options.changed(options))
        job = a_job(tmp_path, f"{number}" * 32, recording)
        assert all(job.is_due() for _ in range(5)), options
