"""Lags, and what they say: is a sender late, or was it silent?

The *lag* of a frame is its arrival less the media time of its end, plus 20 ms: the moment at which position 0 would
have been said if this frame had come without delay. A frame of 20 ms thus starts where it arrived, and a longer one
ends where a frame of 20 ms would end, because legs whose frames have different lengths must stay aligned.

A sender that leaves out silence raises the lag, for good. The network raises it too, but takes back what it has added
(docs/timeline.md). So a frame is placed at media time plus *offset*, and:

1. The offset begins at the *floor* of the first frames: the smallest lag that lasts, be it for a word. Frames that come
   faster than real time pass through lags without resting at one. A backlog ends at the floor; a sender that never
   comes to real time has none, and starts where its first frame arrived.
2. A frame at most 20 ms above the offset is on time, and all before it are then known to have been delayed: nothing
   moves.
3. What is above that waits until the smallest lag of the time of patience that follows it is known. If that is still
   above, it was silence: what follows moves to that lag. It moves where the lag rose in a *step*, of 15 ms at least
   between two frames.
4. A lag that grew without a step (a slow link) moves nothing, unless its audio would come to lie where the file is
   written already.
5. The end of the input proves nothing. The last frames may be a burst that did not get back to real time, or may jump
   up and down: frames whose smallest lag does not last are delayed, and stay where they are.
6. Nor does the end of what we were late to read: where our own delay explains all of the lag, nothing moves.
7. Nor does what is at most 0.2 s late at the end, some of it less than 50 ms, if no silence so short was left out
   before: a busy machine of ours, or theirs, delays that much.
8. Nor does what is no later at the end than we were ourselves, as far as that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import NOMINAL_PTIME_US

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from wavstream.rendering.timeline.frames import Frames

ON_TIME_US = 20_000
"""Silence that a sender leaves out is missed up to this, and the next one makes up for it."""
REORDER_US = 200_000
LATE_US = 100_000
_STEP_US = 15_000
_LEVEL_US = 20_000
_STAYS_US = 150_000
_TAIL_US = 500_000
_LASTS_US = 200_000
_WORD_US = 40_000
_PLATEAU_US = 60_000
_SOONEST_US = 2_000_000
_LAST_US = 1_500_000
_JITTERS_US = 35_000
_NEAR_US = 50_000
_S = 1_000_000


_CATCH_UP_US = 1_000_000
"""What was not read is read within this, once it is."""
_UNREAD_KEPT = 64
"""Stretches of unread time that patience goes back over: half a minute of one at each clock record."""


@dataclass
class Patience:
    """How long what is not known is waited for, in microseconds.

    Time in which we did not read (a full queue, a process that stood still) is not time in which the peer said nothing:
    what it said lies in the kernel. So no wait counts it. ``until`` and ``since`` go over the stretches of it.
    """

    settle_us: int = 5_000_000
    """For the floor of a track's first frames."""
    hold_us: int = 30_000_000
    """The file waits for a leg that is behind, or away."""
    backlog_us: int = 30_000_000
    """What falls by more than this was not late: the same for all, or those who cannot wait would take a backlog for a
    sender that is ahead of real time, and be ahead of the call from then on."""
    trail_us: int = 2_000_000
    """The file stays so far behind even if all legs are on time: one that joins may bring what it said before."""
    early_hold_us: int = 3_000_000
    """The same for what cannot wait so long: listeners, and what ends a recording by itself."""
    is_early: bool = False
    """Whether this is the patience of those: a track that suppresses silence is not waited for."""
    late_us: int = 0
    """How late the last words of a track that ends now may have been read, by our own fault."""
    _unread: list[tuple[int, int]] = field(default_factory=list)
    """When nothing was read, (from, to), in order; the oldest are forgotten."""

    @classmethod
    def of(cls, *, file_s: float, early_s: float) -> Patience:
        """Return that of a file that waits ``file_s``, and of others who wait ``early_s``."""
        hold_us, early_us = int(file_s * _S), int(early_s * _S)
        return cls(settle_us=min(cls.settle_us, hold_us), hold_us=hold_us, backlog_us=hold_us, early_hold_us=early_us)

    @property
    def decide_us(self) -> int:
        """How long after a frame it is decided where it lies: soon enough for the file, which waits a little longer."""
        return self.hold_us - min(2_000_000, self.hold_us // 3)

    def was_unread(self, from_us: int, to_us: int) -> None:
        """Count nothing of this stretch, which is later than those before, as time that was waited."""
        if self._unread and self._unread[-1][1] >= from_us:
            from_us = self._unread.pop()[0]
        self._unread.append((from_us, to_us))
        del self._unread[:-_UNREAD_KEPT]

    def until(self, from_us: int, wait_us: int) -> int:
        """Return when so much has been waited since ``from_us``, by what is known of unread time by now."""
        end_us = from_us + wait_us
        for begin_us, over_us in self._unread:
            if over_us > from_us and begin_us < end_us:
                end_us += over_us - max(begin_us, from_us)
        return end_us

    def unread_until(self, arrival_us: int) -> tuple[int, int] | None:
        """Return the stretch of unread time that what came then may have lain in; None: it came when it was read."""
        for begin_us, over_us in reversed(self._unread):
            if begin_us <= arrival_us <= over_us + _CATCH_UP_US:
                return begin_us, over_us
        return None

    def since(self, now_us: int, wait_us: int) -> int:
        """Return the moment since which so much has been waited by ``now_us``."""
        start_us = now_us - wait_us
        for begin_us, over_us in reversed(self._unread):
            if over_us <= start_us:
                break
            start_us -= over_us - begin_us
        return start_us

    def shorten(self) -> None:
        """Become the patience of those who cannot wait."""
        self.hold_us = min(self.hold_us, self.early_hold_us)
        self.settle_us = min(EARLY_SETTLE_US, self.hold_us)
        self.trail_us = 0
        self.is_early = True


EARLY_SETTLE_US = 2_000_000
_LEAD_US = 2_000_000


def samples_at(time_us: int, rate_hz: int) -> int:
    """Return the sample nearest to a time, both counted from one moment."""
    return (time_us * rate_hz + _S // 2) // _S


def us_of(samples: int, rate_hz: int) -> int:
    """Return how long so many samples take in microseconds, rounded down."""
    return samples * _S // rate_hz


def watermark(covered_us: Iterable[int], *, latest_us: int, written_us: int, given_up_us: int) -> int:
    """Return up to when may be written, given up to when each track of the open streams is known (at least one).

    ``latest_us``: no later than that, but of a sender that is ahead of the clock. ``given_up_us``: what is not known up
    to here is not waited for any longer.
    """
    known_us = min(covered_us)
    known_us = min(known_us, max(latest_us, known_us - _LEAD_US))  # rule 6 of ``timeline``
    return max(written_us, known_us, given_up_us)  # rule 5


def lag_us(frames: Frames, rate_hz: int) -> NDArray[np.int64]:
    """Return the lags of frames, (n,)."""
    lag: NDArray[np.int64] = frames.arrival_us - frames.end * _S // rate_hz
    lag += NOMINAL_PTIME_US
    return lag


def moved(frames: Frames, start: NDArray[np.int64], end: NDArray[np.int64], rate_hz: int) -> Frames:
    """Return the frames at other positions, with the lags that they have there."""
    there = replace(frames, start=start, end=end)
    there.lag_us = lag_us(there, rate_hz)
    return there


def floor_us(arrival_us: NDArray[np.int64], lag: NDArray[np.int64]) -> int | None:
    """Return the smallest lag that lasts, of frames in order of arrival; None: none does (rule 1)."""
    # A lag is passed by where the next frame brings more than twice the time that it took: nothing rests there.
    rests = np.ones(len(lag), bool)
    np.less_equal(lag[:-1] - lag[1:], arrival_us[1:] - arrival_us[:-1], out=rests[:-1])
    arrival_us, lag = arrival_us[rests], lag[rests]
    least = int(np.minimum.reduce(lag))
    # The usual case first: the smallest of all lasts.
    if _lasts(arrival_us, lag <= least + _LEVEL_US):
        return least
    found = _lowest_level(arrival_us, lag)
    if found is None:
        return None
    first, level = found
    # What came first, and lower, is a backlog before silence: a level that was left before is needed to be ahead of it.
    before = int(lag[: first + 1].argmin())
    return int(lag[before]) if _lowest_level(arrival_us[:before], lag[:before]) is None else level


def _lowest_level(arrival_us: NDArray[np.int64], lag: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the number of the first frame at the lowest lag that lasts, and that lag; None: none does."""
    if not len(lag):
        return None
    # Frames of one level and the next one, so that a level that lies across a border is seen.
    level = (lag - np.minimum.reduce(lag)) // _LEVEL_US
    for number in np.unique(level).tolist():
        near = (level == number) | (level == number + 1)
        if _lasts(arrival_us, near):
            return int(np.flatnonzero(near)[0]), int(np.minimum.reduce(lag[near]))
    return None


def _lasts(arrival_us: NDArray[np.int64], near: NDArray[np.bool_]) -> bool:
    """Return whether frames at one lag are enough to be a level: over 0.2 s, or some in a row over 40 ms (a word)."""
    numbers = np.flatnonzero(near)
    of_level = arrival_us[numbers]
    return int(of_level[-1] - of_level[0]) >= _LASTS_US or _stays(arrival_us, numbers, _WORD_US)


class LagClock:
    """Tells delay from silence for frames of one clock, by their lags, in order of arrival."""

    def __init__(self, patience: Patience) -> None:
        self.offset_us = 0
        """Where media time 0 lies, of what is placed next."""
        self._patience = patience
        self._grown_us = 0
        """The lag to which it grew without a step; below the offset: it did not."""
        self._last_us = 0
        """The lag of the last frame that was placed."""
        self._shortest_us = _TAIL_US
        """The shortest silence that was left out so far, if one is shorter than this."""

    def start(self, offset_us: int) -> None:
        """Begin at an offset (rule 1)."""
        self.offset_us = self._grown_us = self._last_us = offset_us

    def move_to(self, offset_us: int) -> None:
        """Let the offset be here, and all that is compared with it as far away as before: the track was bent."""
        moved_us = offset_us - self.offset_us
        self.offset_us = offset_us
        self._grown_us += moved_us
        self._last_us += moved_us

    def due(self, lag: NDArray[np.int64]) -> int:
        """Return how many frames there are up to the last one that is on time (rule 2)."""
        limit_us = max(self.offset_us, self._grown_us) + ON_TIME_US
        # The usual case first: nearly always all are on time. A ufunc's reduce is cheaper than the method max().
        if np.maximum.reduce(lag) <= limit_us:
            count = len(lag)
        else:
            on_time = np.flatnonzero(lag <= limit_us)
            count = int(on_time[-1]) + 1 if len(on_time) else 0
        if count:
            is_grown = self._grown_us > self.offset_us
            self.go_on(int(lag[count - 1]), int(np.minimum.reduce(lag[:count])) if is_grown else self._grown_us)
        return count

    def is_due(self, last_us: int) -> bool:
        """Return whether the last of some frames is on time, by its lag, and with it all of them (rule 2)."""
        return last_us <= max(self.offset_us, self._grown_us) + ON_TIME_US

    def go_on(self, last_us: int, least_us: int) -> None:
        """Note the lag of the last frame that is placed, and the smallest of those that are placed with it."""
        self._last_us = last_us
        if self._grown_us > self.offset_us:
            self._grown_us = min(self._grown_us, least_us)

    def decide(
        self, arrival_us: NDArray[np.int64], lag: NDArray[np.int64], *, now_us: int, written_us: int, final: bool
    ) -> tuple[int, int] | None:
        """Decide over frames (at least one) of which none is on time; None: wait.

        Else return how many of them lie where they follow, and by how much what follows moves before them. One of the
        two is 0.
        """
        # What would lie far back is decided sooner: the file does not wait for it any longer.
        behind_us = max(0, int(lag[0]) - self.offset_us)
        patience, came_us = self._patience, int(arrival_us[0])
        decided_us = max(patience.until(came_us, _SOONEST_US), patience.until(came_us - behind_us, patience.decide_us))
        if not final and now_us < decided_us:
            return None
        known = max(1, int(np.searchsorted(arrival_us, decided_us, side="right")))
        least = int(np.minimum.reduce(lag[:known]))
        if final and known == len(lag) and self._was_read_late(arrival_us, lag):  # rules 6 and 8
            return len(lag), 0
        if final and known == len(lag) and self._is_near(least, int(np.maximum.reduce(lag))):  # rule 7
            self._last_us = int(lag[-1])
            return len(lag), 0
        if final and known == len(lag) and (delayed := self._unsettled(arrival_us, lag, least)):  # rule 5
            self._last_us = int(lag[delayed - 1])
            return delayed, 0
        would_end_us = self.offset_us + int(arrival_us[0]) - int(lag[0]) + NOMINAL_PTIME_US
        is_step = int(lag[0]) - self._last_us >= _STEP_US
        if is_step or would_end_us < written_us:  # rules 3 and 4
            moved_us = least - self.offset_us
            self._shortest_us = min(self._shortest_us, moved_us)
            self.offset_us = self._grown_us = self._last_us = least
            return 0, moved_us
        since_us = self._patience.since(now_us, self._patience.decide_us)
        decided = len(lag) if final else int(np.searchsorted(arrival_us, since_us, "right"))
        steps = np.flatnonzero(np.diff(lag[:decided]) >= _STEP_US)
        count = int(steps[0]) + 1 if len(steps) else max(1, decided)
        self._grown_us = max(self._grown_us, int(np.minimum.reduce(lag[:count])))
        self._last_us = int(lag[count - 1])
        return count, 0

    def _is_near(self, least_us: int, greatest_us: int) -> bool:
        """Return whether the last lags are so near to what is on time that no silence has to explain them."""
        is_near = least_us - self.offset_us < min(_NEAR_US, self._shortest_us)
        return is_near and greatest_us - self.offset_us < 2 * LATE_US

    def _was_read_late(self, arrival_us: NDArray[np.int64], lag: NDArray[np.int64]) -> bool:
        """Return whether all of these came on time, as far as can be told, and were only read late."""
        later_us = lag - self.offset_us - ON_TIME_US
        unexplained = later_us > self._patience.late_us
        arrival_us, later_us = arrival_us[unexplained], later_us[unexplained]
        if not len(later_us):  # rule 8
            return True
        unread = self._patience.unread_until(int(arrival_us[0]))
        if unread is None or int(arrival_us[-1]) > unread[1] + _CATCH_UP_US:
            return False
        return bool((later_us <= arrival_us - unread[0]).all())

    def _unsettled(self, arrival_us: NDArray[np.int64], lag: NDArray[np.int64], least: int) -> int:
        """Return how many of the last frames of a track are delayed though nothing after them tells; 0: they are not.

        Silence only raises lags. If the last frames have fallen to the smallest lag, by half of what they were late at
        least, and do not stay there, it is no level at which they have settled. (What falls by less is a word that was
        sent when it had been said.) What jumps as high as they do right after that, at the very end, is no silence
        either. The last 1.5 s fall and rise by less if the link begins to jitter in them. And the last few frames alone
        do not show a silence that is shorter than any before.
        """
        near = np.flatnonzero(lag <= least + _LEVEL_US)
        if _stays(arrival_us, near, _STAYS_US):
            return 0
        fallen_us = np.maximum.accumulate(lag) - lag
        length_us, later_us = int(arrival_us[-1] - arrival_us[0]), least - self.offset_us
        jitters = later_us <= _TAIL_US and int(np.maximum.reduce(fallen_us)) >= _JITTERS_US
        if (length_us <= _LAST_US and jitters) or (length_us < _STAYS_US and later_us < self._shortest_us):
            return len(lag)
        plateau = int(np.flatnonzero(lag <= least + _PLATEAU_US)[-1]) + 1
        if int(np.maximum.reduce(fallen_us[:plateau])) < max(_PLATEAU_US, later_us):
            return 0
        if plateau == len(lag):
            return plateau
        if int(arrival_us[-1] - arrival_us[plateau]) > _TAIL_US:
            return 0
        beyond = np.flatnonzero(lag[plateau:] > int(np.maximum.reduce(lag[:plateau])) + _PLATEAU_US)
        return plateau + int(beyond[0]) if len(beyond) else len(lag)


def _stays(arrival_us: NDArray[np.int64], near: NDArray[np.int64], time_us: int) -> bool:
    """Return whether these frames, by number, have some in a row that are so much of the call."""
    breaks = np.flatnonzero(np.diff(near) > 1)
    firsts, lasts = np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [len(near) - 1]))
    return bool((arrival_us[near[lasts]] - arrival_us[near[firsts]] >= time_us).any())
