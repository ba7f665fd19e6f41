"""The file of a waveform: a head of 32 bytes, then the points (``rendering/waveform.py``, rule 4).

It is made beside the file whose waveform it is, and published with it (``LocalStorage.publish``); it can be made again
from that file. So it is not synced: one that a power cut has left in part has another length than its head says, and
counts as none.

    0   8 bytes   WSWAVE 1
    8   u32       rate, Hz
    12  u32       channels
    16  u32       samples of each channel in a point
    20  u64       samples of each channel in the file
    28  u32       0

What reads and writes blocks.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from wavstream.errors import FieldError, InvalidFields
from wavstream.rendering.waveform import Ending, Peaks, WaveformForm

HEAD = struct.Struct("<8sIIIQI")
USUAL_POINTS = 20_000
MAX_POINTS = 200_000
"""In one answer."""
_MAGIC = b"WSWAVE 1"
_LONGEST_S = 1e7


class Stretch(NamedTuple):
    """Points of a waveform, and of which file."""

    form: WaveformForm
    samples: int
    """Of each channel in the whole file, so far."""
    start: int
    """The number of the first point."""
    points: bytes
    factor: int = 1
    """How many of its points are wanted as one; ``start`` is a multiple of that."""

    def peaks(self) -> Peaks:
        """Return it at the zoom that is wanted."""
        return Peaks.read(self.form, self.start, self.points).coarser(self.factor)


def head_of(form: WaveformForm, samples: int) -> bytes:
    """Return the head of the waveform of a file of so many samples of each channel."""
    return HEAD.pack(_MAGIC, form.sample_rate_hz, form.channels, form.samples_per_point, samples, 0)


class Window(NamedTuple):
    """What of a waveform is wanted: a stretch of the file in seconds, and how coarse. One zoom at most is given."""

    from_s: float = 0.0
    to_s: float | None = None
    """None: to the end."""
    points_per_s: float | None = None
    """At most."""
    samples_per_pixel: int | None = None
    """At least."""
    points: int | None = None
    """In all, at most; None, like the others: a usual number."""

    def of(self, form: WaveformForm, points: int) -> tuple[int, int, int]:
        """Return the first point wanted and the one after the last, of so many, and how many of them are wanted as one.

        Raise InvalidFields if that is more than an answer may have.
        """
        per_s = form.sample_rate_hz / form.samples_per_point
        first = min(int(min(self.from_s, _LONGEST_S) * per_s), points)
        end = points if self.to_s is None else min(points, ceil(min(self.to_s, _LONGEST_S) * per_s))
        end = max(first, end)
        if self.points_per_s is not None:
            factor = ceil(per_s / self.points_per_s - 1e-9)
        elif self.samples_per_pixel is not None:
            factor = -(-self.samples_per_pixel // form.samples_per_point)
        else:
            factor = -(-(end - first) // (self.points or USUAL_POINTS))
        factor = max(1, min(factor, points or 1))
        first -= first % factor
        end = min(points, -(-end // factor) * factor)
        if (end - first) // factor > MAX_POINTS:
            raise InvalidFields((FieldError("points_per_second", f"that is more than {MAX_POINTS:,} points: ask for a "
                                            "part, with from and to, or for fewer"),))  # fmt: skip
        return first, end, factor


def read_waveform(opening: Callable[[], io.BufferedReader], window: Window) -> Stretch | None:
    """Return what is wanted of a finished waveform; None: there is none, or not all of it.

    ``opening`` opens it. Raises OSError or StoreError.
    """
    try:
        file = opening()
    except FileNotFoundError:
        return None
    with file:
        size_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        magic, rate_hz, channels, per_point, samples, _ = HEAD.unpack(head)
        if magic != _MAGIC or not rate_hz or not channels or not per_point:
            return None
        form = WaveformForm(rate_hz, channels, per_point)
        points = form.points(samples)
        if size_bytes != HEAD.size + points * form.point_bytes:
            return None
        first, end, factor = window.of(form, points)
        file.seek(HEAD.size + first * form.point_bytes)
        return Stretch(form, samples, first, file.read((end - first) * form.point_bytes), factor)


def whole_file(ending: Ending, points: bytes) -> bytes:
    """Return the file of a waveform with these whole points before its ending."""
    kept = points[: ending.whole_points * ending.form.point_bytes]
    return head_of(ending.form, ending.samples) + kept + ending.rest
