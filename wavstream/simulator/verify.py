"""One channel of a recording against the signal that its leg sent: every sample named, none guessed.

The comparison walks both side by side. Where they part it looks for the place that a run of the recording has in the
signal: further on, and what lies between was lost; further back, and it is a repeat; nowhere, and it is foreign.
Silence is skipped and counted. A run of 16 samples of the noise is in no other place of it for all practical purposes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wavstream.simulator.signal import Signal

_RUN = 16
_FOREIGN_RUNS_UNTIL_HOPELESS = 20
"""A channel with so many foreign places is another leg's, or noise: the rest is counted foreign unread."""


@dataclass(frozen=True, slots=True)
class ChannelCheck:
    """How one channel of a recording differs from what was sent; all in samples."""

    offset: int
    """Silence before the signal: how long after the recording's start the leg's first sample is."""
    matched: int
    lost: int
    """Sent, but not in the file."""
    extra: int
    """In the file, but not sent there: repeated, or another leg's."""
    holes: int
    """Silence within the signal."""

    @property
    def is_exact(self) -> bool:
        """Whether the file has what was sent, whole and in one piece."""
        return not (self.lost or self.extra or self.holes)


def check_channel(channel: Signal, signal: Signal, *, required: int | None = None) -> ChannelCheck:
    """Compare; of a recording stopped early, only the first ``required`` samples of the signal must be there."""
    sounding = np.flatnonzero(channel)
    end = int(sounding[-1]) + 1 if len(sounding) else 0
    here = int(sounding[0]) if len(sounding) else 0
    offset, there = here, 0
    matched = lost = extra = holes = foreign_runs = 0
    while here < end:
        same = _same(channel[here:end], signal[there:])
        matched, here, there = matched + same, here + same, there + same
        if here == end:
            break
        if channel[here] == 0:
            silence = int(np.argmax(channel[here:end] != 0))
            holes, here = holes + silence, here + silence
            continue
        run = channel[here : min(here + _RUN, end)]
        place = _find(run, signal, there)
        if place is not None and place >= there:
            lost, there = lost + place - there, place
        elif place is not None:
            repeated = min(_same(channel[here:end], signal[place:]), there - place)
            extra, here = extra + repeated, here + repeated
        else:
            foreign_runs += 1
            step = end - here if foreign_runs > _FOREIGN_RUNS_UNTIL_HOPELESS else _foreign(channel[here:end], signal)
            extra, here = extra + step, here + step
    lost += max((len(signal) if required is None else required) - there, 0)
    return ChannelCheck(offset, matched, lost, extra, holes)


def _same(one: Signal, other: Signal) -> int:
    """How many samples from the start are equal."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(np.argmax(differs)) if differs.any() else length


def _find(run: Signal, signal: Signal, near: int) -> int | None:
    """Where the run is in the signal: the first place from ``near`` on, else the last before it."""
    places = np.flatnonzero(signal[: len(signal) - len(run) + 1] == run[0])
    places = places[(signal[places[:, np.newaxis] + np.arange(len(run))] == run).all(axis=1)]
    if not len(places):
        return None
    following = places[places >= near]
    return int(following[0] if len(following) else places[-1])


def _foreign(channel: Signal, signal: Signal) -> int:
    """How many samples until a run of the channel is in the signal again, or silent; at most 200."""
    for step in range(1, min(len(channel), 200)):
        if channel[step] == 0 or _find(channel[step : step + _RUN], signal, 0) is not None:
            return step
    return min(len(channel), 200)
