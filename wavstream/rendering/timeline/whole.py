"""The direct way: a stretch of a track that is whole is placed by a few numbers, and no frame of it is looked at.

Nearly all that is ever recorded comes whole: one track after the other, in order, on time. Then what is to be known of
a second of it are the places and moments at which it begins and ends and its first, last and smallest lag; and its
bytes go from the journal to the buffer of the track as one piece. Placing frame by frame does the same with arrays, of
which each costs as much for 9 records as for 900.

What came of a track between two canonical points goes the direct way if

1. all of it is to be mixed: a pause kept nothing out,
2. its records follow each other to the sample (they are of as many frames as were read together),
3. it took less than a window of the drift, and the clock was not seen to drift; where it has timestamps, they are
   believed, and it follows what came before it directly (rule 1 of ``timestamp_mapper``),
4. its source has one lane, has its place in the call, and nothing of it waits,
5. its last record is on time: what came late before it was only delayed (rule 2 of ``clock``), as happens wherever a
   network jitters, or our own reading does.

Else it goes frame by frame, as a whole. Both ways end in the same calls (``LagClock.go_on``, ``Drift.look``,
``Placement.place_stretch``), so that where a stretch goes changes nothing in the file or its receipt.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from wavstream.model.audio import NOMINAL_PTIME_US
from wavstream.rendering.timeline.clock import moved
from wavstream.rendering.timeline.drift import WINDOW_US

if TYPE_CHECKING:
    from wavstream.rendering.timeline.frames import Arrivals, Frames

_S = 1_000_000


class Span(NamedTuple):
    """Frames that follow each other without a break, in media time and as they came."""

    start: int
    """Position of the first sample."""
    end: int
    """After the last one."""
    rows: int
    """Records."""
    frames: int
    first_us: int
    """When the first record came."""
    last_us: int


class Whole(NamedTuple):
    """A whole stretch (rules 1 to 3)."""

    span: Span
    shift: int
    """By how much it lies behind the positions of its records, in samples."""
    first_lag_us: int
    last_lag_us: int
    least_lag_us: int
    least_at_us: int
    """When the first record with that lag came."""
    arrivals: Arrivals

    def frames(self, rate_hz: int) -> Frames:
        """Return it frame by frame, with lags."""
        came = self.arrivals.frames()
        return moved(came, came.start + self.shift, came.end + self.shift, rate_hz)


def whole(arrivals: Arrivals, rate_hz: int, shift: int = 0) -> Whole | None:
    """Return what came as one stretch that lies ``shift`` samples behind its positions; None: it is not whole."""
    rows, step_bytes = arrivals.rows, arrivals.step_bytes
    if not arrivals.is_mixed or sum([size % step_bytes for size in rows.size]) > 0:
        return None
    start = rows.position[0] + shift
    *starts, end = accumulate([size // step_bytes for size in rows.size], initial=start)
    if end == start or [position + shift for position in rows.position] != starts:
        return None
    origin_us, came = arrivals.origin_us, rows.arrival_us.tolist()
    first_us, last_us = came[0] - origin_us, came[-1] - origin_us
    if last_us - first_us >= WINDOW_US:
        return None
    # As ``lag_us`` has them, less what is the same for all.
    lags = [at_us - end_at * _S // rate_hz for at_us, end_at in zip(came, [*starts[1:], end], strict=True)]
    least = min(lags)
    off_us = NOMINAL_PTIME_US - origin_us
    return Whole(
        Span(start, end, len(came), sum(rows.frames), first_us, last_us),
        shift,
        lags[0] + off_us,
        lags[-1] + off_us,
        least + off_us,
        came[lags.index(least)] - origin_us,
        arrivals,
    )
