"""A finished file as a sound to be played to a call: one channel, at the rate and the loudness that are asked for.

Only the beginning of a long file is read: who plays it has it in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavstream.conversion.decoding import decoded
from wavstream.errors import InternalError, NotFound
from wavstream.rendering.codecs.resample import Resampler

BLOCK_SAMPLES = 65_536
"""Of each channel."""


class Sound(NamedTuple):
    """Samples to be played."""

    samples: NDArray[np.int16]
    """Mono, (n,)."""
    rate_hz: int
    is_whole: bool = True
    """False: there is more, which was not read."""

    @property
    def length_s(self) -> float:
        """How long it is heard."""
        return len(self.samples) / self.rate_hz

    def at(self, rate_hz: int) -> Sound:
        """Return the sound with another rate."""
        if rate_hz == self.rate_hz:
            return self
        resampler = Resampler(self.rate_hz, rate_hz)
        samples = np.concatenate((resampler.feed(self.samples), resampler.finish()))
        return self._replace(samples=samples, rate_hz=rate_hz)

    def louder(self, gain_db: float) -> Sound:
        """Return the sound, louder by so many decibels or, below 0, quieter; cut off where it is too loud."""
        if not gain_db:
            return self
        scaled = np.rint(self.samples * np.float32(10 ** (gain_db / 20)))
        return self._replace(samples=_cut_off(scaled))


def read_sound(opening: Callable[[], io.BufferedReader], *, at_most_s: float) -> Sound:
    """Return what is heard in a WAV or MP3 file of ours, for so many seconds at most. Blocks.

    ``opening`` opens it. Raises NotFound if the file was erased, InternalError if it cannot be read, and StoreError.
    """
    try:
        with opening() as recorded, decoded(recorded) as file:
            left = round(at_most_s * file.samplerate)
            blocks = [np.empty(0, np.int16)]
            while left and len(block := file.read(min(left, BLOCK_SAMPLES), dtype="int16", always_2d=True)):
                left -= len(block)
                blocks.append(_mixed(block))
            is_whole = bool(left) or not len(file.read(1, dtype="int16", always_2d=True))
            return Sound(np.concatenate(blocks), file.samplerate, is_whole)
    except FileNotFoundError:
        raise NotFound("the recording was erased") from None
    except soundfile.LibsndfileError as error:
        raise InternalError(f"a recording cannot be read: {error.error_string}") from error


def _mixed(block: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the sum of all channels, as a recording of one channel has it: cut off where it is too loud."""
    if block.shape[1] == 1:
        return block[:, 0]
    return _cut_off(block.sum(axis=1, dtype=np.int32))


def _cut_off(samples: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.int16]:
    return samples.clip(-32_768, 32_767).astype(np.int16)
