"""The clocks of the server, and the rule between them.

There are two. The *journal's clock* (``UnixClock``) stamps audio, journals and sessions, and what is shown of a call:
``created_at``, ``started_at``, ``ended_at``. It never jumps. The *wall clock* is what the machine says that it is, and
is put right, or wrong, while the server runs.

1. What is kept until a moment, is due at one, or ends at one (retention, webhooks, links, keys, tokens, idempotency)
   goes by the wall clock. A wait within a session goes by the journal's clock, one within this process by the
   monotonic clock.
2. An instant is compared with its own clock alone. Where retention begins at a moment that the journal's clock has
   stamped, ``Clocks.on_wall`` says when that was by the wall clock.
3. A jump of the wall clock is a difference to the time that the machine has been up, sleep included: ``Jumps``.
   Moments that were made by it since the machine was started are moved by as much (``service/clock_watch.py``), before
   any sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from wavstream.model.times import unix_us, utc

AGREE_US = 1_000_000
"""Clocks that differ by less agree: a stop that takes a while to be counted moves nothing."""
_READ_AT_ONCE_US = 50_000
_READS = 10


class UnixClock:
    """Unix time that never goes back: the wall clock is read once, and the monotonic clock counts from there."""

    def __init__(self, unix_us: int | None = None) -> None:
        """Start at ``unix_us``; None: at the time of the wall clock."""
        now_ns = time.time_ns() if unix_us is None else unix_us * 1000
        self._offset_ns = now_ns - time.monotonic_ns()

    def not_before(self, unix_us: int) -> None:
        """Go on from ``unix_us`` if that is later: the clock that wrote an earlier journal may have been ahead."""
        self._offset_ns += max(0, unix_us - self.now_us()) * 1000

    def now_us(self) -> int:
        """Return the Unix time in microseconds."""
        return (time.monotonic_ns() + self._offset_ns) // 1000


def uptime_us() -> int:
    """Return for how long the machine has been up, in microseconds; where the system tells it, with its sleep."""
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(which) // 1000


class Jumps:
    """Tells by how much a wall clock was moved, from what it and a steady clock say. Reads no clock."""

    def __init__(self, *, wall_us: int, steady_us: int) -> None:
        self._ahead_us = wall_us - steady_us

    def look(self, *, wall_us: int, steady_us: int) -> int:
        """Return the microseconds by which the wall clock was put forth (or back: less than 0) since the last look."""
        moved_us = wall_us - steady_us - self._ahead_us
        if abs(moved_us) < AGREE_US:
            return 0
        self._ahead_us += moved_us
        return moved_us


class Clocks:
    """Both clocks of one run of the server."""

    def __init__(
        self, journal: UnixClock, wall: Callable[[], datetime], *, steady_us: Callable[[], int] | None = None
    ) -> None:
        """Look for jumps of ``wall`` beside ``steady_us``; None: whatever ``wall`` says, so much time has passed."""
        self._journal = journal
        self.wall = wall
        self._run_since_us = journal.now_us()
        self._steady_us = steady_us
        up_us = 0 if steady_us is None else steady_us()
        self._jumps = None if steady_us is None else Jumps(wall_us=unix_us(wall()), steady_us=up_us)
        # Earlier runs since the machine was started went by the same clock, set as it was when this one began.
        self.journal_since_us = self._run_since_us - up_us
        """When the machine was started, by the journal's clock."""
        self.wall_since = wall() - timedelta(microseconds=up_us)
        """When the machine was started, as the wall clock is set now."""

    def journal_now_us(self) -> int:
        """Return the Unix time of the journal's clock in microseconds."""
        return self._journal.now_us()

    def on_wall(self, stamped: datetime) -> datetime:
        """Return when it was by the wall clock what the journal's clock has stamped (rule 2).

        What an earlier run has stamped is now: nobody knows how its clock was set, nor could what it left be fetched.
        """
        if unix_us(stamped) < self._run_since_us:
            return self.wall()
        ahead = self.wall() - utc(self.journal_now_us())
        return stamped if abs(ahead) < timedelta(microseconds=AGREE_US) else stamped + ahead

    def look(self) -> timedelta:
        """Return by how much the wall clock was put forth, or back, since the last look."""
        if self._jumps is None or self._steady_us is None:
            return timedelta(0)
        for _ in range(_READS):
            before_us, wall_us, steady_us = self._steady_us(), unix_us(self.wall()), self._steady_us()
            if steady_us - before_us < _READ_AT_ONCE_US:  # else the process stood still between the two
                moved = timedelta(microseconds=self._jumps.look(wall_us=wall_us, steady_us=steady_us))
                self.wall_since += moved
                return moved
        return timedelta(0)
