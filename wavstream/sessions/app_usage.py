"""What apps have on the disk, and how many apps there are: looked at every few seconds, never for a request.

What is in storage is a sum that the catalog keeps up to date with its rows. What runs is summed up here: of each
recording the file in the spool, and of each journal what was written since the oldest recording began that needs it.
The copy of a file in the other format is not counted, nor is what a journal had before a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError
from wavstream.model.app import DEFAULT_APP
from wavstream.recorder.recorder import Recorder
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.quotas import Quota, Quotas
from wavstream.workers.shared_counts import SharedCounts

LOOK_S = 5.0
_UNIT = 65_536
"""Other workers are told of bytes in so many."""
_SUM_SHARE = 0.01
"""Of the time goes into summing up what all workers have stored: with a million rows it is a minute or two behind."""

log = structlog.get_logger(__name__)


class AppUsage:
    """Keeps the quotas informed."""

    def __init__(
        self,
        quotas: Quotas,
        *,
        catalog: Catalog,
        recorder: Recorder,
        reserve: DiskReserve,
        shared: SharedCounts | None = None,
    ) -> None:
        """``shared`` has what other workers are making; None: there are none."""
        self._shared = None if shared is None else shared.of("running_bytes")
        self._told: set[str] = set()
        self._sum_due_s = 0.0
        self._quotas = quotas
        self._catalog = catalog
        self._recorder = recorder
        self._reserve = reserve
        self._is_failing = False

    async def look(self) -> None:
        """Bring the quotas up to date; raises DependencyError."""
        apps = {DEFAULT_APP, *(app.id for app in await self._catalog.apps.list())} if self._shared is not None else ()
        await self._sum_stored_by_all()
        self._quotas.apps = await self._catalog.apps.count()
        stored = await self._catalog.recordings.stored_bytes()
        disk = Counter(stored) + self.running() + self._running_elsewhere(apps)
        self._quotas.disk = disk
        free_bytes = self._reserve.free_bytes
        if free_bytes is not None:
            self._quotas.server[Quota.DISK_BYTES] = disk.total() + max(0, free_bytes - self._reserve.min_free_bytes)

    async def _sum_stored_by_all(self) -> None:
        """Take in what other workers have stored and erased: what is kept up to date is what this one does."""
        began_s = time.monotonic()
        if self._shared is None or began_s < self._sum_due_s:
            return
        await self._catalog.recordings.sum_stored()
        self._sum_due_s = began_s + (time.monotonic() - began_s) / _SUM_SHARE

    def running(self) -> Counter[str]:
        """Return the bytes of what is being made, by app."""
        spool: Counter[str] = Counter()
        journals: dict[str, tuple[str, int]] = {}
        for recording in self._recorder:
            if recording.job is not None and recording.journal is not None:
                app_id, key = recording.row.app_id, recording.journal.key
                spool[app_id] += recording.job.size_bytes
                _, most = journals.get(key, (app_id, 0))
                journals[key] = app_id, max(most, recording.journaled_bytes)
        for app_id, size_bytes in journals.values():
            spool[app_id] += size_bytes
        return spool

    def _running_elsewhere(self, apps: Iterable[str]) -> Counter[str]:
        """Tell the other workers what is being made here, and return what is there, by app."""
        if self._shared is None:
            return Counter()
        running = self.running()
        for app_id in {*running, *self._told}:
            self._shared.set(app_id, -(-running[app_id] // _UNIT))
        self._told = {*running}
        return Counter({app_id: self._shared.others(app_id) * _UNIT for app_id in apps})

    async def watch(self, *, every_s: float = LOOK_S) -> None:
        """Look again and again, for as long as this runs."""
        while True:
            try:
                await self.look()
                self._is_failing = False
            except DependencyError as error:
                if not self._is_failing:
                    log.warning("app_usage_unknown", error=str(error))
                self._is_failing = True
            await asyncio.sleep(every_s)
