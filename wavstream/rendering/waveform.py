"""The waveform: what a file looks like, in points of a fiftieth of a second. It is made with the file, in the fold.

1. A point is the smallest and the greatest sample of each channel and their root mean square, of ``samples_per_point``
   samples of the file: of what is encoded, after pauses, trims and beeps. The last one may be of fewer.
2. A point is made of its own samples alone, once all are there. So it does not matter in which pieces they come: a live
   call, a replay and a second look at the finished file make the same bytes.
3. A file whose silent end is to be cut away says where it would end now (``keep``); what its last point needs then is
   remembered, since what is behind it may go.
4. Three bytes of each channel: the smallest and the greatest in 256ths of the range, rounded towards 0 as audiowaveform
   rounds them, and the root mean square in 255ths of full scale, rounded down. Point after point, channel by channel.
5. A coarser zoom is made of whole points: the smallest, the greatest, the root of the mean of the squares.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS_PER_S = 50
CHANNEL_BYTES = 3
"""Of a point."""
_EXTREME_SCALE = np.float32(1 / 256)
_RMS_SCALE = (255 / 32_768) ** 2
_TAKEN_SAMPLES = 1 << 15
"""Of each channel at once; more than a live call brings."""
_TAKEN_VALUES = 2 * (_TAKEN_SAMPLES + 8192)
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


class Waveform:
    """The waveform of one file that is made."""

    def __init__(self) -> None:
        self.form: WaveformForm | None = None
        """None: the file has no rate yet."""
        self.samples = 0
        """Of each channel, that were taken."""
        self._rest: NDArray[np.int16] = np.empty((1, 0), np.int16)
        """What there is of the next point, (channels, samples)."""
        self._points: list[bytes] = []
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
        form, there = self.form, self._rest.shape[1]
        assert form is not None
        length = there + len(block)
        channels = block.T
        if there:
            channels = scratch.samples[: form.channels * length].reshape(form.channels, length)
            channels[:, :there] = self._rest
            channels[:, there:] = block.T
        self.samples += len(block)
        if self._keeps is not None:
            self._remember(channels, self._keeps)
        whole = length // form.samples_per_point
        used = whole * form.samples_per_point
        if whole:
            of_points = channels[:, :used].reshape(form.channels, whole, form.samples_per_point)
            self._points.append(points_of(of_points, scratch))
        if there or used < length:
            self._rest = channels[:, used:].copy()

    def collect(self) -> bytes:
        """Return the whole points that were made since the last call."""
        if not self._points:
            return b""
        points, self._points = self._points, []
        return points[0] if len(points) == 1 else b"".join(points)

    def ending(self, samples: int) -> Ending | None:
        """Return how it ends where the file has so many samples; None: there is no file."""
        form = self.form
        if form is None:
            return None
        rest = self._rest
        if samples != self.samples:
            assert samples == self._kept_at
            rest = self._kept_rest
        last = points_of(rest[:, np.newaxis, :]) if rest.shape[1] else b""
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

    def __init__(self) -> None:
        self.samples = np.empty(_TAKEN_VALUES, np.int16)
        self.floats = np.empty(_TAKEN_VALUES, np.float32)


_SCRATCH: list[_Scratch] = []
"""Those that nobody uses: as many as threads have folded at once."""


def points_of(samples: NDArray[np.int16], scratch: _Scratch | None = None) -> bytes:
    """Return the points (rule 4) of samples (channels, points, samples of each)."""
    channels, points, each = samples.shape
    made = np.empty((points, channels, CHANNEL_BYTES), np.int8)
    found = np.empty((2, channels, points), np.int16)
    np.minimum.reduce(samples, 2, None, found[0])
    np.maximum.reduce(samples, 2, None, found[1])
    made[:, :, :2] = (found * _EXTREME_SCALE).T
    floats = np.empty(samples.size, np.float32) if scratch is None else scratch.floats[: samples.size]
    floats = floats.reshape(samples.shape)
    floats[:] = samples
    squares = np.vecdot(floats, floats)
    squares *= np.float32(_RMS_SCALE / each)
    made.view(np.uint8)[:, :, 2] = np.sqrt(squares, squares).T
    return made.tobytes()


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
        """Return it with so many points made one (rule 5), the last of fewer; ``start`` is a multiple of that."""
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
