"""What samples tell of how they lie in the payload, by pieces of some ten milliseconds that are compared.

Neighbouring samples of speech, music and tones are near each other: the square of their difference is small beside
that of the samples. For noise it is as large (a *roughness* of 1).

1. Bytes in the wrong order make noise of full scale out of any sound: what was the low byte of a sample decides its
   size. So the order is suspected where the audio as described is that (loud, and rough as noise is) and with its bytes
   swapped is far smoother. White noise is rough in both orders, silence and comfort noise are quiet in one of them: of
   them nothing is said.
2. Nearly always one piece is enough to see that the order is right: the low bytes of its samples are of many kinds, and
   the high ones of few. In the wrong order it is the other way round. Silence has few of both.
3. Two channels sent as one are samples of each in turn. If every second sample is far nearer than the next one, or the
   samples of each pair are alike, there are two channels; if the next one is far nearer, there is one.
4. Six pieces that are not quiet are enough, one from each second or so; then nothing is looked at any more, except that
   what is not clear gets more chances: speech hisses too. A quiet track is looked at less and less often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wavstream.model.audio import MediaFormat

    Piece = NDArray[np.float32]
    """(samples, channels)."""

LONGEST, SHORTEST = 256, 64
"""Samples of each channel in a piece."""
ENOUGH = 6
"""Pieces."""
_CHANCES = 4
_QUIET_RMS = 300.0
"""Samples below 256 have nothing in their high bytes."""
_FULL_SCALE_RMS = 8_000.0
"""Speech hardly comes near; samples in the wrong byte order have about 19,000, however quiet they are."""
_NOISE = (0.7, 1.3)
"""The roughness of noise, with what a thousand samples leave to chance."""
_SMOOTH = 0.5
_FEW, _MANY = 0.3, 0.5
"""Kinds of bytes, by how many bytes there are. By chance 64 bytes are of 57 kinds (0.89)."""
_NEARER = 0.5
_ALIKE = 0.05
_MOST_SKIPPED = 15
_PAUSES = 2


class Pieces:
    """The pieces of one lane that are kept."""

    __slots__ = ("_form", "_longest_bytes", "_quiet", "_shortest_bytes", "kept", "skip")

    def __init__(self, form: MediaFormat) -> None:
        self.kept: list[bytes] = []
        self.skip = 0
        """How many seconds are to be passed over before the next piece (rule 4)."""
        self._form = form
        self._longest_bytes, self._shortest_bytes = LONGEST * form.step_bytes, SHORTEST * form.step_bytes
        self._quiet = 0
        """How many pieces in a row had nothing in them."""

    def cut(self, payload: NDArray[np.uint8] | bytes) -> bytes | None:
        """Return a piece of a payload, (bytes,); None: there is none, or nothing in it."""
        self.skip = 0
        piece = bytes(payload[: self._longest_bytes])
        # Digital silence is one byte, again and again.
        if len(piece) >= self._shortest_bytes and 2 * piece.count(piece[0]) <= len(piece):
            self._quiet = 0
            return piece
        self.skip_more()
        return None

    def skip_more(self) -> None:
        """Let more time pass the longer the track is quiet; not for a pause or two."""
        self._quiet += 1
        self.skip = min(_MOST_SKIPPED, self._quiet // _PAUSES)

    def samples(self, codec: Codec) -> list[Piece]:
        """Return the pieces that are kept, as this codec decodes them."""
        channels = self._form.channels
        return [decode(codec, channels, np.frombuffer(piece, np.uint8)).astype(np.float32) for piece in self.kept]

    def drop_quiet(self, *readings: Sequence[Piece]) -> bool:
        """Drop the pieces that are quiet in one of these readings of them; return whether there were any."""
        heard = [min(_level(piece) for piece in each) >= _QUIET_RMS for each in zip(*readings, strict=True)]
        if all(heard):
            return False
        self.kept = [piece for piece, is_heard in zip(self.kept, heard, strict=True) if is_heard]
        self.skip_more()
        return True


class ByteOrder:
    """Whether 16-bit samples are in the order that is described (rules 1 and 2)."""

    __slots__ = ("_chances", "_form", "is_known", "is_swapped", "pieces")

    def __init__(self, form: MediaFormat) -> None:
        self.is_known = form.codec.sample_bytes == 1
        """Whether nothing more need be looked at. G.711 has no order."""
        self.is_swapped = False
        self.pieces = Pieces(form)
        self._form = form
        self._chances = _CHANCES

    def take(self, payload: NDArray[np.uint8] | bytes) -> None:
        """Look at a payload, (bytes,)."""
        piece = self.pieces.cut(payload)
        if piece is None:
            return
        if self._is_plain(piece):
            self.is_known, self.pieces.kept = True, []
            return
        self.pieces.kept.append(piece)
        if len(self.pieces.kept) >= ENOUGH:
            self._compare()

    def _is_plain(self, piece: bytes) -> bool:
        """Return whether the order is plainly the one described (rule 2)."""
        low, high = piece[: 2 * SHORTEST : 2], piece[1 : 2 * SHORTEST : 2]
        if self._form.codec is Codec.L16BE:
            low, high = high, low
        return len(set(high)) <= _FEW * len(high) and len(set(low)) >= _MANY * len(low)

    def _compare(self) -> None:
        codec = self._form.codec
        described = self.pieces.samples(codec)
        swapped = self.pieces.samples(Codec.L16BE if codec is Codec.L16 else Codec.L16)
        if self.pieces.drop_quiet(described, swapped):
            return
        self._chances -= 1
        low, high = _NOISE
        is_noise = min(map(_level, described)) >= _FULL_SCALE_RMS and low <= _roughness(described) <= high
        self.is_swapped = is_noise and _roughness(swapped) <= _SMOOTH
        self.is_known = self.is_swapped or not self._chances
        self.pieces.kept = []


class Interleaving:
    """Whether what is described as one channel is two, sample by sample (rule 3)."""

    __slots__ = ("_form", "is_known", "is_two", "pieces")

    def __init__(self, form: MediaFormat) -> None:
        self.is_known = form.channels != 1
        """Whether nothing more need be looked at."""
        self.is_two: bool | None = None
        """None: the samples do not tell."""
        self.pieces = Pieces(form)
        self._form = form

    def take(self, payload: NDArray[np.uint8] | bytes) -> None:
        """Look at a payload, (bytes,)."""
        piece = self.pieces.cut(payload)
        if piece is None:
            return
        self.pieces.kept.append(piece)
        if len(self.pieces.kept) >= ENOUGH:
            self._compare()

    def _compare(self) -> None:
        pieces = self.pieces.samples(self._form.codec)
        if self.pieces.drop_quiet(pieces):
            return
        self.is_known = True
        self.pieces.kept = []
        steps = [np.square(np.diff(piece[:, 0])) for piece in pieces]
        within, between = sum(float(step[::2].sum()) for step in steps), sum(float(step[1::2].sum()) for step in steps)
        second = sum(float(np.square(piece[2:, 0] - piece[:-2, 0]).sum()) for piece in pieces)
        first = within + between
        if within < _ALIKE * between or second < _NEARER * first:
            self.is_two = True
        elif first < _NEARER * second:
            self.is_two = False


def _level(piece: Piece) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(piece).mean()))


def _roughness(pieces: Sequence[Piece]) -> float:
    """Return how far neighbours are apart beside how large they are: 1 for white noise, near 0 for a slow wave."""
    difference = sum(float(np.square(np.diff(piece, axis=0)).sum()) for piece in pieces)
    energy = sum(float(np.square(piece).sum()) for piece in pieces)
    return difference / (2 * energy) if energy else 0.0
