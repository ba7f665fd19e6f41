"""The clock of the core: the one place where it is read."""

from __future__ import annotations

import time


class UnixClock:
    """Unix time that never goes back: the wall clock is read once, then the monotonic one counts."""

    def __init__(self, unix_us: int | None = None) -> None:
        """Start at ``unix_us``; None: where the wall clock is."""
        now_ns = time.time_ns() if unix_us is None else unix_us * 1000
        self._offset_ns = now_ns - time.monotonic_ns()

    def not_before(self, unix_us: int) -> None:
        """Go on from there if it is later: a journal of before a restart was written by a clock that was ahead."""
        self._offset_ns += max(0, unix_us - self.now_us()) * 1000

    def now_us(self) -> int:
        """Microseconds of Unix time."""
        return (time.monotonic_ns() + self._offset_ns) // 1000
