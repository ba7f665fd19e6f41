"""A recording folded from its journal slice by slice, on a disk that refuses now and then."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.journals import a_started_recording, call, leave, noise, nothing
from wavstream.journal.reader import JournalReader
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
