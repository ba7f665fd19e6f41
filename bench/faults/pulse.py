"""How long answers take while faults are injected: one question after the other, for as long as it is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

EVERY_S = 0.05


class Pulse:
    """Asks over and over. ``ask`` returns when it was answered, or when nobody is there who could be late."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        """``ask`` returns whether that was an answer."""
        self._ask = ask
        self._answers: list[tuple[float, float]] = []
        self._asked_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask from now on."""
        self._task = asyncio.create_task(self._beat())

    def end(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def slowness_s(self, from_s: float, to_s: float) -> float:
        """Return the longest that an answer took, of what was asked between two moments of the monotonic clock."""
        took = [answered - asked for asked, answered in self._answers if asked <= to_s and answered >= from_s]
        if self._asked_s is not None and self._asked_s <= to_s:
            took.append(to_s - self._asked_s)
        return max(took, default=0.0)

    async def _beat(self) -> None:
        while True:
            self._asked_s = asked_s = time.monotonic()
            if await self._ask():
                self._answers.append((asked_s, time.monotonic()))
            self._asked_s = None
            await asyncio.sleep(EVERY_S)
