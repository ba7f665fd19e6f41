"""Has recordings transcribed, beside all else that the server does. Lives on the event loop.

1. What is to be transcribed is in the catalog (``catalog/transcriptions.py``), so it survives whatever ends the server.
   One server process does it for all. Of several nodes, one: a file that lies on the disk of the node that made it
   waits until it is in the store. That is no failure, however long the store is away.
2. The work is done by worker programs (``process``), ``workers`` of them; a thread each feeds one and waits for it. The
   loop reads and writes rows, and decides who is next (``schedule``).
3. What is erased meanwhile is broken off at once: its program is killed. What it had made is not written. A transcript
   may be erased without its recording, by any process or node: its row tells that, whenever the catalog is looked at.
4. A failure is written with its reason. One that may pass is tried again, later; none holds up what waits behind it.
5. The transcript in the catalog is what counts. A copy lies beside the file, here or in its store, for who takes files
   from there; one that cannot be put there is in the log, and nothing else: nothing of it stays in the spool folder.
6. What the catalog did not take is done again once it takes more: whichever rows say `running` of what is not.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.transcriptions import Transcription
from wavstream.errors import DependencyError, StoreError
from wavstream.metrics import Histogram
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording, Status
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import transcript_key
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.engines.base import EngineFailed
from wavstream.transcription.engines.choice import EngineChoice
from wavstream.transcription.process import Result, WorkerProcess
from wavstream.transcription.schedule import Turns, next_try
from wavstream.transcription.transcript import Transcript, encode, make_transcript
from wavstream.transcription.wire import Job

log = structlog.get_logger(__name__)

RESCAN_S = 5.0
"""How often the catalog is looked through for what nobody told of."""
TEXT_CHARACTERS = 100_000
"""Of a transcript's text, in what is announced."""
_CATALOG_WAIT_S = 1.0
_PROGRESS_EVERY_S = 2.0
BOUNDS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0)


@dataclass(slots=True)
class TranscriptionCounts:
    """What became of the work since the start."""

    done: int = 0
    failed: int = 0
    """For good."""
    retried: int = 0
    """Failures after which it was tried again."""
    cancelled: int = 0
    """Erased, or gone, meanwhile."""
    speech_ms: int = 0
    """What engines were given of those that are done."""
    work_ms: int = 0
    """CPU of the worker programs for those."""
    waiting: int = 0
    """When that was last counted."""
    times: Histogram = field(default_factory=lambda: Histogram(BOUNDS_S), compare=False)
    """Seconds since a transcript was asked for until it was there."""


@dataclass(slots=True)
class _Running:
    row: Transcription
    process: WorkerProcess
    choice: EngineChoice | None = None
    """Its engine, once its recording was read."""
    task: asyncio.Task[None] | None = None
    is_worked_on: bool = False
    """Whether the program has it."""
    is_cancelled: bool = False

    def break_off(self) -> None:
        """Have it end, and nothing made of it."""
        self.is_cancelled = True
        self.process.kill()

    @property
    def engine(self) -> str:
        """What is said of its engine."""
        return "" if self.choice is None else self.choice.name


class Transcriber:
    """Transcribes for as long as the server runs."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        files: FinishedFiles,
        storage: LocalStorage,
        spool: Path,
        processes: Sequence[WorkerProcess],
        choice_of: Callable[[Recording], EngineChoice],
        language: str | None,
        facts_of: Callable[[Recording, dict[str, Any]], Sequence[Fact]],
        now: Callable[[], datetime],
        is_of_nodes: bool = False,
    ) -> None:
        """Take each recording's engine from ``choice_of``; ``language`` is that of those which do not say theirs.

        ``is_of_nodes``: files may lie on other machines (rule 1).
        """
        self._catalog = catalog
        self._rows = catalog.transcriptions
        self._files = files
        self._storage = storage
        self._spool = spool
        self._free = list(processes)
        self._processes = tuple(processes)
        self._choice_of = choice_of
        self._language = language
        self._facts_of = facts_of
        self._now = now
        self._is_of_nodes = is_of_nodes
        self._turns = Turns()
        self._pool = ThreadPoolExecutor(len(processes), thread_name_prefix="transcription")
        self._running: dict[str, _Running] = {}
        self._woken = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._pause = False
        self._is_any_lost = True
        """Whether rows may say `running` of what is not (rule 6)."""
        self.counts = TranscriptionCounts()

    def start(self) -> None:
        """Transcribe what was left and what comes."""
        self._loop_task = asyncio.create_task(self.transcribe(), name="transcriptions")

    async def transcribe(self) -> None:
        """Transcribe what was left and what comes, until cancelled: who does it then begins again what is under way."""
        self._catalog.recordings.on_to_transcribe(self.wake)
        try:
            await self._run()
        finally:
            for running in self._running.values():
                running.break_off()

    def wake(self) -> None:
        """Look into the catalog: there may be one more."""
        self._woken.set()

    async def recording_removed(self, recording_id: str) -> None:
        """Break off what is made of a recording that is erased (rule 3)."""
        running = self._running.get(recording_id)
        if running is not None:
            running.break_off()

    async def stop(self) -> None:
        """End the programs; the next start begins again what they had under way."""
        self._is_stopping = True
        if self._loop_task is not None:
            self._loop_task.cancel()
        await asyncio.to_thread(self._close_processes)
        tasks = [running.task for running in self._running.values() if running.task is not None]
        await asyncio.gather(*tasks, *filter(None, [self._loop_task]), return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown)

    def _close_processes(self) -> None:
        for process in self._processes:
            process.close()

    @property
    def running(self) -> int:
        """How many are being transcribed."""
        return len(self._running)

    # ---- what to do next ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            wait_s = RESCAN_S
            try:
                if self._is_any_lost:
                    self._is_any_lost = False  # before the question: one may be lost while it is answered
                    await self._rows.begin_again(self._now(), frozenset(self._running))
                await self._break_off_erased()
                await self._begin()
                if (next_at := await self._rows.next_due(self._now())) is not None:
                    wait_s = min(wait_s, max((next_at - self._now()).total_seconds(), 0.0))
                self.counts.waiting, _ = await self._rows.backlog()
            except DependencyError as error:
                log.warning("transcriptions_catalog_failed", error=str(error))
                self._pause = self._is_any_lost = True
            if self._pause:
                self._pause = False
                await asyncio.sleep(_CATALOG_WAIT_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # not ``wait_for``, which forgets that it was cancelled
                    await self._woken.wait()

    async def _break_off_erased(self) -> None:
        if worked_on := [each for each in self._running.values() if each.is_worked_on]:
            wanted = await self._rows.running()
            for each in worked_on:
                if each.row.id not in wanted and each.is_worked_on:  # rule 3
                    each.break_off()

    async def _begin(self) -> None:
        if not self._free:
            return
        # One that was erased and asked for again is due while its recording's older one ends: it must hide no other.
        most = len(self._free) + len(self._running)
        due = await self._rows.due(self._now(), most, in_store=self._is_of_nodes)
        due = [each for each in due if each.recording_id not in self._running]
        apps = [running.row.app_id for running in self._running.values()]
        for row in self._turns.choose(due, apps, len(self._free)):
            if not await self._rows.begin(row):
                continue
            running = _Running(row, self._free.pop())
            self._running[row.recording_id] = running
            running.task = asyncio.create_task(self._try(running), name=f"transcription of {row.recording_id}")

    # ---- one recording -----------------------------------------------------------------------------------------

    async def _try(self, running: _Running) -> None:
        row = running.row
        try:
            recording = await self._catalog.recordings.get(row.recording_id)
            if recording is None or recording.status.is_erased or running.is_cancelled:
                self.counts.cancelled += 1
                return
            running.choice = self._choice_of(recording)
            if recording.status is not Status.AVAILABLE:
                await self._failed(running, recording, f"the recording is {recording.status}", is_lasting=True)
                return
            try:
                result = await self._work(running, recording)
                transcript = self._made(running, recording, result)
            except EngineFailed as error:
                await self._failed(running, recording, str(error), is_lasting=error.is_lasting)
            except FileNotFoundError:
                await self._failed(running, recording, "the file of the recording is gone", is_lasting=False)
            except (OSError, StoreError) as error:
                await self._failed(running, recording, f"the file cannot be read: {error}", is_lasting=False)
            except Exception as error:  # ours: one file's fault must not keep the others here
                log.exception("transcription_handling_failed", recording_id=row.recording_id)
                await self._failed(running, recording, f"a fault of ours: {error!r}", is_lasting=True)
            else:
                await self._done(running, recording, transcript, result)
        except DependencyError as error:  # the row is `running` still, and is begun again
            log.warning("transcriptions_catalog_failed", error=str(error))
            self._pause = self._is_any_lost = True
        finally:
            del self._running[row.recording_id]
            self._free.append(running.process)
            self._woken.set()

    async def _work(self, running: _Running, recording: Recording) -> Result:
        loop, told_at_s = asyncio.get_running_loop(), time.monotonic()
        notes: set[asyncio.Task[None]] = set()

        def note(percent: int) -> None:
            task = loop.create_task(self._note(running, percent))
            notes.add(task)
            task.add_done_callback(notes.discard)

        def on_progress(percent: int) -> None:  # on the thread
            nonlocal told_at_s
            if time.monotonic() - told_at_s >= _PROGRESS_EVERY_S:
                told_at_s = time.monotonic()
                loop.call_soon_threadsafe(note, percent)

        said = running.row.language
        language = self._language if said is None or said.startswith("auto") else said  # Telnyx has `auto_detect`
        job = Job(language=language, folder=str(self._spool))
        opening = functools.partial(self._files.open, recording)
        work = functools.partial(running.process.run, job, opening, on_progress, choice=running.choice)
        running.is_worked_on = True
        try:
            return await loop.run_in_executor(self._pool, work)
        finally:
            running.is_worked_on = False

    async def _note(self, running: _Running, percent: int) -> None:
        with suppress(DependencyError):
            await self._rows.note_progress(running.row, percent)

    def _made(self, running: _Running, recording: Recording, result: Result) -> Transcript:
        done = result.done
        return make_transcript(
            recording,
            result.spans,
            transcript_id=running.row.id,
            language=done.language or self._language or "und",
            engine=running.engine,
            timing=done.timing,
            work_ms=done.work_ms,
        )

    async def _done(self, running: _Running, recording: Recording, transcript: Transcript, result: Result) -> None:
        row, done, engine = running.row, result.done, running.engine
        document, now = encode(transcript), self._now()
        is_written = await self._rows.finish(
            row,
            document,
            said=transcript.text,
            language=transcript.language,
            engine=engine,
            now=now,
            facts=self._facts_of(recording, _told(transcript)),
            speech_ms=done.speech_ms,
        )
        if not is_written:
            self.counts.cancelled += 1
            return
        self.counts.done += 1
        self.counts.speech_ms += done.speech_ms
        self.counts.work_ms += done.work_ms
        self.counts.times.observe((now - row.since).total_seconds())
        log.info(
            "recording_transcribed",
            recording_id=row.recording_id,
            app_id=row.app_id,
            engine=engine,
            speech_s=round(done.speech_ms / 1000, 1),
            work_s=round(done.work_ms / 1000, 1),
        )
        await self._put_copy(recording.id, document)

    async def _failed(self, running: _Running, recording: Recording, error: str, *, is_lasting: bool) -> None:
        row, engine = running.row, running.engine
        if self._is_stopping:
            return
        if running.is_cancelled:
            self.counts.cancelled += 1
            return
        again = next_try(row.attempts + 1, self._now(), is_lasting=is_lasting, chance=random.random())
        facts: Sequence[Fact] = ()
        if again is None:
            self.counts.failed += 1
            failed = {"id": row.id, "language": row.language, "engine": engine, "error": error}
            facts = self._facts_of(recording, failed)
            log.warning("transcription_failed", recording_id=row.recording_id, app_id=row.app_id, error=error)
        else:
            self.counts.retried += 1
        await self._rows.fail(row, error, engine=engine, now=self._now(), again=again, facts=facts)

    async def _put_copy(self, recording_id: str, document: bytes) -> None:
        """Put the copy beside the file, wherever that is by now (rule 5)."""
        try:
            row = await self._catalog.recordings.get(recording_id)
            if row is not None and row.status is Status.AVAILABLE and row.stored is None:
                await asyncio.to_thread(self._put_here, row, document)
                row = await self._catalog.recordings.get(recording_id)  # it may have been uploaded meanwhile
            if row is not None and row.status is Status.AVAILABLE and row.stored is not None:
                await self._files.put_transcript(row, document)
            if row is not None and await self._rows.document(recording_id) is None:  # erased meanwhile
                await self._files.delete_transcript(row)
        except (OSError, DependencyError) as error:
            log.warning("transcript_copy_failed", recording_id=recording_id, error=str(error))

    def _put_here(self, recording: Recording, document: bytes) -> None:
        made = self._spool / transcript_key(f"{recording.id}-made")
        try:
            with open(made, "wb", opener=_private) as file:
                file.write(document)
            self._storage.publish_transcript(made, recording.object_key)
        finally:
            made.unlink(missing_ok=True)  # what could not be moved


def _told(transcript: Transcript) -> dict[str, Any]:
    return {
        "id": transcript.id,
        "language": transcript.language,
        "engine": transcript.engine,
        "words": transcript.word_count,
        "speech_ms": transcript.speech_ms,
        "text": transcript.text[:TEXT_CHARACTERS],
    }


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
