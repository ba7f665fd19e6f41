"""What the samples themselves tell of how they lie in the payload: pieces of 256 are kept and compared.

Neighbouring samples of speech, music and tones are near each other: the square of their difference is small beside
that of the samples. For noise it is as large (a *roughness* of 1).

1. Bytes in the wrong order make noise of full scale out of any sound: what was the low byte of a sample decides its
   size. So the order is suspected where the audio as described is that (loud, and rough as noise is) and with its bytes
   swapped is far smoother. White noise is rough in both orders, silence and comfort noise are quiet in one of them: of
   them nothing is said.
2. Two channels sent as one are samples of each in turn. If every second sample is far nearer than the next one, or each
   pair is alike, there are two channels; if the next one is far nearer, there is one.
3. Six pieces that are not quiet are enough, one from each second or so. They are compared all at once, and then nothing
   is looked at any more, except that noise gets more chances: speech hisses too. A quiet track is looked at less and
   less often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat

PIECE = 256
"""Samples of each channel."""
ENOUGH = 6
"""Pieces."""
_CHANCES = 4
_QUIET_RMS = 100.0
_FULL_SCALE_RMS = 8_000.0
"""Speech hardly comes near; samples in the wrong byte order have about 19,000, however quiet they are."""
_NOISE = (0.7, 1.3)
"""The roughness of noise, with what 1,500 samples leave to chance."""
_SMOOTH = 0.5
_NEARER = 0.5
_ALIKE = 0.05
_MOST_SKIPPED = 15


class Texture:
    """Pieces of one lane's audio, and what they tell."""

    __slots__ = ("_chances", "_form", "_pieces", "_skip", "is_enough", "is_swapped")

    def __init__(self, form: MediaFormat) -> None:
        self.is_enough = False
        """Whether there are as many pieces as it takes (rule 3)."""
        self.is_swapped = False
        """Whether the bytes of 16-bit samples are in the other order than described (rule 1)."""
        self._form = form
        self._pieces: list[bytes] = []
        self._skip = _Skip()
        self._chances = _CHANCES

    def take(self, payload: NDArray[np.uint8] | bytes) -> None:
        """Keep a piece of a payload, (bytes,), unless there is nothing in it or there are enough already."""
        if self.is_enough or self._skip.is_next_skipped():
            return
        size = PIECE * self._form.step_bytes
        piece = bytes(payload[:size])
        # Digital silence is one byte, again and again.
        if len(piece) < size or 2 * piece.count(piece[0]) > size:
            self._skip.more()
            return
        self._pieces.append(piece)
        if len(self._pieces) == ENOUGH:
            self._compare()

    @property
    def has_two_channels(self) -> bool | None:
        """Whether what is described as one channel is two, sample by sample (rule 2); None: it does not tell."""
        if not self.is_enough or self._form.channels != 1:
            return None
        samples = self._samples(self._form.codec)[:, :, 0]
        next_one = np.square(np.diff(samples, axis=1))
        within, between = float(next_one[:, ::2].mean()), float(next_one[:, 1::2].mean())
        if within < _ALIKE * between:
            return True
        second = float(np.square(samples[:, 2:] - samples[:, :-2]).mean())
        first = float(next_one.mean())
        if second < _NEARER * first:
            return True
        return False if first < _NEARER * second else None

    def _compare(self) -> None:
        codec = self._form.codec
        described = self._samples(codec)
        level = _levels(described)
        is_heard = level >= _QUIET_RMS
        swapped = None
        if codec.sample_bytes == 2:
            swapped = self._samples(Codec.L16BE if codec is Codec.L16 else Codec.L16)
            is_heard &= _levels(swapped) >= _QUIET_RMS
        if not is_heard.all():
            self._pieces = [piece for piece, heard in zip(self._pieces, is_heard.tolist(), strict=True) if heard]
            self._skip.more()
            return
        self.is_enough = True
        if swapped is None or level.mean() < _FULL_SCALE_RMS:
            return
        low, high = _NOISE
        if low <= _roughness(described) <= high:
            self.is_swapped = _roughness(swapped) <= _SMOOTH
            self._chances -= 1
            if not self.is_swapped and self._chances:
                self.is_enough, self._pieces = False, []

    def _samples(self, codec: Codec) -> NDArray[np.float32]:
        """Return the pieces, (pieces, samples, channels)."""
        channels = self._form.channels
        samples = decode(codec, channels, np.frombuffer(b"".join(self._pieces), np.uint8))
        return samples.astype(np.float32).reshape(-1, PIECE, channels)


class _Skip:
    """How many payloads are passed over before the next one is looked at: more and more of a quiet track (rule 3)."""

    __slots__ = ("_left", "_length")

    def __init__(self) -> None:
        self._length = self._left = 0

    def is_next_skipped(self) -> bool:
        if not self._left:
            return False
        self._left -= 1
        return True

    def more(self) -> None:
        self._length = self._left = min(_MOST_SKIPPED, self._length + 1)


def _levels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root mean square of each piece, (pieces,)."""
    flat = samples.reshape(len(samples), -1)
    level: NDArray[np.float32] = np.sqrt(np.einsum("ij,ij->i", flat, flat) / flat.shape[1])
    return level


def _roughness(samples: NDArray[np.float32]) -> float:
    """Return how far neighbours are apart beside how large they are: 1 for white noise, near 0 for a slow wave."""
    difference = float(np.square(np.diff(samples, axis=1)).mean())
    energy = float(np.square(samples).mean())
    return difference / (2 * energy) if energy else 0.0
