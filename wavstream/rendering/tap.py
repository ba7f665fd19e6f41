"""What goes to the encoder, as it is, for those who listen while the file is made, and for its waveform.

Who listens may be ahead of the file: a fold that waits for less sends what it has, and what the file gets later, at the
same samples, is not heard again. So what the file lacks is remembered until it has it, also when nobody listens any
more, since the next one may listen before; and so are the samples that an encoder holds back. What can be read of the
file so far can always be continued from here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from wavstream.rendering.encoders.wav import pcm_bytes
from wavstream.rendering.waveform import Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELD_BACK = 5 * 1152
"""Samples that LAME and a decoder hold back together, at most: 2,790 were measured up to 24 kHz, 4,698 above."""


class Tap:
    """The samples of one recording on their way into its file."""

    def __init__(self) -> None:
        self.sample_rate_hz = 0
        """Of the file; 0: not decided yet."""
        self.channels = 0
        self.samples = 0
        """Samples of each channel that went by."""
        self.filed = 0
        """Those that went to the file's encoder."""
        self.waveform = Waveform()
        """Of what went to the file's encoder."""
        self._held_back = 0
        self._recent: deque[tuple[int, NDArray[np.int16]]] = deque()
        """(first sample, samples) of what cannot be read from the file."""
        self._heard: list[bytes] | None = None
        """What went by while the tap was on; None: it is off."""

    @property
    def is_on(self) -> bool:
        """Whether somebody listens."""
        return self._heard is not None

    def open(self, *, sample_rate_hz: int, channels: int, is_held_back: bool) -> None:
        """Set the form of the file; ``is_held_back``: its encoder holds samples back."""
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._held_back = HELD_BACK if is_held_back else 0
        self.waveform.open(sample_rate_hz, channels)

    def switch(self, on: bool) -> None:
        """Start or stop collecting what goes by."""
        self._heard = [] if on else None

    def pass_on(self, start: int, block: NDArray[np.int16], *, is_ahead: bool = False) -> None:
        """Take in a block, (samples, channels), that begins at a sample of the file; collect it while the tap is on.

        ``is_ahead``: it is not on its way to the encoder yet.
        """
        if not is_ahead:
            self.filed = start + len(block)
            self.waveform.take(block)
        new = block[max(0, self.samples - start) :]
        if len(new):
            first, self.samples = self.samples, self.samples + len(new)
            if is_ahead:
                self._recent.append((first, new.copy()))
            elif self._held_back:
                # A copy, so that a whole block is not kept in memory for its end.
                kept = new[-HELD_BACK:].copy()
                self._recent.append((self.samples - len(kept), kept))
            if self._heard is not None:
                self._heard.append(pcm_bytes(new))
        while self._recent and self._recent[0][0] + len(self._recent[0][1]) <= self.filed - self._held_back:
            self._recent.popleft()

    def heard(self) -> bytes:
        """Return what went by since the last call, interleaved, little-endian; nothing while turned off."""
        if not self._heard:
            return b""
        heard, self._heard = self._heard, []
        return b"".join(heard)

    def recent(self) -> bytes:
        """Return the newest samples: what the file lacks, and before it what its encoder holds back, if it does."""
        first = self.filed - self._held_back
        return b"".join(pcm_bytes(block[max(0, first - start) :]) for start, block in self._recent)
