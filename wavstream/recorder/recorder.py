"""From the start of a recording to its row ``available``: what runs where, and in which order.

    event loop   begin      advance (due)      end: one task a recording, `_conclude`
    render thread             fold a slice       fold to the stop record
    journal thread                               write what is queued, first
    pool                                         header, fsync, rename, fsync of the folder
    event loop                                   catalog row, then the journal's segments are let go

The order at the end is what makes a crash at any moment harmless: the file is there before its row says so, and the
journal is there until the row does. A disk or a database that fails is tried again until it does not: the recording
stays ``completed`` and its journal stays, so nothing is lost.

A recording that cannot be rendered, which is a fault of ours, is ``failed`` and its journal is kept for a replay by a
version that can (see ``kept_journals``).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError
from wavstream.journal.journal import Journal
from wavstream.journal.reader import JournalReader
from wavstream.journal.segments import Position
from wavstream.journal.writer import JournalWriter
from wavstream.listening.listener import Listener
from wavstream.listening.live import Live
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording, Status
from wavstream.recorder.folding import AutomaticEnd, Folding
from wavstream.recorder.journal_leases import JournalLeases
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority

log = structlog.get_logger()

PUBLISHERS = 8
"""Threads that publish: each waits for the disk, and a disk that syncs eight files at once does so in one go."""
RETRY_S = 1.0
SLOW_S = 2.0  # a recording whose file takes longer is ``completed`` in the catalog meanwhile

T = TypeVar("T")
FactsOf = Callable[[Recording], Sequence[Fact]]
"""What there is to announce of a recording as it is."""


class Publisher(Protocol):
    """Local storage, as finishing needs it."""

    def publish(self, spool: Path, object_key: str, *, sidecar: bytes | None) -> None:
        """Move the file into storage whole; raises OSError."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where finishing works."""

    journal: Path
    spool: Path


class Recorder:
    """Renders and publishes all recordings of the server. Lives on the event loop."""

    def __init__(
        self, *, places: Folders, writer: JournalWriter, catalog: Catalog, storage: Publisher, stall_wait_us: int,
        expires_at: Callable[[Recording], Awaitable[datetime | None]], sidecar: Callable[[Recording], bytes] | None,
        automatic_end: AutomaticEnd, facts_of: FactsOf, max_listeners: int, retry_s: float = RETRY_S,
    ) -> None:  # fmt: skip
        self._places = places
        self._writer = writer
        self._catalog = catalog
        self._storage = storage
        self._stall_wait_us = stall_wait_us
        self._expires_at = expires_at
        self._sidecar = sidecar
        self._facts_of = facts_of
        self._retry_s = retry_s
        self._renderings: dict[str, RenderJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._concluding: dict[str, asyncio.Task[Recording]] = {}
        self._pool = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="publish")
        self._loop = asyncio.get_running_loop()
        self._kept = JournalLeases(writer, self._loop)
        self._folding = Folding(self._loop, automatic_end=automatic_end, retry_s=retry_s)
        self.live = Live(self._folding, self._loop, max_listeners=max_listeners)

    # ---- what sessions ask for ---------------------------------------------------------------------------------

    def begin(self, recording: Recording, journal: Journal, *, first_segment: int) -> None:
        """A recording has started: its start record is in ``first_segment`` or later."""
        reader = JournalReader(self._places.journal, journal.key, start=Position(first_segment))
        spool = self._places.spool / f"{recording.id}.{recording.options.format}"
        self._renderings[recording.id] = RenderJob(
            recording, reader=reader, spool=spool, stall_wait_us=self._stall_wait_us
        )
        self._kept.use(recording.id, journal, first_segment=first_segment)

    def change(self, recording: Recording) -> None:
        """Tell the catalog, without anyone waiting for it."""
        self._keep(self._save(recording))

    def advance(self, journals: list[Journal]) -> None:
        """Fold what these journals have."""
        for journal in journals:
            for recording_id in self._kept.users(journal.key):
                rendering = self._renderings.get(recording_id)
                # None: it failed; its journal is kept, and it is left as it is.
                if rendering is not None and not self.live.follows(rendering):
                    self._folding.advance(rendering, Priority.DUE)

    def end(self, recording: Recording, journal: Journal) -> asyncio.Future[Recording]:
        """The stop record is appended: drain, finish and publish."""
        self._renderings[recording.id].recording = recording
        # Not at once: the commit of the finished file would have to wait for this one.
        slow = self._loop.call_later(SLOW_S, self.change, recording)
        task = self._loop.create_task(self._conclude(recording, journal), name=f"conclude {recording.id}")
        self._concluding[recording.id] = task
        task.add_done_callback(lambda _: slow.cancel())
        task.add_done_callback(lambda _: self._concluding.pop(recording.id, None))
        return task

    def finishing(self, recording_id: str) -> Recording | None:
        """The recording, if it was stopped and its file is still being finished."""
        rendering = self._renderings.get(recording_id) if recording_id in self._concluding else None
        return None if rendering is None else rendering.recording

    def listen(self, recording_id: str) -> Listener | None:
        """A listener, who has to leave ``live`` again; None: the recording is not being made here."""
        rendering = None if recording_id in self._concluding else self._renderings.get(recording_id)
        return None if rendering is None else self.live.listen(rendering)

    def forget(self, recording_id: str) -> None:
        """Erase the journal of a recording that failed, as soon as no other needs it."""
        self._kept.forget(recording_id)

    # ---- what the service asks for -----------------------------------------------------------------------------

    def catch_up(self, recording_id: str) -> None:
        """Fold a recovered recording from its start, beside what is live."""
        self._folding.advance(self._renderings[recording_id], Priority.BACKLOG)

    def keep(self, failed: Recording, journal: Journal, *, first_segment: int, for_s: float | None) -> None:
        """The journal of a recording that failed before the restart goes on being kept; None: for an unknown time."""
        self._kept.use(failed.id, journal, first_segment=first_segment)
        self._kept.keep(failed.id, for_s=for_s)

    @property
    def failed(self) -> int:
        """Recordings that could not be rendered and whose journal is kept."""
        return self._kept.failed

    @property
    def waiting(self) -> int:
        """Render jobs that wait."""
        return self._folding.waiting

    @property
    def unfinished(self) -> int:
        """Recordings that are being made or finished."""
        return len(self._renderings)

    async def stop(self, timeout_s: float) -> None:
        """Finish what was stopped, within the time given; what runs on is left to the journal."""
        waiting = [*self._concluding.values(), *self._tasks]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
        await self._folding.stop()
        # What is cancelled here is whole in its journal, its stop too: the next start finishes it.
        unfinished = [*self._concluding.values(), *self._tasks]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown)
        self._kept.stop()
        for rendering in self._renderings.values():
            rendering.discard()

    # ---- the end of a recording --------------------------------------------------------------------------------

    async def _conclude(self, recording: Recording, journal: Journal) -> Recording:
        rendering = self._renderings[recording.id]
        written: asyncio.Future[None] = self._loop.create_future()
        self._writer.submit_urgent(journal, functools.partial(self._folding.settle, written))
        expires_at = await self._ask_catalog(lambda: self._expires_at(recording), recording)
        await written
        rendering.recording = replace(recording, expires_at=expires_at)
        try:
            drained = self._folding.fold_to_end(rendering)
            drained.add_done_callback(lambda _: self.live.end(recording.id))
            await drained
            rendering.note_end()
            finished = await self._publish(rendering)
        except Exception as error:  # ours: the journal is kept for whoever looks into it
            log.exception("a recording could not be rendered", recording=recording.id, journal=journal.key)
            finished = replace(rendering.recording, status=Status.FAILED, error=f"{type(error).__name__}: {error}")
            rendering.discard()
        await self._save(finished)
        del self._renderings[recording.id]
        if finished.status is Status.FAILED:
            row = await self._ask_catalog(lambda: self._catalog.recordings.get(recording.id), recording)
            self._kept.keep(recording.id, for_s=None if row is not None and row.hold is not None else _kept_s(finished))
        else:
            self._kept.let_go(recording.id)
        return finished

    async def _publish(self, rendering: RenderJob) -> Recording:
        def put() -> Awaitable[Recording]:
            return self._loop.run_in_executor(self._pool, self._put_in_storage, rendering)

        return await self._retry_forever(put, OSError, "a file cannot be published, trying again", rendering.recording)

    async def _save(self, recording: Recording) -> None:
        facts = self._facts_of(recording)
        await self._ask_catalog(lambda: self._catalog.recordings.save(recording, facts), recording)

    async def _ask_catalog(self, ask: Callable[[], Awaitable[T]], recording: Recording) -> T:
        return await self._retry_forever(ask, DependencyError, "the catalog does not work, trying again", recording)

    async def _retry_forever(
        self, work: Callable[[], Awaitable[T]], failure: type[Exception], complaint: str, recording: Recording
    ) -> T:
        """Try until it does not fail in this way; the first failure is told."""
        told = False
        while True:
            try:
                return await work()
            except failure as error:
                if not told:
                    log.warning(complaint, recording=recording.id, error=str(error))
                told = True
                await asyncio.sleep(self._retry_s)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _put_in_storage(self, rendering: RenderJob) -> Recording:
        recording = rendering.finish()
        if recording.status is Status.AVAILABLE:
            sidecar = self._sidecar(recording) if self._sidecar is not None else None
            self._storage.publish(rendering.spool, recording.object_key, sidecar=sidecar)
        return recording


def _kept_s(failed: Recording) -> float | None:
    """How long the journal of a recording that just failed is kept: as long as its file would have been."""
    if failed.expires_at is None:
        return None
    assert failed.ended_at is not None
    return (failed.expires_at - failed.ended_at).total_seconds()
