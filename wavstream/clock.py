"""The clock of the server: the one place where the time of journals and sessions is read."""

from __future__ import annotations

import time


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
