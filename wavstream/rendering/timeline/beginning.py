"""Where a source begins in the call: the offset of its first frames.

1. It begins at the floor of its first 5 s: the smallest lag that lasts. While the last of them are not there (a
   backlog, a link that is slow or catches up), or little came, it waits for longer. What begins with
   more than 5 s in one message, brings more than 4 MiB, or falls by more than the file waits, is no backlog but a file
   that is played: it begins where its first frame arrived.
2. A source that was there before the recording brings its floor along. It is believed if the first frames bear it out.
3. It does not begin before what its leg has said already.
4. Nor, if it is new and its backlog is longer than the file trails, before what is written: it is too late rather than
   lost. What is before the end of either otherwise was sent again, or comes too late; only for a few frames it is worth
   to be late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wavstream.rendering.timeline.clock import LATE_US, ON_TIME_US, floor_us

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.journal.events import StreamFacts
    from wavstream.rendering.timeline.clock import Patience

_SETTLE_BYTES = 4 << 20
"""No sender in real time has sent that much by then; one that is faster is not kept in memory for so long."""
_LONGEST_MESSAGE_US = 5_000_000
"""FreeSWITCH holds 4 s at most before a stream begins."""
_BELIEVED_LATE_US = 3_000_000
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source when its stream joins the recording."""

    stream: StreamFacts
    free_us: int | None
    """What its leg had said before ends here: nothing of it is before that; None: it had said nothing."""
    joined_us: int
    """When its stream opened."""
    reference_us: int | None
    """The smallest lag so far, by the sender's own count; None: not known yet."""
    trail_us: int = 0
    """How far the file stays behind for the backlogs of those who join."""
    leaves_silence_out: bool = False
    """Whether an earlier stream of its leg has shown that it does."""


@dataclass(frozen=True, slots=True)
class FirstFrames:
    """What has come of a source that has no place yet (at least one frame)."""

    arrival_us: NDArray[np.int64]
    """(n,) in order, of the lanes that tell where the source begins."""
    lag_us: NDArray[np.int64]
    """(n,)."""
    start_us: int
    """Where the first of all frames begins, in media time."""
    kept_bytes: int
    """Payload of all lanes."""
    stamp_offset_us: int | None
    """Media time less timestamp; None: positions count, and are media time."""


class Beginning(NamedTuple):
    """Where media time 0 lies in the call."""

    at_us: int
    put_off_us: int
    """By how much that is later than its first frames would have it (rules 3 and 4)."""


def beginning(
    facts: SourceFacts, first: FirstFrames, patience: Patience, *, now_us: int, written_us: int, final: bool
) -> Beginning | None:
    """Return where a source begins; None: it is not known yet. ``final``: nothing more comes."""
    arrival_us, lag_us, first_us = first.arrival_us, first.lag_us, int(first.arrival_us[0])
    least = int(np.minimum.reduce(lag_us))
    message_us = first_us - int(lag_us[0]) - first.start_us
    is_played = int(lag_us[0]) - least > patience.backlog_us or message_us > _LONGEST_MESSAGE_US
    waits = not (final or is_played or first.kept_bytes >= _SETTLE_BYTES)  # rule 1
    if waits and now_us < patience.until(first_us, patience.settle_us):
        return None
    floor = None if is_played else floor_us(arrival_us, lag_us)
    if waits:
        is_at_floor = floor is not None and _is_at_floor(arrival_us, lag_us, now_us)
        is_plain = is_at_floor and _is_unbroken(arrival_us, lag_us, now_us)
        # What would lie before it came is decided sooner: the file waits no longer for it.
        said_us = min(first_us, least + first.start_us)
        if now_us < patience.until(said_us, patience.decide_us) and not is_plain:
            return None
    lasts = floor is not None
    if floor is None:
        # None that lasts: a few frames, whose smallest lag it is; or a sender that is ahead of real time.
        is_played = is_played or int(lag_us[0]) - least > ON_TIME_US
        # One frame may be seconds of what is played: nothing of it was said before it came.
        floor = max(int(lag_us[0]), first_us - first.start_us) if is_played else least
    floor = _borne_out(facts.reference_us, floor, first.stamp_offset_us, lasts=lasts)
    put_off_us = _put_off_us(facts, floor + first.start_us, first_us, written_us)
    return Beginning(floor + put_off_us, put_off_us)


def _put_off_us(facts: SourceFacts, starts_us: int, arrived_us: int, written_us: int) -> int:
    """Return how much later than at its floor a source begins (rules 3 and 4); its first frame came then."""
    own_us, put_off_us = facts.free_us, 0
    if own_us is not None and (own_us >= facts.joined_us or own_us - starts_us <= ON_TIME_US):
        put_off_us = own_us - starts_us
    is_too_long = own_us is None and starts_us < facts.joined_us - facts.trail_us
    is_in_the_way = written_us > 0 and (written_us > arrived_us or is_too_long)
    if is_in_the_way or 0 < written_us - starts_us <= ON_TIME_US:
        put_off_us = max(put_off_us, written_us - starts_us)
    return max(0, put_off_us)


def _borne_out(reference_us: int | None, floor: int, stamp_offset_us: int | None, *, lasts: bool) -> int:
    """Return the floor from before the recording, unless the first frames show that it was wild (rule 2)."""
    if reference_us is None:
        return floor
    if stamp_offset_us is not None:
        # By the sender's own count; media time may begin elsewhere.
        reference_us -= stamp_offset_us
        if not reference_us - LATE_US <= floor <= reference_us + _BELIEVED_LATE_US:
            return floor
    # A sender that is ahead of real time goes on behind what it has sent before.
    return min(reference_us, floor) if lasts else reference_us


def _is_unbroken(arrival_us: NDArray[np.int64], lag_us: NDArray[np.int64], now_us: int) -> bool:
    """Return whether most of the time since the first frame was filled with frames."""
    sent_us = int((arrival_us[-1] - lag_us[-1]) - (arrival_us[0] - lag_us[0]))
    return 5 * sent_us >= 4 * (now_us - int(arrival_us[0]))


def _is_at_floor(arrival_us: NDArray[np.int64], lag_us: NDArray[np.int64], now_us: int) -> bool:
    """Return whether each of the last two seconds was at the smallest lag: no link catches up, or is slow."""
    near_us = int(np.minimum.reduce(lag_us)) + ON_TIME_US
    for end_us in (now_us, now_us - _S):
        of_second = lag_us[(arrival_us > end_us - _S) & (arrival_us <= end_us)]
        if not len(of_second) or int(np.minimum.reduce(of_second)) > near_us:
            return False
    return True
