"""Log lines about peers, summed up: whoever is refused a million times writes a few lines.

Of each kind the first ten lines in a minute are written as they are. The rest is counted, and at the end of the minute
one line says how many there were. A kind has its name from us, never from a peer, so that kinds are few.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

LINES = 10
"""As many streams of one call, wrongly set up in the same way, are each told of."""
PERIOD_S = 60.0

log = structlog.get_logger(__name__)


class RefusalLog:
    """Says which lines are written, and writes what became of the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._ends = 0.0
        """When the period ends; it begins with a line."""

    def tells(self, kind: str) -> bool:
        """Count a line of this kind, and return whether it is to be written."""
        self.end_period()
        if not self._counts:
            self._ends = self._clock() + PERIOD_S
        self._counts[kind] += 1
        return self._counts[kind] <= LINES

    def end_period(self) -> None:
        """Write how many lines were not written, if the period is over; to be called now and then."""
        if not self._counts or self._clock() < self._ends:
            return
        for kind, count in self._counts.items():
            if count > LINES:
                log.warning("refusals_summed_up", kind=kind, count=count - LINES, period_s=PERIOD_S)
        self._counts.clear()
