"""Who reads a recording's file at this moment, so that reading ends when the recording is erased."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class OpenFiles:
    """The readings under way, by recording. Lives on the event loop."""

    def __init__(self) -> None:
        self._readings: dict[str, set[asyncio.Timeout]] = {}

    @asynccontextmanager
    async def reading(self, recording_id: str) -> AsyncIterator[None]:
        """Mark the body as a reading of the file: it is broken off, and nothing is raised, when the file is erased."""
        scope = asyncio.timeout(None)
        readings = self._readings.setdefault(recording_id, set())
        readings.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            readings.discard(scope)
            if not readings and self._readings.get(recording_id) is readings:
                del self._readings[recording_id]

    async def end(self, recording_id: str) -> None:
        """Break off all readings of the recording."""
        now = asyncio.get_running_loop().time()
        for scope in self._readings.get(recording_id, ()):
            scope.reschedule(now)
