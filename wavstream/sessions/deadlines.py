"""When a session's records, folds and windows are due, and for how long it waits for what may come.

No clock is read here: ``now_us`` is a parameter. A session that nobody streams is kept by two deadlines that do not
know of each other:

1. An announced session is there for whoever records it, for hours: a call may be recorded from its fifth minute on, or
   once more, and nobody says when it has ended.
2. A start waits for the stream that it needs, for a minute, since somebody waits for its file.

The first stream ends both: from then on the streams say how long there is a call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

VISIT_US = 154_300
"""From one visit of a session to its next.

No round number: what a visit reads has its moment (``media.low_water``), and the smallest delays tell the sender's
clock (``rendering.timeline.drift``). Of frames of 20 ms and visits every 150 ms one comes right before every second
visit, or none ever does, for as long as it goes on so: a late timer then is a delay that stays, of 10 ms. With this, of
frames of 10, 20, 30, 40 or 60 ms one comes within a sixth of its length before one of ten visits, wherever both begin.
"""
VISITS_PER_CLOCK = 3
CLOCK_EVERY_US = VISITS_PER_CLOCK * VISIT_US
"""Between clock records, so that they come at most 500 ms apart unless the loop is late."""
VISITS_PER_CALM_CLOCK = 2 * VISITS_PER_CLOCK
CALM_CLOCK_EVERY_US = VISITS_PER_CALM_CLOCK * VISIT_US
"""The same while nobody waits for what the fold finds out: each of its moments costs the same whatever it brings. Not
more rarely: what is inspected now and then (``rendering.inspection``) counts on about one a second."""
VISIT_SLACK_US = VISIT_US // 2
"""Half a visit: a clock record is written by the visit that is nearest to its moment."""
CLOCKS_PER_FOLD = 4
"""A fold about every two seconds: reading, appending and changing threads then weigh little beside folding."""
CLOCKS_BEFORE_FOLD = 7
"""Until the first one. A track is placed when 2 s of it are known: to read it before would only keep it in memory."""
FLOOR_WINDOW_US = 10_000_000
STATE_EVERY_US = 60_000_000
"""What a damaged part of a journal can cost that is larger than a batch; the state of a session is about 2 kB."""


LOOK_WAIT_US = 2_000_000
"""For its turn to look which ids streamed in place of the one that did not come (``no_stream``)."""


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
    """Counts a session's time: clock records, folds, and windows of its streams' floors."""

    def __init__(self, now_us: int, turn: int = 0) -> None:
        """Count from ``now_us``; calls that begin together with different values of ``turn`` do not fold together."""
        self._early_us = turn % VISITS_PER_CLOCK * VISIT_US
        self._calm_early_us = turn // VISITS_PER_CLOCK * CLOCK_EVERY_US % CALM_CLOCK_EVERY_US
        self._next_early_us = 0
        """By how much the next clock record of calm time comes early."""
        self._clock_us = now_us
        self._clocks = 0
        self._hurried_visits = 0
        self._window_us = now_us
        self._state_us = now_us
        self._state_segment = 0

    def restart(self, now_us: int) -> None:
        """Count from here: a recording starts where none ran."""
        self._clock_us = now_us - self._early_us
        self._clocks = CLOCKS_PER_FOLD - CLOCKS_BEFORE_FOLD
        self._next_early_us = self._calm_early_us

    def clock_is_due(self, now_us: int, *, is_calm: bool = False) -> bool:
        """Return whether a clock record is to be written now; True once for each.

        ``is_calm``: nobody waits for what the fold finds out.
        """
        every_us = CALM_CLOCK_EVERY_US - self._next_early_us if is_calm else CLOCK_EVERY_US
        if now_us - self._clock_us < every_us - VISIT_SLACK_US:
            return False
        if self.fold_is_due:
            self._clocks = 0
        self._clock_us = now_us
        self._clocks += VISITS_PER_CALM_CLOCK // VISITS_PER_CLOCK if is_calm else 1
        if is_calm:
            self._next_early_us = 0
        return True

    def has_said_state(self, segment: int) -> bool:
        """Return whether the session's state was said in this segment."""
        return segment == self._state_segment

    def state_is_due(self, now_us: int, segment: int) -> bool:
        """Return whether the session's state is to be said again, in this segment; True once for each time."""
        if segment == self._state_segment and now_us - self._state_us < STATE_EVERY_US:
            return False
        self._state_us, self._state_segment = now_us, segment
        return True

    @property
    def fold_is_due(self) -> bool:
        """Whether the clock record just written makes enough for a fold of what the visits before have written."""
        return self._clocks >= CLOCKS_PER_FOLD

    def hurry(self) -> None:
        """Fold at the next visit, and at the one that finds it written: what was noted may end a recording."""
        self._hurried_visits = 2

    def hurries(self) -> bool:
        """Return whether this visit is one of those; True once for each."""
        if not self._hurried_visits:
            return False
        self._hurried_visits -= 1
        return True

    def window_is_over(self, now_us: int) -> bool:
        """Return whether streams are to forget an old floor; True once for each window."""
        if now_us - self._window_us < FLOOR_WINDOW_US:
            return False
        self._window_us = now_us
        return True


class Expectation(NamedTuple):
    """When a stream that is needed is given up, before somebody asked for one and after; None: none is needed."""

    before_us: int | None
    until_us: int | None


class SessionDeadlines:
    """What one session waits for, and until when."""

    def __init__(self, timing: Timing) -> None:
        self.announced_until_us: int | None = None
        """None: it is not announced, or not any more."""
        self.stream_by_us: int | None = None
        """When the stream that a start needs is given up; None: none is needed."""
        self._look_by_us: int | None = None
        """Until when a wait that ran out goes on, to be told with what streamed in its place."""
        self.was_announced = False
        """Ever, also while it streamed."""
        self._timing = timing

    def announce(self, now_us: int) -> None:
        """Keep the session for its call (rule 1)."""
        self.was_announced = True
        self.announced_until_us = now_us + self._timing.announced_wait_us

    @property
    def expectation(self) -> Expectation:
        """What is expected, and goes on to be."""
        return Expectation(self.stream_by_us, self.stream_by_us)

    def expect_stream(self, now_us: int) -> Expectation:
        """Wait for the stream that a start needs (rule 2); return what ``take_back`` wants."""
        before_us, self.stream_by_us = self.stream_by_us, now_us + self._timing.start_wait_us
        return Expectation(before_us, self.stream_by_us)

    def take_back(self, expectation: Expectation) -> None:
        """Expect what was expected before, unless somebody else has asked for a stream since."""
        if self.stream_by_us == expectation.until_us:
            self.stream_by_us = expectation.before_us

    def put_off(self, by_us: int) -> None:
        """Wait so much longer."""
        if self.stream_by_us is not None:
            self.stream_by_us += by_us
        if self.announced_until_us is not None:
            self.announced_until_us += by_us

    def end(self) -> None:
        """End both waits: a stream is there."""
        self.announced_until_us = self.stream_by_us = self._look_by_us = None

    def wait_for_look(self, now_us: int) -> bool:
        """Wait a little longer for a stream, until the next tick; return whether that was not done for too long."""
        if self._look_by_us is None:
            self._look_by_us = now_us + LOOK_WAIT_US
        if now_us >= self._look_by_us:
            return False
        self.stream_by_us = now_us
        return True

    def run_out(self, now_us: int) -> bool:
        """Forget what has been waited for long enough; return whether that was a stream."""
        if self.announced_until_us is not None and now_us >= self.announced_until_us:
            self.announced_until_us = None
        if self.stream_by_us is None or now_us < self.stream_by_us:
            return False
        self.stream_by_us = None
        return True
