"""16-bit samples whose byte order nobody says: heard from the audio itself.

1. Read in the wrong order, the low byte of a sample becomes its high one, and audio becomes noise. So the reading is
   wrong in which neighbouring samples lie further apart: four times as far at least, over 80 samples that change. A
   frame of 20 ms of speech, of a quiet line, hiss or an offset is enough; at 8 kHz speech has a factor of 5 to 100.
2. Two things look smooth in the wrong order, and are no evidence: loud audio of an A-law line, whose low bytes are all
   alike (the reading lies far from zero), and audio of 8 bits that was made 16 (the reading is a positive byte, of
   which more than half is used).
3. Loud noise and loud high tones are no evidence in any order, and digital silence is the same in both.
4. What is no evidence yet is held, 5 messages at most, so that nobody hears noise before the first word. Then it is
   given in the order that is the default, and the search goes on. Silence before anything else is given at once.
5. Once an order is known it stays: a stream does not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wavstream.dialects.events import Frame
from wavstream.dialects.parameters import ByteOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_HELD = 5
"""Messages: 100 ms in the usual ones."""
MAX_HELD_BYTES = 16_384
_CLEAR = 4
"""Times as far from sample to sample (rule 1)."""
_ENOUGH = 80
"""Samples that differ from the one before (rule 1)."""
_FAR = 8_192
"""From zero, on average: more than any line's offset (rule 2)."""
_LITTLE, _BIG = np.dtype("<i2"), np.dtype(">i2")


class AutoOrder:
    """Gives the frames of one stream in little-endian L16."""

    __slots__ = ("_big", "_default", "_has_given_up", "_held", "_held_bytes", "_little", "_step", "order")

    def __init__(self, default: ByteOrder, channels: int = 1) -> None:
        """Take the order that counts until one is known, and how many channels are interleaved in a payload."""
        self._default: ByteOrder = default
        self._step = channels
        self.order: ByteOrder | None = None
        """None: not known yet."""
        self._held: list[Frame] = []
        self._held_bytes = 0
        self._has_given_up = False
        self._little, self._big = _Reading(), _Reading()

    def feed(self, frame: Frame) -> Sequence[Frame]:
        """Take a frame in, whose payload is in the stream's order; return those whose order is settled."""
        if self.order is None:
            return self._search(frame)
        return (frame,) if self.order == "little" else (_swapped(frame),)

    def flush(self) -> Sequence[Frame]:
        """Return the frames that are held; called when the stream ends."""
        frames, self._held, self._held_bytes = self._held, [], 0
        return frames if (self.order or self._default) == "little" else [_swapped(frame) for frame in frames]

    def _search(self, frame: Frame) -> Sequence[Frame]:
        self._held.append(frame)
        self._held_bytes += len(frame.payload)
        if any(frame.payload):
            self.order = self._heard(frame.payload)
        elif len(self._held) == 1:
            return self.flush()
        if self.order or self._has_given_up:
            return self.flush()
        if len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:  # rule 4
            self._has_given_up = True
            return self.flush()
        return ()

    def _heard(self, payload: bytes) -> ByteOrder | None:
        """Return the order, if what has been heard since the last look and this payload tell it."""
        whole = payload[: len(payload) & ~1]
        self._little.add(np.frombuffer(whole, _LITTLE), self._step)
        self._big.add(np.frombuffer(whole, _BIG), self._step)
        if self._little.changes < _ENOUGH:
            return None
        little, big = self._little, self._big
        self._little, self._big = _Reading(), _Reading()
        if little.way * _CLEAR <= big.way and little.is_likely:
            return "little"
        if big.way * _CLEAR <= little.way and big.is_likely:
            return "big"
        return None


class _Reading:
    """What audio is like in one order."""

    __slots__ = ("_highest", "_lowest", "_samples", "_sum", "changes", "way")

    def __init__(self) -> None:
        self.changes = 0
        self.way = 0
        """From each sample to the next one, all together."""
        self._samples = self._sum = self._highest = 0
        self._lowest = 65_535

    def add(self, samples: NDArray[np.int16], step: int) -> None:
        wide = samples.astype(np.int32)
        ways = wide[step:] - wide[:-step]
        self.changes += int(np.count_nonzero(ways))
        self.way += int(np.abs(ways).sum())
        if len(wide):
            self._samples += len(wide)
            self._sum += int(wide.sum())
            self._lowest = min(self._lowest, int(wide.min()))
            self._highest = max(self._highest, int(wide.max()))

    @property
    def is_likely(self) -> bool:
        """Whether a line can sound like that (rule 2)."""
        is_byte = self._lowest >= 0 and 128 <= self._highest <= 255 and self._highest - self._lowest >= 128
        return not is_byte and abs(self._sum) < _FAR * self._samples


def _swapped(frame: Frame) -> Frame:
    swapped = bytearray(frame.payload[: len(frame.payload) & ~1])
    swapped[0::2], swapped[1::2] = swapped[1::2], swapped[0::2]
    return Frame(frame.track, frame.position, frame.samples, bytes(swapped), frame.messages)
