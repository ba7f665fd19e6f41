"""MP3 recordings are encoded on other cores: with the same bytes, in the same order, and each at its own risk."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.journals import a_started_recording, call, leave, noise, nothing
from tests.support.waiting import until
from wavstream.journal.events import RecordingStopped
from wavstream.journal.reader import JournalReader
from wavstream.model.options import FileFormat
from wavstream.model.recording import EndReason
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority, RenderThread, other_cores
from wavstream.rendering.encoders.mp3 import Mp3Encoder
from wavstream.rendering.timeline.clock import Patience


def mp3_jobs(folder: Path, count: int, *, into: str = "spool", seconds: float = 3.0) -> list[RenderJob]:
    """Return jobs of as many calls, each of a noise of its own, whose journals lie below the folder."""
    jobs = []
    for number in range(count):
        started = a_started_recording()
        recording = replace(
            started, id=f"{number:032x}", options=replace(started.options, format=FileFormat.MP3), object_key="k.mp3"
        )
        journals = folder / "journal" / str(number)
        if journals.exists():
            key = next(journals.iterdir()).name.rpartition("-")[0]
        else:
            voice = noise(seconds, seed=number)
            key = leave(journals, call(recording, samples=voice, stop=EndReason.HANGUP))
        jobs.append(
            RenderJob(
                recording,
                reader=JournalReader(journals, key),
                spool=folder / into / f"{number}.mp3",
                patience=Patience(),
                on_automatic_end=nothing,
                slice_bytes=4096,
            )
        )
    return jobs


@pytest.fixture
async def helped() -> AsyncIterator[RenderThread]:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0, turn_s=0.0, helpers=3)
    yield thread
    await thread.stop()


async def fold(thread: RenderThread, jobs: list[RenderJob]) -> None:
    """Fold each in many turns, and more often than it takes, to its end."""
    for _ in range(5):
        thread.fold_all(jobs, Priority.DUE)
    await asyncio.gather(*(thread.fold_to_end(job) for job in jobs))


async def test_many_calls_that_are_encoded_at_once_are_byte_for_byte_what_one_thread_makes(
    tmp_path: Path, helped: RenderThread
) -> None:
    alone = RenderThread(asyncio.get_running_loop(), retry_s=0.0)
    first, second = mp3_jobs(tmp_path, 12), mp3_jobs(tmp_path, 12, into="again")

    await fold(helped, first)
    await fold(alone, second)
    await alone.stop()

    for one, other in zip(first, second, strict=True):
        finished = [job.finish(a_started_recording()).receipt for job in (one, other)]
        assert finished[0] == finished[1]
        assert one.spool.read_bytes() == other.spool.read_bytes()


class Encoding:
    """Keeps what is encoded in the first block until it is let go, and notes on which threads blocks are encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.threads: list[str] = []
        encode = Mp3Encoder.encode

        def held(encoder: Mp3Encoder, block: NDArray[np.int16]) -> bytes:
            self.threads.append(threading.current_thread().name)
            if not self.entered.is_set():
                self.entered.set()
                assert self.release.wait(30)
            return encode(encoder, block)

        monkeypatch.setattr(Mp3Encoder, "encode", held)


async def test_a_stop_while_its_block_is_being_encoded_waits_for_that_and_no_other_recording_does(
    tmp_path: Path, helped: RenderThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = Encoding(monkeypatch)
    held, other = mp3_jobs(tmp_path, 2)
    helped.fold(held, Priority.DUE)
    await until(encoding.entered.is_set)

    stopped = helped.fold_to_end(held)
    await helped.fold_to_end(other)
    is_waiting = not stopped.done()
    encoding.release.set()
    await stopped

    assert is_waiting
    assert held.is_complete
    assert encoding.threads[0].startswith("encode-")


async def test_who_comes_to_listen_while_a_helper_has_the_recording_waits_for_its_turn_to_end(
    tmp_path: Path, helped: RenderThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = Encoding(monkeypatch)
    (job,) = mp3_jobs(tmp_path, 1)
    looked, passed = threading.Event(), threading.Event()
    helped.fold(job, Priority.DUE)
    await until(encoding.entered.is_set)
    begun = len(encoding.threads)

    job.is_followed = True
    helped.run(looked.set, Priority.DUE, app_id=job.app_id, job=job)
    helped.run(passed.set, Priority.BACKLOG, app_id="another")
    await until(passed.is_set)
    is_early = looked.is_set()
    encoding.release.set()
    await until(looked.is_set)
    await helped.fold_to_end(job)

    assert not is_early
    assert set(encoding.threads[begun:]) <= {"render"}  # what its listeners hear is handed on there


async def test_an_encoder_that_fails_fails_its_own_recording_alone(
    tmp_path: Path, helped: RenderThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = mp3_jobs(tmp_path, 4)
    encode = Mp3Encoder.encode
    broken: list[Mp3Encoder] = []
    lock = threading.Lock()

    def fail_one(encoder: Mp3Encoder, block: NDArray[np.int16]) -> bytes:
        with lock:
            if not broken:
                broken.append(encoder)
        if encoder is broken[0]:
            raise MemoryError("no more LAME")
        return encode(encoder, block)

    monkeypatch.setattr(Mp3Encoder, "encode", fail_one)
    outcomes = await asyncio.gather(*(helped.fold_to_end(job) for job in jobs), return_exceptions=True)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MemoryError", "NoneType", "NoneType", "NoneType"]
    assert [job.broken for job in jobs] == outcomes


async def test_a_stop_of_the_threads_ends_what_helpers_have_begun_and_drops_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0, turn_s=0.0, helpers=1)
    encoding = Encoding(monkeypatch)
    held, waiting = mp3_jobs(tmp_path, 2)
    thread.fold(held, Priority.DUE)
    await until(encoding.entered.is_set)
    stopped = thread.fold_to_end(waiting)

    stopping = asyncio.create_task(thread.stop())
    await until(lambda: thread._is_stopping)
    thread.fold(held, Priority.BACKLOG)
    encoding.release.set()
    await stopping
    sizes = held.size_bytes, waiting.size_bytes

    assert not any(each.is_alive() for each in (thread._thread, *thread._helpers))
    assert sizes == (held.size_bytes, waiting.size_bytes)
    stopped.cancel()


async def test_wav_recordings_are_folded_by_one_thread_whatever_helpers_there_are(
    tmp_path: Path, helped: RenderThread
) -> None:
    names: list[str] = []

    class Noting(RenderJob):
        def advance(self) -> bool:
            names.append(threading.current_thread().name)
            return super().advance()

        def take_automatic_end(self) -> RecordingStopped | None:
            return None

    recording = a_started_recording()
    key = leave(tmp_path / "journal", call(recording, samples=noise(2.0), stop=EndReason.HANGUP))
    jobs = [
        Noting(
            recording,
            reader=JournalReader(tmp_path / "journal", key),
            spool=tmp_path / f"{number}.wav",
            patience=Patience(),
            on_automatic_end=nothing,
        )
        for number in range(6)
    ]

    await asyncio.gather(*(helped.fold_to_end(job) for job in jobs))

    assert set(names) == {"render"}


@pytest.mark.parametrize(("cores", "helpers"), [({3}, 0), ({0, 5}, 1), (set(range(64)), 7)])
def test_there_are_as_many_helpers_as_other_cores_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], helpers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cores, raising=False)

    assert other_cores() == helpers
