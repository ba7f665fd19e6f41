"""Erases what retention says must go, and does the rest of every erasure that is not done.

A sweep first erases the rows that are due, then removes what is left of all that are erased: after a crash between the
two, after a disk or a store that refused, or after a file has come back. What cannot be removed stops no other: it is
logged once and tried again, ever more slowly. A store that has failed is asked no more in the same sweep.

Files come back with backups. So at the first sweep, and then every ``WALK_EVERY``, the ids in the names of the files in
storage are compared with the rows that say ``deleted`` or ``expired``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing
from wavstream.errors import DependencyError
from wavstream.model.ids import ids_in
from wavstream.model.recording import Recording, Status
from wavstream.recorder.eraser import Eraser
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import is_of_recording

IDEMPOTENCY_TTL = timedelta(hours=24)
"""How long an idempotency key, or a command_uid, stands for its first request."""
WALK_EVERY = timedelta(hours=1)
"""A million files are looked through in some seconds, on a thread."""
FIRST_RETRY = timedelta(seconds=30)
LAST_RETRY = timedelta(hours=1)
_FILES_AT_ONCE = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    erased: int
    """Recordings of which nothing is left."""
    failed: int
    """Recordings that are erased, but of which something could not be removed yet."""


@dataclass(frozen=True, slots=True)
class _Failing:
    """A recording whose file could not be removed."""

    retry_at: datetime
    wait: timedelta


class Sweeper:
    """Sweeps now and then, for as long as the server runs."""

    def __init__(self, catalog: Catalog, storage: LocalStorage, eraser: Eraser, *, batch: int = 200) -> None:
        """Read ``batch`` recordings at once."""
        self._catalog = catalog
        self._storage = storage
        self._eraser = eraser
        self._batch = batch
        self._failing: dict[str, _Failing] = {}
        """By recording; its failure is in the log already."""
        self._walk_at: datetime | None = None
        self.sweeping = asyncio.Lock()
        """Held while a sweep goes on, and while rows are moved for a jump of the clock."""

    @property
    def failing(self) -> int:
        """How many erased recordings have something left that could not be removed."""
        return len(self._failing)

    def clock_jumped(self, by: timedelta) -> None:
        """Move what waits for a moment: the wall clock was put forth, or back."""
        self._failing = {each: replace(known, retry_at=known.retry_at + by) for each, known in self._failing.items()}
        self._walk_at = None if self._walk_at is None else self._walk_at + by

    async def run(self, *, interval_s: float, now: Callable[[], datetime]) -> None:
        """Sweep at once and then every ``interval_s`` seconds, until cancelled; ``now`` gives the server's time."""
        while True:
            try:
                async with self.sweeping:  # a sweep goes by one time, and rows that are moved by another
                    await self.sweep(now())
            except DependencyError as error:
                log.warning("retention_sweep_failed", error=str(error))
            await asyncio.sleep(interval_s)

    async def sweep(self, now: datetime) -> Swept:
        """Erase everything that is due at ``now``; raise DependencyError if the catalog fails."""
        is_something_erased = await self._erase_due(now)
        is_walk_due = self._walk_at is None or now >= self._walk_at
        if is_walk_due:
            await self._find_returned()
            self._walk_at = now + WALK_EVERY
        swept = await self._remove(now)
        if is_something_erased or swept.erased:
            await self._eraser.end(now)
        elif is_walk_due:
            await self._eraser.remove_set_aside(now)
        await self._catalog.idempotency.forget_before(now - IDEMPOTENCY_TTL)
        await self._catalog.operations.forget_before(now - IDEMPOTENCY_TTL)
        return swept

    async def _erase_due(self, now: datetime) -> bool:
        is_something_erased = False
        last: Recording | None = None
        while due := await self._catalog.recordings.due(now, self._batch, last):
            if await self._eraser.begin(due, Status.EXPIRED, by="retention", now=now):
                is_something_erased = True
            last = due[-1]
        return is_something_erased

    async def _remove(self, now: datetime) -> Swept:
        removed = 0
        left: dict[str, _Failing] = {}
        refusing: set[str] = set()
        """Stores that have failed in this sweep: they keep nobody waiting a second time."""
        after_id = ""
        while page := await self._catalog.erasures.unfinished(self._batch, after_id):
            after_id = page[-1].id
            for erased in page:
                failing = self._failing.get(erased.id)
                if failing is not None and now < failing.retry_at:
                    left[erased.id] = failing
                elif await self._removed(erased, refusing):
                    removed += 1
                else:
                    wait = FIRST_RETRY if failing is None else min(failing.wait * 2, LAST_RETRY)
                    left[erased.id] = _Failing(now + wait, wait)
        self._failing = left
        return Swept(erased=removed, failed=len(left))

    async def _removed(self, erased: Erasing, refusing: set[str]) -> bool:
        try:
            await self._eraser.remove(erased, refusing=refusing)
        except DependencyError as error:
            if erased.id not in self._failing:
                log.error("erased_recording_remove_failed", recording_id=erased.id, error=str(error))
            return False
        return True

    async def _find_returned(self) -> None:
        """Mark erased recordings of which there are files again, to be removed with the others."""
        walk = self._storage.walk_everything()
        while keys := await asyncio.to_thread(lambda: set(itertools.islice(walk, _FILES_AT_ONCE))):
            again = await self._catalog.erasures.again({key: ids_in(key) for key in keys if is_of_recording(key)})
            if again:
                log.warning("erased_files_returned", recordings=again)
