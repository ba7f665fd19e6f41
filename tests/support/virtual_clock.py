"""A clock that stands still until a test moves it. What is due at once rings in the next turn, as in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.support.waiting import WAIT_S

START = datetime(2024, 11, 1, 10, tzinfo=UTC)
"""In the past: what is told then is due for the machine's own clock too."""


@dataclass(slots=True, eq=False)
class Alarm:
    """One timer."""

    at: datetime
    call: Callable[[], None]
    clock: VirtualClock

    def cancel(self) -> None:
        self.clock.alarms.discard(self)


class VirtualClock:
    """Time and timers."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start
        self.alarms: set[Alarm] = set()
        self.most_alarms = 0
        self.alarms_at_once = 0
        """How many were for a moment that had come already."""
        self._armed = asyncio.Event()

    def now(self) -> datetime:
        return self.time

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        alarm = Alarm(self.time + timedelta(seconds=delay_s), call, self)
        self.alarms.add(alarm)
        if alarm.at <= self.time:
            self.alarms_at_once += 1
            asyncio.get_running_loop().call_soon(self._ring, alarm)
        self.most_alarms = max(self.most_alarms, len(self.alarms))
        self._armed.set()
        return alarm.cancel

    def advance(self, seconds: float) -> None:
        """Move on, and ring what is due then, in order."""
        self.time += timedelta(seconds=seconds)
        due = sorted((alarm for alarm in self.alarms if alarm.at <= self.time), key=lambda alarm: alarm.at)
        for alarm in due:
            self._ring(alarm)

    def _ring(self, alarm: Alarm) -> None:
        if alarm in self.alarms:
            self.alarms.remove(alarm)
            alarm.call()

    async def armed(self, delay_s: float) -> None:
        """Return when there is a timer for that many seconds from now."""
        at = self.time + timedelta(seconds=delay_s)
        async with asyncio.timeout(WAIT_S):
            while not any(alarm.at == at for alarm in self.alarms):
                self._armed.clear()
                await self._armed.wait()
