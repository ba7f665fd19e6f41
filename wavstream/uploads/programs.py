"""Runs the operator's program for each file that a store has taken (``storage.on_stored``). Lives on the event loop.

1. Which files are due is in the catalog (``catalog/stored_runs.py``): a program that was broken off with the server is
   run again by the next. So it is run at least once, and may be told of the same recording twice.
2. Programs run on threads of their own, ``AT_ONCE`` of them; none is waited for by an upload, a call or a request.
3. One that fails is run again after ``FIRST_WAIT_S``, then twice that and so on, ``TRIES`` times in all.
4. Of a recording that was erased meanwhile nothing is told.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.stored_runs import StoredRun
from wavstream.errors import DependencyError
from wavstream.model.recording import Recording, Status
from wavstream.uploads.program import ProgramFailed, environment_of, run
from wavstream.uploads.schedule import wait_s

log = structlog.get_logger(__name__)

AT_ONCE = 2
TRIES = 8
FIRST_WAIT_S = 5.0
LAST_WAIT_S = 600.0
"""With eight tries the last is a quarter of an hour after the first."""
_RESCAN_S = 10.0
_CATALOG_WAIT_S = 1.0


@dataclass(slots=True)
class ProgramCounts:
    """How programs ended since the start."""

    succeeded: int = 0
    failed: int = 0
    """Each run that failed, the last before it was given up too."""
    given_up: int = 0
    waiting: int = 0
    """Files for which it is still to be run, when that was last counted."""


class Programs:
    """Runs them for as long as the server runs."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        command: Sequence[str],
        timeout_s: float,
        url_of: Callable[[Recording], str],
        now: Callable[[], datetime],
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        """``url_of`` gives the address of a recording's file, ``now`` the server's time."""
        self._catalog = catalog
        self._runs = catalog.stored_runs
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._url_of = url_of
        self._now = now
        self._first_wait_s = first_wait_s
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="on-stored")
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._is_stopping = threading.Event()
        self._pause = False
        self.counts = ProgramCounts()

    def start(self) -> None:
        """Run it for what was left and for what comes."""
        self._loop = asyncio.create_task(self._run(), name="on stored")

    def wake(self) -> None:
        """Look into the catalog: there may be one more."""
        self._woken.set()

    async def stop(self) -> None:
        """End the programs that run; the next start runs them again."""
        self._is_stopping.set()
        if self._loop is not None:
            self._loop.cancel()
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), *filter(None, [self._loop]), return_exceptions=True)
        await asyncio.to_thread(self._pool.shutdown)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            wait_for_s = _RESCAN_S
            try:
                await self._begin()
                if (next_at := await self._runs.next_due(self._now())) is not None:
                    wait_for_s = min(wait_for_s, max((next_at - self._now()).total_seconds(), 0.0))
                self.counts.waiting = await self._runs.count()
            except DependencyError as error:
                log.warning("stored_programs_catalog_failed", error=str(error))
                self._pause = True
            if self._pause:
                self._pause = False
                await asyncio.sleep(_CATALOG_WAIT_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_for_s):  # not ``wait_for``, which forgets that it was cancelled
                    await self._woken.wait()

    async def _begin(self) -> None:
        if len(self._running) >= AT_ONCE:
            return
        for due in await self._runs.due(self._now(), AT_ONCE + len(self._running)):
            if due.recording_id in self._running or len(self._running) >= AT_ONCE:
                continue
            task = asyncio.create_task(self._try(due), name=f"on stored of {due.recording_id}")
            self._running[due.recording_id] = task

    async def _try(self, due: StoredRun) -> None:
        try:
            row = await self._catalog.recordings.get(due.recording_id)
            if row is None or row.status is not Status.AVAILABLE or row.stored is None:  # rule 4
                await self._runs.forget(due.recording_id)
                return
            told = environment_of(row, url=self._url_of(row))
            work = functools.partial(run, self._command, told, timeout_s=self._timeout_s, is_stopping=self._is_stopping)
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, work)
            except ProgramFailed as error:
                if not self._is_stopping.is_set():
                    await self._failed(due, str(error))
            else:
                self.counts.succeeded += 1
                await self._runs.forget(due.recording_id)
        except DependencyError as error:  # the row stays: it is run again
            log.warning("stored_programs_catalog_failed", error=str(error))
            self._pause = True
        finally:
            del self._running[due.recording_id]
            self._woken.set()

    async def _failed(self, due: StoredRun, error: str) -> None:
        self.counts.failed += 1
        if due.attempts + 1 >= TRIES:
            self.counts.given_up += 1
            log.error("stored_program_given_up", recording_id=due.recording_id, error=error)
            await self._runs.forget(due.recording_id)
            return
        if due.attempts == 0:
            log.warning("stored_program_failed", recording_id=due.recording_id, error=error)
        seconds = wait_s(due.attempts + 1, first_s=self._first_wait_s, last_s=LAST_WAIT_S, chance=random.random())
        await self._runs.fail(due.recording_id, error, next_at=self._now() + timedelta(seconds=seconds))
