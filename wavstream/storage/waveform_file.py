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

Everything here blocks.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

from wavstream.rendering.waveform import Ending, WaveformForm

HEAD = struct.Struct("<8sIIIQI")
_MAGIC = b"WSWAVE 1"


class Stretch(NamedTuple):
    """Points of a waveform, and of which file."""

    form: WaveformForm
    samples: int
    """Of each channel in the whole file, so far."""
    start: int
    """The number of the first point."""
    points: bytes


def head_of(form: WaveformForm, samples: int) -> bytes:
    """Return the head of the waveform of a file of so many samples of each channel."""
    return HEAD.pack(_MAGIC, form.sample_rate_hz, form.channels, form.samples_per_point, samples, 0)


class Window(NamedTuple):
    """What of a waveform is wanted, in seconds of the file."""

    from_s: float = 0.0
    to_s: float | None = None
    """None: to the end."""
    multiple: int = 1
    """The first point wanted is a multiple of this."""

    def of(self, form: WaveformForm, points: int) -> tuple[int, int]:
        """Return the first point that is wanted, and the one after the last, of so many."""
        per_s = form.sample_rate_hz / form.samples_per_point
        first = min(int(self.from_s * per_s), points)
        end = points if self.to_s is None else min(points, int(-(-self.to_s * per_s // 1)))
        first -= first % self.multiple
        end = min(points, -(-end // self.multiple) * self.multiple)
        return first, max(first, end)


def read_waveform(path: Path, window: Window) -> Stretch | None:
    """Return what is wanted of a finished waveform; None: there is none, or not all of it. Raises OSError."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        head = os.pread(number, HEAD.size, 0)
        if len(head) < HEAD.size:
            return None
        magic, rate_hz, channels, per_point, samples, _ = HEAD.unpack(head)
        if magic != _MAGIC or not rate_hz or not channels or not per_point:
            return None
        form = WaveformForm(rate_hz, channels, per_point)
        points = form.points(samples)
        if os.fstat(number).st_size != HEAD.size + points * form.point_bytes:
            return None
        first, end = window.of(form, points)
        wanted = os.pread(number, (end - first) * form.point_bytes, HEAD.size + first * form.point_bytes)
        return Stretch(form, samples, first, wanted)
    finally:
        os.close(number)


def whole_file(ending: Ending, points: bytes) -> bytes:
    """Return the file of a waveform with these whole points before its ending."""
    kept = points[: ending.whole_points * ending.form.point_bytes]
    return head_of(ending.form, ending.samples) + kept + ending.rest
