"""Aligned pieces of all tracks into one block: copied where a channel has one voice, else summed with saturation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LOWEST, _HIGHEST = -32_768, 32_767


class Voice(NamedTuple):
    """What one track says within a block."""

    channel: int
    """Column of the block."""
    pieces: Sequence[tuple[int, NDArray[np.int16]]]
    """(first row, samples); they do not overlap."""


def mix(voices: Sequence[Voice], *, samples: int, channels: int) -> tuple[NDArray[np.int16], int]:
    """The block, (samples, channels), silent where nobody speaks, and how many of its samples were clipped."""
    block = np.zeros((samples, channels), np.int16)
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
    total = np.zeros(len(column), np.int32)
    for voice in voices:
        for row, piece in voice.pieces:
            total[row : row + len(piece)] += piece
    limited = total.clip(_LOWEST, _HIGHEST)
    column[:] = limited
    return int(np.count_nonzero(limited != total))


def add(block: NDArray[np.int16], sound: NDArray[np.int16], columns: Sequence[int]) -> tuple[NDArray[np.int16], int]:
    """The block with ``sound``, (n,), added to the first n rows of these columns, and how many samples were clipped."""
    louder = block.copy()
    clipped = 0
    for column in columns:
        total = block[: len(sound), column].astype(np.int32) + sound
        limited = total.clip(_LOWEST, _HIGHEST)
        louder[: len(sound), column] = limited
        clipped += int(np.count_nonzero(limited != total))
    return louder, clipped
