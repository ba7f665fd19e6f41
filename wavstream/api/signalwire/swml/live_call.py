"""The call that a document is run on: how long it is there, and what is played to it.

1. A wait ends early when the call does, or when the server begins to shut down: it looks every 0.25 s.
2. What is long is played in pieces, the next one while the last is heard, since each is made into messages at once on
   the event loop: 5 s of 8 kHz take 3 ms.
3. Sounds are heard one behind another, those of several runs too. What a recording starts with, the beep, is first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wavstream.conversion.reading import Sound
from wavstream.errors import Forbidden, LimitReached, NotFound
from wavstream.sessions.commands import Commands
from wavstream.sessions.keyed_locks import KeyedLocks
from wavstream.turns.fair_pool import FairPool

LOOK_EVERY_S = 0.25
PIECE_S = 5
"""Seconds of sound."""


class CallEnded(Exception):
    """Nothing more can be done on the call: its text says why."""


@dataclass(frozen=True, slots=True)
class Time:
    """How a run waits; a test has its own."""

    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep


REAL_TIME = Time()


class LiveCall:
    """One call of an app, as a run sees it."""

    def __init__(
        self, commands: Commands, *, app_id: str, call_id: str, turns: KeyedLocks, sounds: FairPool, time: Time
    ) -> None:
        """Begin while the call is there, or before it is; ``turns`` are shared by all runs (rule 3)."""
        self.app_id = app_id
        self.call_id = call_id
        self._commands = commands
        self._turns = turns
        self._sounds = sounds
        self._time = time
        self._was_there = commands.is_known(app_id, call_id)

    def check(self) -> None:
        """Raise CallEnded if the call is over, or the server goes down; one that was never there may still come."""
        is_there = self._commands.is_known(self.app_id, self.call_id)
        if self._was_there and not is_there:
            raise CallEnded("the call has ended")
        self._was_there = is_there
        self.check_server()

    def check_server(self) -> None:
        """Raise CallEnded if the server goes down: it then tells no call's recordings, though the call is there."""
        try:
            self._commands.recordings_of(self.app_id, self.call_id)
        except (NotFound, Forbidden):
            return
        except LimitReached:
            if not self._is_being_recovered():
                raise CallEnded("the server is shutting down") from None

    def _is_being_recovered(self) -> bool:
        """Return whether a restart has the call in its hands, who is told of no recordings either."""
        try:
            self._commands.session(self.app_id, self.call_id)
        except NotFound:
            return False
        except LimitReached:
            return True
        return False

    async def wait(self, length_s: float) -> None:
        """Wait so many seconds; raise CallEnded as soon as the call is over (rule 1)."""
        await self._wait_until(self._time.clock() + length_s)

    async def _wait_until(self, end_s: float) -> None:
        while (left_s := end_s - self._time.clock()) > 0:
            await self._time.pause(min(left_s, LOOK_EVERY_S))
            self.check()

    async def play(self, sound: Sound) -> int:
        """Play a sound and wait as long as it is heard; return how many streams took it.

        Where none takes audio it returns 0, at once, as where a restart has the call in its hands. Raises CallEnded.
        """
        async with self._turns.of(self.app_id, self.call_id):  # rule 3
            try:
                return await self._play(sound)
            except NotFound:
                raise CallEnded("the call has ended") from None
            except LimitReached:
                return 0

    async def _play(self, sound: Sound) -> int:
        rates = self._commands.playable_rates(self.app_id, self.call_id)
        if not rates:
            return 0
        by_rate = await self._sounds.run(self.app_id, lambda: {rate_hz: sound.at(rate_hz).samples for rate_hz in rates})
        start_s = self._time.clock()
        most = 0
        pieces = max(-(-len(samples) // (rate_hz * PIECE_S)) for rate_hz, samples in by_rate.items())
        for piece in range(pieces):  # rule 2
            if piece > 1:
                await self._wait_until(start_s + (piece - 1) * PIECE_S)
            part = {
                rate_hz: samples[piece * PIECE_S * rate_hz : (piece + 1) * PIECE_S * rate_hz]
                for rate_hz, samples in by_rate.items()
            }
            hearing = self._commands.play(app_id=self.app_id, session_id=self.call_id, sound=part, after=True)
            most = max(most, hearing)
        await self._wait_until(start_s + sound.length_s)
        return most
