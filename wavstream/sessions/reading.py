"""Time in which we do not read our sockets, by our own fault: what peers say meanwhile waits in the kernel.

There are two kinds of it:

1. The journal's queue is full, and reading is paused.
2. The loop stands still: the process was stopped, or is kept from the processor, or one turn of the loop is very long.
   A tick that is late by a third of a second tells. A turn that reads hundreds of sockets is shorter, and whoever waits
   for a peer waits for seconds.

Such time is not silence of the peers. So nobody who waits for one counts it: the fold is told by the clock records of
the journal, and a session puts off its own deadlines.

3. A command that ends a recording must not overtake what was said before it: it waits until we are ``caught_up``.

A loop that is late, but not as late as that, reads late too:

4. What is read may lie in the kernel since the sockets were looked at before, and that was after the tick before the
   last one. While ticks come on time this is nothing to speak of. While they do not, whatever ends a track is noted
   with the longest of these times lately: no frame follows that would show that the last ones were only delayed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

LATE_US = 333_000
_ON_TIME_US = 45_000
"""Of two ticks: they are 30 ms apart."""
_LATELY_US = 5_000_000
"""And up to twice of that."""
_CATCH_UP_US = 150_000
"""What the kernel has of all sockets is read in one turn of the loop; ten ticks later that has been."""


class ReadingTime:
    """Adds up the time in which nothing was read. Lives on the event loop."""

    def __init__(self) -> None:
        self.unread_us = 0
        """In all, up to the last tick."""
        self.caught_up = asyncio.Event()
        """Set while all that was said has been read, as far as it was up to us."""
        self.caught_up.set()
        self._is_paused = False
        self._was_paused = False
        self._ticked_us = self._ticked_before_us = 0
        """When the last tick was, and the one before it."""
        self._caught_up_us = 0
        self._late_us = self._late_before_us = 0
        """The longest of rule 4 since then, and in the time before."""
        self._lately_us = 0

    @property
    def is_paused(self) -> bool:
        """Whether nothing is to be read now (rule 1)."""
        return self._is_paused

    def pause(self, is_paused: bool) -> None:
        """Note that reading is paused, or goes on."""
        self._is_paused = is_paused
        if is_paused:
            self._was_paused = True
            self.caught_up.clear()

    async def catch_up(self, timeout_s: float) -> bool:
        """Wait until what was said before now has been read, if we are behind; return whether we were."""
        if self.caught_up.is_set():
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.caught_up.wait()
        return True

    def tick(self, now_us: int, *, late_us: int = 0) -> None:
        """Let time pass, about every 15 ms; ``late_us``: by how much the loop has come too late to do it."""
        unread_us = late_us if late_us >= LATE_US else 0  # rule 2
        if self._was_paused:
            unread_us = now_us - self._ticked_us  # rule 1
            self._was_paused = self._is_paused
        if self._ticked_before_us:
            self._late_us = max(self._late_us, now_us - self._ticked_before_us)
        if now_us - self._lately_us >= _LATELY_US:
            self._lately_us, self._late_before_us, self._late_us = now_us, self._late_us, 0
        self._ticked_before_us, self._ticked_us = self._ticked_us, now_us
        if unread_us:
            self.unread_us += unread_us
            self._caught_up_us = now_us + _CATCH_UP_US
            self.caught_up.clear()
        elif now_us >= self._caught_up_us:
            self.caught_up.set()

    def late_us(self, now_us: int) -> int:
        """Return how late, by our own fault, anything may have been read lately; 0: it was read as it came (rule 4).

        It is no more than two turns of the loop that were not unread time, which is told by itself.
        """
        waited_us = now_us - self._ticked_before_us if self._ticked_before_us else 0
        late_us = max(waited_us, self._late_us, self._late_before_us)
        return min(late_us, 2 * LATE_US) if late_us > _ON_TIME_US else 0
