"""Deletes what retention says must go: first the file, then the row says so.

After a crash between the two the row is still due, and the next sweep finds the file gone. A file that cannot be
deleted stops no other: it is logged once and tried again in every round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from wavstream.errors import DependencyError
from wavstream.model.recording import Recording, Status

IDEMPOTENCY_KEPT = timedelta(hours=24)
"""How long an idempotency key stands for its first request."""
BATCH = 200

log = structlog.get_logger()


class Rows(Protocol):
    """The catalog, as the sweeper needs it."""

    async def due(self, now: datetime, limit: int, after: Recording | None = None) -> list[Recording]:
        """Available recordings, held by nobody, whose retention has ended, in a fixed order."""

    async def save_recording(self, recording: Recording) -> bool:
        """Write the row, unless it is further in its life."""

    async def forget_before(self, before: datetime) -> int:
        """Free idempotency keys first used before that time."""


class Claims(Protocol):
    """The register of holds, as the sweeper needs it."""

    async def claim_for_erasing(self, recording_ids: Sequence[str], now: datetime) -> set[str]:
        """Those that nobody holds; from now on nobody can."""


class Files(Protocol):
    """The storage, as the sweeper needs it."""

    def delete(self, object_key: str) -> bool:
        """Delete a file and its sidecar; blocking; raises DependencyError."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    expired: int
    """Recordings deleted."""
    failed: int
    """Recordings that are due but could not be deleted."""


class Sweeper:
    """Sweeps now and then, for as long as the server runs."""

    def __init__(self, catalog: Rows, holds: Claims, storage: Files, *, batch: int = BATCH) -> None:
        """``batch``: rows that are read at once."""
        self._catalog = catalog
        self._holds = holds
        self._storage = storage
        self._batch = batch
        self._failing: set[str] = set()

    async def run(self, *, interval_s: float, now: Callable[[], datetime]) -> None:
        """Sweep at once and then every ``interval_s`` seconds, until cancelled; ``now`` gives aware UTC."""
        while True:
            try:
                await self.sweep(now())
            except DependencyError as error:
                log.warning("the sweep for expired recordings failed, it is tried again", error=str(error))
            await asyncio.sleep(interval_s)

    async def sweep(self, now: datetime) -> Swept:
        """Delete everything that is due at ``now``; raises DependencyError if the catalog fails."""
        expired = 0
        failing: set[str] = set()
        last: Recording | None = None
        while batch := await self._catalog.due(now, self._batch, last):
            claimed = await self._holds.claim_for_erasing([recording.id for recording in batch], now)
            for recording in batch:
                if recording.id not in claimed:  # held since it was read
                    continue
                if await self._expire(recording):
                    expired += 1
                else:
                    failing.add(recording.id)
            last = batch[-1]
        self._failing = failing
        await self._catalog.forget_before(now - IDEMPOTENCY_KEPT)
        return Swept(expired=expired, failed=len(failing))

    async def _expire(self, recording: Recording) -> bool:
        try:
            await asyncio.to_thread(self._storage.delete, recording.object_key)
        except DependencyError as error:
            if recording.id not in self._failing:
                log.error(
                    "an expired recording could not be deleted, it is tried again in every sweep",
                    recording=recording.id,
                    error=str(error),
                )
            return False
        await self._catalog.save_recording(replace(recording, status=Status.EXPIRED))
        return True
