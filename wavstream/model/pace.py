"""The pace of a track: how much audio its sender sends in how much time.

A sender in real time has 1.0. One whose stream was described wrongly has not: 16 kHz that are called 8 kHz are twice as
much audio as time. A pace is told from moments: when a frame came, and how much audio had come by then. It is not taken
for wrong because of what senders and networks do to right audio:

1. The time between two moments 1.5 s apart or more is a *look*. Its own pace is its audio by its time: jitter of up to
   0.2 s does not hide it.
2. A look slower than real time in which nothing came for 0.25 s, or nearly nothing all the time, is silence left out:
   it says nothing. In one that is as fast as real time a stall was made up for.
3. Looks in a row whose paces agree are a *stretch*. One alone may be anything: the edge of a pause, a backlog.
4. Stretches of one pace count together. The pace of the track is theirs if they are 10 s long, and the greater part of
   what was sent in all the looks that say something: of such a look its audio or its time, whichever is less, so that
   neither a burst nor comfort noise outweighs speech.
5. Who sends ahead of real time and then waits until it is due again (prompts), or is behind and catches up (a stall),
   is not faster. So nothing is known of a pace above real time if looks slower than real time have lost half of what
   faster ones have gained, or more. A look loses at most 20 s: a call on hold does not take back what was seen before.

No clock is read: when frames came is the input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

LOOK_US = 1_500_000
PAUSE_US = 250_000
"""Nothing for longer than this is a pause. Frames that are longer than this have no pace below 1."""
KNOWN_US = 10_000_000
_AGREE = 0.15
_SAME = 0.1
_REAL_TIME = 0.95
_NEARLY_NOTHING = 0.15
"""Below this a look is comfort noise: a frame of 20 ms each 160 ms is 0.125. Mistakes go down to 1/6."""
_MOST_LOST_US = 20_000_000
_FAST = 1.1
_MAX_KINDS = 8


@dataclass(slots=True)
class _Stretch:
    """Looks of one pace."""

    time_us: int
    media_us: int
    weight_us: int
    looks: int = 1

    @property
    def pace(self) -> float:
        return self.media_us / self.time_us

    def add(self, time_us: int, media_us: int, weight_us: int) -> None:
        self.time_us += time_us
        self.media_us += media_us
        self.weight_us += weight_us
        self.looks += 1


class Pace:
    """The pace of one track, from moments in order of arrival."""

    __slots__ = (
        "_arrival_us",
        "_gained_us",
        "_has_pause",
        "_kinds",
        "_lost_us",
        "_media_us",
        "_said_us",
        "_stretch",
        "watched_us",
    )

    def __init__(self) -> None:
        self.watched_us = 0
        """The time of all looks: of two paces of one track the one that was watched for longer is to be believed."""
        self._arrival_us: int | None = None
        """When the last look ended."""
        self._media_us = 0
        """How much audio had come by then."""
        self._has_pause = False
        """Whether there was a pause since."""
        self._gained_us = 0
        self._lost_us = 0
        """By how much the audio of looks was more, and less, than their time (rule 5)."""
        self._said_us = 0
        """Weight of all looks that say something (rule 4)."""
        self._stretch: _Stretch | None = None
        """The one that may go on."""
        self._kinds: list[_Stretch] = []
        """Those that are over, added up by pace."""

    def pause(self) -> None:
        """Note that nothing has come for ``PAUSE_US``."""
        self._has_pause = True

    def look(self, arrival_us: int, media_us: int) -> float | None:
        """Take in how much audio had come when a frame came; return the pace of the look that ends here, if one does.

        ``media_us``: of all frames so far, in microseconds by the stream's own description.
        """
        if self._arrival_us is None:
            self._arrival_us, self._media_us = arrival_us, media_us
            return None
        time_us = arrival_us - self._arrival_us
        if time_us < LOOK_US:
            return None
        sent_us = media_us - self._media_us
        self.watched_us += time_us
        if sent_us > time_us:  # rule 5
            self._gained_us += sent_us - time_us
        else:
            self._lost_us += min(time_us - sent_us, _MOST_LOST_US)
        if sent_us >= _REAL_TIME * time_us or not (self._has_pause or sent_us < _NEARLY_NOTHING * time_us):  # rule 2
            self._take(time_us, sent_us)
        elif self._stretch is not None:
            self._kinds, self._stretch = _with(self._kinds, self._stretch), None
        self._arrival_us, self._media_us, self._has_pause = arrival_us, media_us, False
        return sent_us / time_us

    @property
    def value(self) -> float | None:
        """Audio by time, in hundredths; None: it is not known."""
        kinds = self._kinds if self._stretch is None else _with(self._kinds, self._stretch)
        best = max(kinds, key=lambda kind: kind.weight_us, default=None)
        if best is None or best.time_us < KNOWN_US or 2 * best.weight_us <= self._said_us:  # rule 4
            return None
        if best.pace > _FAST and 2 * self._lost_us >= self._gained_us:  # rule 5
            return None
        return round(best.pace, 2)

    def _take(self, time_us: int, sent_us: int) -> None:
        weight_us = min(time_us, sent_us)
        self._said_us += weight_us
        stretch = self._stretch
        if stretch is not None and _agree(stretch.pace, sent_us / time_us, _AGREE):  # rule 3
            stretch.add(time_us, sent_us, weight_us)
            return
        if stretch is not None:
            self._kinds = _with(self._kinds, stretch)
        self._stretch = _Stretch(time_us, sent_us, weight_us)


def _agree(one: float, other: float, tolerance: float) -> bool:
    return abs(one - other) <= tolerance * max(one, other)


def _with(kinds: list[_Stretch], stretch: _Stretch) -> list[_Stretch]:
    """Return the kinds with one more stretch; those that weigh least are forgotten where there are many."""
    if stretch.looks < 2:  # rule 3
        return kinds
    whole = [replace(kind) for kind in kinds]
    same = next((kind for kind in whole if _agree(kind.pace, stretch.pace, _SAME)), None)
    if same is None:
        whole.append(replace(stretch))
    else:
        same.add(stretch.time_us, stretch.media_us, stretch.weight_us)
    return sorted(whole, key=lambda kind: -kind.weight_us)[:_MAX_KINDS]
