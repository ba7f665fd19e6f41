"""Jumps of the wall clock, noticed and corrected for: an NTP server is reached, a machine was paused, someone sets it.

1. The clock is looked at four times a second, and before each sweep: no sweep goes by a clock that was moved and not
   corrected for. While the catalog cannot be corrected, nothing is swept.
2. What was made by it since the machine was started is moved by as much: rows (``catalog/clock_corrections.py``),
   recordings whose row is still to be written, and moments in memory. What was set aside of journals is kept from now
   on.
3. Not moved is what somebody else has in hands: signed links and stream tokens. They end when they say, by the new
   time.

The journal's clock takes no part in it (``clock.py``).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog

from wavstream.catalog.clock_corrections import ClockCorrections, ClockJump
from wavstream.clock import Clocks
from wavstream.errors import DependencyError
from wavstream.journal.set_aside import SetAside
from wavstream.recorder.recorder import Recorder
from wavstream.retention.sweeper import Sweeper
from wavstream.webhooks.dispatcher import Dispatcher

LOOK_S = 0.25

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Owed:
    """A jump for which the catalog is not corrected yet."""

    jump: ClockJump
    but: tuple[str, ...]


class ClockWatch:
    """Watches one server's wall clock. Lives on the event loop."""

    def __init__(
        self,
        clocks: Clocks,
        *,
        corrections: ClockCorrections,
        recorder: Recorder,
        sweeper: Sweeper,
        dispatcher: Dispatcher,
        set_aside: SetAside,
    ) -> None:
        self.jumps = 0
        """How often the clock was moved since the start."""
        self._clocks = clocks
        self._corrections = corrections
        self._recorder = recorder
        self._sweeper = sweeper
        self._dispatcher = dispatcher
        self._set_aside = set_aside
        self._owed: list[_Owed] = []
        self._correcting = asyncio.Lock()

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        said = False
        while True:
            try:
                await self.now()
                said = False
            except DependencyError as error:
                if not said:
                    log.warning("clock_jump_not_corrected", error=str(error))
                said = True
            await asyncio.sleep(LOOK_S)

    async def now(self) -> datetime:
        """Return the time of the wall clock, with the catalog corrected for every jump before it (rule 1).

        Raise DependencyError if the catalog fails.
        """
        self._look()
        async with self._correcting:
            while self._owed:
                owed = self._owed[0]
                moved = await self._corrections.move(owed.jump, but=owed.but)
                self._owed.pop(0)
                log.info("clock_jump_corrected", recordings=moved + len(owed.but))
                await asyncio.to_thread(self._set_aside.keep_from_now)
                self._dispatcher.look_again()
        now = self._clocks.wall()
        return now if not self._look() else await self.now()

    def _look(self) -> bool:
        """Note a jump and move what is in memory; return whether there was one."""
        since = self._clocks.wall_since
        by = self._clocks.look()
        if not by:
            return False
        self.jumps += 1
        now = self._clocks.wall()
        log.warning("clock_jumped", by_s=round(by.total_seconds(), 3), now=f"{now:%Y-%m-%d %H:%M:%S} UTC")
        jump = ClockJump(
            by=by,
            since=since,
            until=now - by,
            journal_since_us=self._clocks.journal_since_us,
            journal_until_us=self._clocks.journal_now_us(),
        )
        self._owed.append(_Owed(jump, tuple(self._recorder.clock_jumped(by))))
        self._sweeper.clock_jumped(by)
        self._dispatcher.clock_jumped(by)
        return True
