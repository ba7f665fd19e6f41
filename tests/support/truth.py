"""When things happened in a call that was played to a server in this process, and how exactly that can be told.

The call is real: a leg joins when its handshake is done, and sends when the machine lets it. So both are measured while
it is played, where a leg joins by the server's own opening of its stream.

How far a sample may be from the truth grows with the longest time that the process stood still, up to a bound. A
machine that stood still for longer cannot tell a right recording from a wrong one: `MachineTooSlow`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from wavstream.dialects.events import StreamStarted
from wavstream.service.service import Service

EXACT_S = 0.02
"""How far from the truth a sample may be on a machine that never stands still."""
MOST_S = 0.15
"""How far from the truth a sample may be at the most."""
PLAYS = 3
"""How often a call is played before the machine is said to be too slow."""
_TICK_S = 0.005

T = TypeVar("T")

real_time = pytest.mark.xdist_group("real time")
"""Marks a test that plays a call in real time: no two of them run beside each other."""


class MachineTooSlow(Exception):
    """The machine stood still for too long while a call was played: nothing can be told of its recording."""

    def __init__(self, still_s: float) -> None:
        super().__init__(f"the machine stood still for {still_s:.3f} s: too slow to tell")


@dataclass(slots=True)
class Truth:
    """In seconds of a file that starts with the first leg."""

    joined_s: dict[str, list[float]] = field(default_factory=dict)
    """By leg, of each time it came; from the start of the schedule."""
    still_s: float = 0.0
    """The longest that this process, caller and server in one, stood still."""

    @property
    def within_s(self) -> float:
        """How far from the truth a sample may be here: what is sent late may be read late again."""
        self.check()
        return EXACT_S + 2 * self.still_s

    def check(self) -> None:
        """Raise MachineTooSlow if that would be more than `MOST_S`."""
        if EXACT_S + 2 * self.still_s > MOST_S:
            raise MachineTooSlow(self.still_s)

    def said(self, leg: str, *moments_s: float) -> list[float]:
        """Return where a leg that sends all of its audio from its joining on says what is at these places of it."""
        return [self.scheduled(self.joined_s[leg][0] + moment_s) for moment_s in moments_s]

    def scheduled(self, moment_s: float) -> float:
        """Return where a moment of the schedule is."""
        return moment_s - min(joined_s[0] for joined_s in self.joined_s.values())

    def gaps(self, recording: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the gaps of the recording, without stalls that may be this process's own."""
        return [
            gap
            for gap in recording["integrity"]["gaps"]
            if gap["cause"] != "stall" or gap["length_ms"] > 1000 * self.within_s
        ]


@asynccontextmanager
async def witnessed(service: Service) -> AsyncIterator[Truth]:
    """Yield the truth about what is played meanwhile; the schedule starts now."""
    truth = Truth()
    loop = asyncio.get_running_loop()
    opened = service.sessions.open_stream
    # Nobody looks for garbage meanwhile: that could take 0.1 s and more. What was imported stays out of it for good
    # (tests/conftest.py), so nothing is frozen here, since whoever lets that go lets go of all.
    gc.collect()
    gc.disable()
    start_us, seen_s = service.clock.now_us(), loop.time()

    def open_stream(started: StreamStarted, *, now_us: int, **more: Any) -> Any:
        truth.joined_s.setdefault(started.leg or "", []).append((now_us - start_us) / 1e6)
        return opened(started, now_us=now_us, **more)

    def look() -> None:
        nonlocal seen_s
        before_s, seen_s = seen_s, loop.time()
        truth.still_s = max(truth.still_s, seen_s - before_s - _TICK_S)

    async def watch() -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            look()

    watching = asyncio.create_task(watch())
    try:
        with patch.object(service.sessions, "open_stream", open_stream):
            yield truth
    finally:
        look()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        gc.enable()


async def again_if_too_slow(play: Callable[[str], Awaitable[T]]) -> T:
    """Play a call in a session of its own, and again if the machine was too slow to tell anything of it."""
    for number in range(1, PLAYS):
        try:
            return await play(f"call-77-{number}")
        except MachineTooSlow:
            continue
    return await play(f"call-77-{PLAYS}")
