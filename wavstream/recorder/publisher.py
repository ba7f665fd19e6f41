"""Finished files go into storage and rows into the catalog, tried again until the disk and the database take them.
Meanwhile a recording that has ended is ``completed`` and its journal stays, so nothing is lost. A file whose sync has
failed is not synced again, but made anew from the journal: what was lost of it, no later sync would say.

The file of a recording is published before its row says so, and its row is written together with the facts that are
announced of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog

from wavstream.catalog.database import retry_forever
from wavstream.catalog.recordings import Recordings
from wavstream.errors import DependencyError, TakenElsewhere
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording, Status
from wavstream.recorder.render_job import RenderJob
from wavstream.storage.local import LocalStorage, NotOnDisk

log = structlog.get_logger(__name__)

PUBLISH_THREADS = 8
"""Each waits for the disk, and a disk that syncs eight files at once does so in one go."""
RETRY_S = 1.0

T = TypeVar("T")
FactsOf = Callable[[Recording], Sequence[Fact]]
"""Gives what there is to announce of a recording as it is."""


class Publisher:
    """Publishes files and saves rows, for as long as it takes. Lives on the event loop."""

    def __init__(
        self,
        *,
        storage: LocalStorage,
        recordings: Recordings,
        facts_of: FactsOf,
        expires_at: Callable[[Recording], Awaitable[datetime | None]],
        sidecar: Callable[[Recording], bytes] | None,
        on_wall: Callable[[datetime], datetime] = lambda stamped: stamped,
        retry_s: float = RETRY_S,
    ) -> None:
        """Prepare to publish; the server gives ``WebhookService.facts_of``, ``Expiry.of`` and ``Clocks.on_wall``."""
        self._on_wall = on_wall
        self.retry_s = retry_s
        self._storage = storage
        self._recordings = recordings
        self._facts_of = facts_of
        self._expires_at = expires_at
        self._sidecar = sidecar
        self._is_ours: Callable[[Recording], Awaitable[bool]] | None = None
        self._saves: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(PUBLISH_THREADS, thread_name_prefix="publish")

    def ask_whose(self, is_ours: Callable[[Recording], Awaitable[bool]]) -> None:
        """Publish and save from now on only what is this node's, as this tells; it may raise DependencyError."""
        self._is_ours = is_ours

    async def with_expiry(self, stopped: Recording) -> Recording:
        """Return a recording that has just stopped, with when it expires and from when that counts; None: never."""
        assert stopped.ended_at is not None
        expires_at = await self._ask_catalog(lambda: self._expires_at(stopped), stopped)
        kept_since = None if expires_at is None else self._on_wall(stopped.ended_at)
        return replace(stopped, expires_at=expires_at, kept_since=kept_since)

    def kept_s(self, failed: Recording) -> float | None:
        """Return how long the journal of a recording that just failed is kept: as long as its file would have been."""
        if failed.expires_at is None or failed.kept_since is None:
            return None
        return (failed.expires_at - failed.kept_since).total_seconds()

    async def publish(self, job: RenderJob, recording: Recording) -> Recording | None:
        """Complete the job's file and move it into storage; return the recording as it ends up.

        None: a sync has failed, and the job has to be folded to its end again, as it begins anew. Raise TakenElsewhere
        where another node has the recording: nothing of it is published here.
        """
        await self._check_ours(recording)
        loop = asyncio.get_running_loop()

        def try_once() -> Awaitable[Recording | None]:
            return loop.run_in_executor(self._pool, self._put_in_storage, job, recording)

        return await retry_forever(
            try_once,
            on_first_failure=partial(_log_publish_failure, recording),
            delay_s=self.retry_s,
            failure=OSError,
        )

    async def save(self, recording: Recording, *, found: bool = False) -> None:
        """Write the row, and with it the facts that its change announces; ``found``: see ``Recordings.save``."""
        facts = self._facts_of(recording)
        await self._ask_catalog(lambda: self._recordings.save(recording, facts, found=found), recording)

    async def save_finished(self, recording: Recording) -> None:
        """Write the row of a recording whose file was just published, as ``save`` does.

        Raise TakenElsewhere, and take the file back, where another node has taken the recording meanwhile.
        """
        facts = self._facts_of(recording)
        if not await self._ask_catalog(lambda: self._recordings.save(recording, facts), recording):
            try:
                await self._check_ours(recording)
            except TakenElsewhere:
                await asyncio.to_thread(self._storage.delete, recording.object_key)
                raise

    async def _check_ours(self, recording: Recording) -> None:
        is_ours = self._is_ours
        if is_ours is not None and not await self._ask_catalog(lambda: is_ours(recording), recording):
            raise TakenElsewhere(f"recording {recording.id} is another node's now")

    async def try_save(self, recording: Recording) -> None:
        """Write the row as ``save`` does; if the catalog fails, raise DependencyError, and write it later."""
        try:
            await self._recordings.save(recording, self._facts_of(recording))
        except DependencyError:
            self.save_later(recording)
            raise

    def save_later(self, recording: Recording) -> None:
        """Write the row as ``save`` does, without anyone waiting for it."""
        self.keep(self.save(recording))

    def keep(self, saving: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what saves a row, whether or not anyone waits for it."""
        task = asyncio.create_task(saving)
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)
        return task

    async def is_held(self, recording: Recording) -> bool:
        """Return whether the row is under a legal hold, which may have come after the recording's own value."""
        row = await self._ask_catalog(lambda: self._recordings.get(recording.id), recording)
        return row is not None and row.hold is not None

    @property
    def saves(self) -> frozenset[asyncio.Task[None]]:
        """Rows that are being written with nobody waiting for them."""
        return frozenset(self._saves)

    async def stop(self) -> None:
        """Give up the rows that are not written yet, and wait for the files that are being moved."""
        for task in self._saves:
            task.cancel()
        await asyncio.gather(*self._saves, return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown)

    async def _ask_catalog(self, ask: Callable[[], Awaitable[T]], recording: Recording) -> T:
        return await retry_forever(ask, on_first_failure=partial(_log_catalog_failure, recording), delay_s=self.retry_s)

    def _put_in_storage(self, job: RenderJob, recording: Recording) -> Recording | None:
        try:
            recording = job.finish(recording)
            if recording.status is Status.AVAILABLE:
                sidecar = self._sidecar(recording) if self._sidecar is not None else None
                self._storage.publish(job.spool, recording.object_key, sidecar=sidecar, waveform=job.waveform.path)
        except NotOnDisk as error:
            log.error("recording_made_anew", recording_id=recording.id, error=str(error))
            job.begin_again()
            return None
        return recording


def _log_publish_failure(recording: Recording, error: Exception) -> None:
    log.warning("recording_publish_failed", recording_id=recording.id, error=str(error))


def _log_catalog_failure(recording: Recording, error: Exception) -> None:
    log.warning("recording_catalog_failed", recording_id=recording.id, error=str(error))
