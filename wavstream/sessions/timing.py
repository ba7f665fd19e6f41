"""When a session's records, folds and windows are due, and how long it waits; no clock is read here."""

from __future__ import annotations

from dataclasses import dataclass

VISIT_US = 150_000
VISITS_PER_CLOCK = 3
CLOCK_EVERY_US = VISITS_PER_CLOCK * VISIT_US
"""Between clock records, so that they come at most 500 ms apart unless the loop is late."""
VISIT_SLACK_US = VISIT_US // 2
"""Half a visit: a clock record is written by the visit that is nearest to its moment."""
CLOCKS_PER_FOLD = 4
"""A fold about every two seconds: reading, appending and changing threads then weigh little beside folding."""
CLOCKS_BEFORE_FOLD = 7
"""Until the first one. A track is placed when 2 s of it are known: to read it before would only keep it in memory."""
FLOOR_WINDOW_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a session waits for what may come."""

    reconnect_wait_us: int
    """For a lost stream to come back as the same leg."""
    start_wait_us: int
    """For the first stream of an accepted recording."""
    announced_wait_us: int
    """For the first stream or recording of an announced session."""
    orphan_after_us: int = 0
    """For anything to come from its open streams; 0: for ever."""


class FoldSchedule:
    """Counts a session's time."""

    def __init__(self, now_us: int, turn: int = 0) -> None:
        """``turn``: of calls that begin at once, those with different ones do not all fold at once."""
        self._early_us = turn % VISITS_PER_CLOCK * VISIT_US
        self._clock_us = now_us
        self._clocks = 0
        self._hurried_visits = 0
        self._window_us = now_us

    def restart(self, now_us: int) -> None:
        """A recording starts where none ran: time counts from here."""
        self._clock_us = now_us - self._early_us
        self._clocks = CLOCKS_PER_FOLD - CLOCKS_BEFORE_FOLD

    def clock_is_due(self, now_us: int) -> bool:
        """Whether a clock record is to be written now; True is said once for each."""
        if now_us - self._clock_us < CLOCK_EVERY_US - VISIT_SLACK_US:
            return False
        self._clock_us = now_us
        self._clocks += 1
        return True

    @property
    def fold_is_due(self) -> bool:
        """Whether the clock record just written makes enough for a fold of what the visits before have written."""
        return self._clocks > 0 and self._clocks % CLOCKS_PER_FOLD == 0

    def hurry(self) -> None:
        """What may end a recording was noted: fold at the next visit, and at the one that finds it written."""
        self._hurried_visits = 2

    def hurries(self) -> bool:
        """Whether this visit is one of those; True is said once for each."""
        if not self._hurried_visits:
            return False
        self._hurried_visits -= 1
        return True

    def window_is_over(self, now_us: int) -> bool:
        """Whether streams are to forget an old floor; True is said once for each window."""
        if now_us - self._window_us < FLOOR_WINDOW_US:
            return False
        self._window_us = now_us
        return True
