"""The mixer: which leg is on which channel, the sum of all tracks, the beep over it, and how loud samples are.

The channels of a stereo file:

1. A leg claims a channel by an explicit wish, or else by its name: ``a`` and ``caller`` are left, ``b`` and ``callee``
   right.
2. A leg without a claim takes left if no leg known by then has it, else right. So of legs that claim nothing the first
   to arrive is left and all others share the right.
3. What a leg hears (outbound) is what the other side says: it goes opposite to what the leg says.
4. A leg gets its channel when a channel of any leg is asked for, and keeps it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wavstream.model.audio import Channel, Track

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

BEEP_HZ = 1_400
BEEP_MS = 200
_RAMP_MS = 5
_PEAK = 32_768 * 10 ** (-12 / 20)
FLOOR_DBFS = -100.0
"""The level of digital silence; the smallest sample that is not zero has -90.3."""
_FULL_SCALE = 32_768
_LOWEST, _HIGHEST = -32_768, 32_767
_BY_NAME = {"a": Channel.LEFT, "caller": Channel.LEFT, "b": Channel.RIGHT, "callee": Channel.RIGHT}
_OPPOSITE = {Channel.LEFT: Channel.RIGHT, Channel.RIGHT: Channel.LEFT}


class StereoLayout:
    """The channels of the legs of one recording."""

    def __init__(self, legs: Iterable[str] = ()) -> None:
        """Begin with the ``legs`` that are known already, in order of arrival."""
        self._wishes: dict[str, Channel | None] = dict.fromkeys(legs)
        self._channels: dict[str, Channel] = {}
        self._has_new = True
        """Whether a leg may have no channel yet."""

    def copy(self) -> StereoLayout:
        """Return the same layout, to be asked independently."""
        same = StereoLayout()
        same._wishes, same._channels, same._has_new = {**self._wishes}, {**self._channels}, self._has_new
        return same

    def add(self, leg: str, wish: Channel | None) -> None:
        """Note that a leg is there, or is there again, and which channel it asks for."""
        self._wishes[leg] = wish or self._wishes.get(leg)
        self._has_new = True

    def channel(self, leg: str, track: Track) -> Channel:
        """Return where a track of a leg goes."""
        if self._has_new:
            self._place()  # rule 4
        own = self._channels[leg]
        return own if track is Track.INBOUND else _OPPOSITE[own]  # rule 3

    def _place(self) -> None:
        self._has_new = False
        unclaimed = []
        for leg, wish in self._wishes.items():
            if leg in self._channels:
                continue
            claim = wish or _BY_NAME.get(leg)  # rule 1
            if claim is None:
                unclaimed.append(leg)
            else:
                self._channels[leg] = claim
        for leg in unclaimed:  # rule 2
            self._channels[leg] = Channel.RIGHT if Channel.LEFT in self._channels.values() else Channel.LEFT


class Voice(NamedTuple):
    """What one track says within a block."""

    channel: int
    """Column of the block."""
    pieces: Sequence[tuple[int, NDArray[np.int16]]]
    """(first row, samples); they do not overlap."""


def mix(voices: Sequence[Voice], *, samples: int, channels: int) -> tuple[NDArray[np.int16], int]:
    """Return the block, (samples, channels), silent where nobody speaks, and how many of its samples were clipped.

    In memory it has one channel after the other: so its waveform is made without taking the channels apart again.
    """
    block = np.zeros((channels, samples), np.int16).T
    clipped = 0
    for channel in range(channels):
        here = [voice for voice in voices if voice.channel == channel and voice.pieces]
        column = block[:, channel]
        if len(here) == 1:
            for row, piece in here[0].pieces:
                column[row : row + len(piece)] = piece
        elif here:
            clipped += _saturate(here, column)
    return block, clipped


def _saturate(voices: Sequence[Voice], column: NDArray[np.int16]) -> int:
    # All voices are summed before the sum is limited: one that comes back into the range is not clipped.
    total = np.zeros(len(column), np.int32)
    for voice in voices:
        for row, piece in voice.pieces:
            total[row : row + len(piece)] += piece
    limited = total.clip(_LOWEST, _HIGHEST)
    column[:] = limited
    return int(np.count_nonzero(limited != total))


def add(block: NDArray[np.int16], sound: NDArray[np.int16], columns: Sequence[int]) -> tuple[NDArray[np.int16], int]:
    """Return the block with ``sound``, (n,), added to the first n rows of ``columns``, and how many were clipped."""
    louder = block.copy()
    clipped = 0
    for column in columns:
        total = block[: len(sound), column].astype(np.int32) + sound
        limited = total.clip(_LOWEST, _HIGHEST)
        louder[: len(sound), column] = limited
        clipped += int(np.count_nonzero(limited != total))
    return louder, clipped


def beep(rate_hz: int) -> NDArray[np.int16]:
    """Return the tone that tells the parties of a call that a recording starts, (samples,).

    It has 1,400 Hz for 200 ms at -12 dBFS at most, with raised-cosine ramps of 5 ms, so that it does not click.
    """
    samples, ramp = rate_hz * BEEP_MS // 1000, rate_hz * _RAMP_MS // 1000
    tone: NDArray[np.float64] = _PEAK * np.sin(2 * np.pi * BEEP_HZ / rate_hz * np.arange(samples))
    rise: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi / ramp * np.arange(ramp))
    tone[:ramp] *= rise
    tone[-ramp:] *= rise[::-1]
    return np.rint(tone, dtype=np.float64).astype(np.int16)


def levels_dbfs(samples: NDArray[np.int16]) -> tuple[float, float]:
    """Return RMS and peak of one channel's samples, (n,), in dBFS: a sine of full scale has -3.0 and 0.0."""
    magnitude = np.abs(samples.astype(np.float64)) / _FULL_SCALE
    return _dbfs(math.sqrt(float(np.mean(magnitude**2)))), _dbfs(float(magnitude.max()))


def _dbfs(ratio: float) -> float:
    return max(FLOOR_DBFS, round(20 * math.log10(ratio), 1)) if ratio else FLOOR_DBFS
