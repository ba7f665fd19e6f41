"""Deletes what retention says must go: first the file, then the row says so.

After a crash between the two the row is still due, and the next sweep finds the file gone. A file that cannot be
deleted stops no other: it is logged once and tried again in every round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError
from wavstream.model.recording import Recording, Status
from wavstream.storage.local import LocalStorage

IDEMPOTENCY_TTL = timedelta(hours=24)
"""How long an idempotency key, or a command_uid, stands for its first request."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    expired: int
    """Recordings deleted."""
    failed: int
    """Recordings that are due but could not be deleted."""


class Sweeper:
    """Sweeps now and then, for as long as the server runs."""

    def __init__(self, catalog: Catalog, storage: LocalStorage, *, batch: int = 200) -> None:
        """Read and claim ``batch`` recordings at once."""
        self._catalog = catalog
        self._storage = storage
        self._batch = batch
        self._failing: set[str] = set()
        """Recordings whose failure is in the log already."""

    async def run(self, *, interval_s: float, now: Callable[[], datetime]) -> None:
        """Sweep at once and then every ``interval_s`` seconds, until cancelled; ``now`` gives aware UTC."""
        while True:
            try:
                await self.sweep(now())
            except DependencyError as error:
                log.warning("retention_sweep_failed", error=str(error))
            await asyncio.sleep(interval_s)

    async def sweep(self, now: datetime) -> Swept:
        """Delete everything that is due at ``now``; raise DependencyError if the catalog fails."""
        expired = 0
        failing: set[str] = set()
        last: Recording | None = None
        while due := await self._catalog.recordings.due(now, self._batch, last):
            claimed = await self._catalog.holds.claim_for_erasing([recording.id for recording in due], now)
            for recording in due:
                if recording.id not in claimed:  # held since it was read
                    continue
                if await self._expire(recording, now):
                    expired += 1
                else:
                    failing.add(recording.id)
            last = due[-1]
        self._failing = failing
        await self._catalog.idempotency.forget_before(now - IDEMPOTENCY_TTL)
        await self._catalog.operations.forget_before(now - IDEMPOTENCY_TTL)
        return Swept(expired=expired, failed=len(failing))

    async def _expire(self, recording: Recording, now: datetime) -> bool:
        try:
            await asyncio.to_thread(self._storage.delete, recording.object_key)
        except DependencyError as error:
            if recording.id not in self._failing:
                log.error("expired_recording_delete_failed", recording_id=recording.id, error=str(error))
            return False
        await self._catalog.recordings.save(recording.became(Status.EXPIRED, now))
        return True
