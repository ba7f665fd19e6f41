"""The waveform: what a file looks like, in points of a fiftieth of a second. It is made with the file, in the fold.

1. A point is the smallest and the greatest sample of each channel and their root mean square, of ``samples_per_point``
   samples of the file: of what is encoded, after pauses, trims and beeps. The last one may be of fewer.
2. A point is made of its own samples alone, once all are there. So it does not matter in which pieces they come: a live
   call, a replay and a second look at the finished file make the same bytes.
3. A file whose silent end is to be cut away says where it would end now (``keep``); what its last point needs then is
   remembered, since what is behind it may go.
4. Three bytes of each channel: the smallest and the greatest in 256ths of the range, rounded towards 0 as audiowaveform
   rounds them, and the root mean square in 255ths of full scale, rounded down. Point after point, channel by channel.
5. What was found of a block is written as points later, of many blocks at once: of the time that a block takes most is
   what each step takes however many samples there are.
6. A coarser zoom is made of whole points: the smallest, the greatest, the root of the mean of the squares.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

POINTS_PER_S = 50
CHANNEL_BYTES = 3
"""Of a point."""
_EXTREME_SCALE = np.float32(1 / 256)
_RMS_SCALE = (255 / 32_768) ** 2
_TAKEN_SAMPLES = 1 << 15
"""Of each channel at once; more than a live call brings."""
_TAKEN_VALUES = _TAKEN_SAMPLES + 8192
"""Of one channel, with a point before them."""
_ARRAYS_BYTES = 350
"""Of two arrays, however little is in them."""
_DAT = struct.Struct("<iIiiIi")
_DAT_VERSION, _DAT_8_BIT = 2, 1


class WaveformForm(NamedTuple):
    """Of which file a waveform is."""

    sample_rate_hz: int
    channels: int
    samples_per_point: int

    @classmethod
    def of(cls, sample_rate_hz: int, channels: int) -> WaveformForm:
        """Return the form of the finest waveform of a file."""
        return cls(sample_rate_hz, channels, max(1, round(sample_rate_hz / POINTS_PER_S)))

    @property
    def point_bytes(self) -> int:
        """Bytes of one point."""
        return self.channels * CHANNEL_BYTES

    def points(self, samples: int) -> int:
        """Return how many points a file of so many samples of each channel has."""
        return -(-samples // self.samples_per_point)


class Ending(NamedTuple):
    """How the waveform of a finished file ends."""

    form: WaveformForm
    samples: int
    """Of each channel in the file."""
    whole_points: int
    """How many of those that were given stay."""
    rest: bytes
    """The last point, of fewer samples; empty: there is none."""


class Found(NamedTuple):
    """What was found of some points; ``written`` makes them of it (rule 5)."""

    extremes: NDArray[np.int16]
    """The smallest and the greatest, (2, channels, points)."""
    squares: NDArray[np.float32]
    """Their sums, (channels, points)."""

    @property
    def size_bytes(self) -> int:
        """Of memory."""
        return self.extremes.nbytes + self.squares.nbytes + _ARRAYS_BYTES


class Waveform:
    """The waveform of one file that is made."""

    def __init__(self) -> None:
        self.form: WaveformForm | None = None
        """None: the file has no rate yet."""
        self.samples = 0
        """Of each channel, that were taken."""
        self._rest: NDArray[np.int16] = np.empty((1, 0), np.int16)
        """What there is of the next point, (channels, samples)."""
        self._found: list[Found] = []
        self._keeps: int | None = None
        self._kept_at = 0
        self._kept_rest = self._rest

    def open(self, sample_rate_hz: int, channels: int) -> None:
        """Begin the waveform of a file of this form; also again, as long as nothing is in it."""
        if self.samples:
            return
        self.form = WaveformForm.of(sample_rate_hz, channels)
        self._rest = self._kept_rest = np.empty((channels, 0), np.int16)

    def keep(self, samples: int) -> None:
        """Note that the file would have so many samples if nothing else were said, now or later (rule 3)."""
        before, self._keeps = self._keeps, samples
        if before != samples:
            self._remember(self._rest, samples)

    def take(self, block: NDArray[np.int16]) -> None:
        """Take in what is encoded next, (samples, channels)."""
        scratch = _SCRATCH.pop() if _SCRATCH else _Scratch()
        for at in range(0, len(block), _TAKEN_SAMPLES):
            self._take(block[at : at + _TAKEN_SAMPLES], scratch)
        _SCRATCH.append(scratch)

    def _take(self, block: NDArray[np.int16], scratch: _Scratch) -> None:
        form, rest, channels = self.form, self._rest, block.T
        assert form is not None
        each, there = form.samples_per_point, rest.shape[1]
        self.samples += len(block)
        if self._keeps is not None:
            self._remember(np.concatenate((rest, channels), 1), self._keeps)
        if there + len(block) < each:
            self._rest = np.concatenate((rest, channels), 1)
            return
        first, start = None, 0
        if there:
            start = each - there
            first = np.concatenate((rest, channels[:, :start]), 1)
        end = len(block) - (len(block) - start) % each
        self._found.append(_find(first, channels[:, start:end], each, scratch))
        self._rest = channels[:, end:].copy()

    def found(self) -> list[Found]:
        """Return what was found of the whole points since the last call."""
        found, self._found = self._found, []
        return found

    def collect(self) -> bytes:
        """Return the whole points that were made since the last call."""
        return b"" if self.form is None else written(self.found(), self.form.samples_per_point)

    def ending(self, samples: int) -> Ending | None:
        """Return how it ends where the file has so many samples; None: there is no file."""
        form = self.form
        if form is None:
            return None
        rest = self._rest
        if samples != self.samples:
            assert samples == self._kept_at
            rest = self._kept_rest
        last, length = b"", rest.shape[1]
        if length:
            scratch = _Scratch(length)
            last = written([_find(rest, rest[:, length:], length, scratch)], length)
        return Ending(form, samples, samples // form.samples_per_point, last)

    def _remember(self, channels: NDArray[np.int16], at: int) -> None:
        """Remember what is before a sample and in its point; ``channels``: from some point to the end of all."""
        assert self.form is not None
        end = at - (self.samples - channels.shape[1])
        if 0 <= end <= channels.shape[1]:
            begin = end // self.form.samples_per_point * self.form.samples_per_point
            self._kept_at, self._kept_rest = at, channels[:, begin:end].copy()


class _Scratch:
    """What is made of a block on the way. Memory that was used just now costs half of what new memory does."""

    def __init__(self, values: int = _TAKEN_VALUES) -> None:
        self.floats = np.empty(values, np.float32)
        self._starts = np.arange(0)
        self._each = 0

    def starts(self, points: int, each: int) -> NDArray[np.intp]:
        """Return where so many points begin that have so many samples each."""
        if each != self._each or points > len(self._starts):
            self._each, self._starts = each, np.arange(0, max(points, _TAKEN_SAMPLES // each) * each, each)
        return self._starts[:points]


_SCRATCH: list[_Scratch] = []
"""Those that nobody uses: as many as threads have folded at once."""


def _find(first: NDArray[np.int16] | None, samples: NDArray[np.int16], each: int, scratch: _Scratch) -> Found:
    """Return what is found of ``samples``, (channels, those of whole points), so many ``each``.

    ``first``, (channels, samples), is a point before them that lies elsewhere; None: there is none.
    """
    channels, ahead = len(samples), 0 if first is None else 1
    whole = samples.shape[1] // each
    points = ahead + whole
    extremes = np.empty((2, channels, points), np.int16)
    squares = np.empty((channels, points), np.float32)
    floats = scratch.floats[: points * each]
    of_points = floats.reshape(points, each)
    if first is not None:
        np.minimum.reduce(first, 1, out=extremes[0, :, 0])
        np.maximum.reduce(first, 1, out=extremes[1, :, 0])
    starts = scratch.starts(whole, each)
    # A channel at a time: it is still in the processor's cache with the next step. Over rows `reduce` takes half as
    # long again as `reduceat`; both are slow where samples do not lie side by side.
    for channel, row in enumerate(samples):
        if first is not None:
            floats[:each] = first[channel]
        floats[ahead * each :] = row
        if whole:
            row = row if row.flags.c_contiguous else row.copy()
            np.minimum.reduceat(row, starts, 0, None, extremes[0, channel, ahead:])
            np.maximum.reduceat(row, starts, 0, None, extremes[1, channel, ahead:])
        np.vecdot(of_points, of_points, squares[channel])
    return Found(extremes, squares)


def written(found: Sequence[Found], each: int) -> bytes:
    """Return the points (rule 4) of so many samples ``each`` that were found, one block after the other."""
    if not found:
        return b""
    extremes = np.concatenate([block.extremes for block in found], 2)
    squares = np.concatenate([block.squares for block in found], 1)
    channels, points = squares.shape
    made = np.empty((CHANNEL_BYTES, channels, points), np.int8)
    np.multiply(extremes, _EXTREME_SCALE, made[:2], casting="unsafe")
    squares *= np.float32(_RMS_SCALE / each)
    np.sqrt(squares, made[2].view(np.uint8), casting="unsafe")
    return made.T.tobytes()


class Peaks(NamedTuple):
    """A stretch of a waveform, at some zoom."""

    form: WaveformForm
    """``samples_per_point`` is that of this zoom."""
    start: int
    """The number of its first point."""
    values: NDArray[np.uint8]
    """(points, channels, 3) as in rule 4; the first two are signed."""

    @classmethod
    def read(cls, form: WaveformForm, start: int, points: bytes) -> Peaks:
        """Return the stretch that these bytes are, from the point numbered ``start`` on."""
        return cls(form, start, np.frombuffer(points, np.uint8).reshape(-1, form.channels, CHANNEL_BYTES))

    @property
    def extremes(self) -> NDArray[np.int8]:
        """Smallest and greatest, (points, channels, 2)."""
        return self.values[:, :, :2].view(np.int8)

    @property
    def root_mean_squares(self) -> NDArray[np.uint8]:
        """(points, channels)."""
        return self.values[:, :, 2]

    def coarser(self, factor: int) -> Peaks:
        """Return it with so many points made one (rule 6), the last of fewer; ``start`` is a multiple of that."""
        if factor == 1 or not len(self.values):
            return self
        first = np.arange(0, len(self.values), factor)
        values = np.empty((len(first), *self.values.shape[1:]), np.uint8)
        values[:, :, 0] = np.minimum.reduceat(self.extremes[:, :, 0], first, axis=0).view(np.uint8)
        values[:, :, 1] = np.maximum.reduceat(self.extremes[:, :, 1], first, axis=0).view(np.uint8)
        squares = np.square(self.root_mean_squares, dtype=np.float32)
        means = np.add.reduceat(squares, first, axis=0) / np.diff(first, append=len(self.values))[:, np.newaxis]
        values[:, :, 2] = np.sqrt(means)
        form = self.form._replace(samples_per_point=self.form.samples_per_point * factor)
        return Peaks(form, self.start // factor, values)

    def as_dat(self) -> bytes:
        """Return it as a file of ``audiowaveform``, version 2, 8 bit: it has no place for root mean squares."""
        form = self.form
        head = _DAT.pack(
            _DAT_VERSION, _DAT_8_BIT, form.sample_rate_hz, form.samples_per_point, len(self.values), form.channels
        )
        return head + self.extremes.tobytes()
