"""What goes to the encoder, as it is, for those who listen while the file is made.

While nobody listens only samples are counted. An encoder that holds samples back leaves its file behind the recording:
then the newest are remembered, so that what can be decoded of the file so far can always be continued from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wavstream.rendering.encoders.wav import pcm_bytes

if TYPE_CHECKING:
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
        self._remembers = False
        self._recent: list[NDArray[np.int16]] = []
        self._heard: list[bytes] | None = None
        """What went by while the tap was on; None: it is off."""

    def open(self, *, sample_rate_hz: int, channels: int, is_held_back: bool) -> None:
        """Set the form of the file; ``is_held_back``: its encoder holds samples back."""
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._remembers = is_held_back

    def switch(self, on: bool) -> None:
        """Start or stop collecting what goes by."""
        self._heard = [] if on else None

    def pass_on(self, block: NDArray[np.int16]) -> None:
        """Count a block, (samples, channels), on its way to the encoder, and collect it while the tap is on."""
        self.samples += len(block)
        if self._remembers:
            self._remember(block)
        if self._heard is not None:
            self._heard.append(pcm_bytes(block))

    def heard(self) -> bytes:
        """Return what went by since the last call, interleaved, little-endian; nothing while turned off."""
        if not self._heard:
            return b""
        heard, self._heard = self._heard, []
        return b"".join(heard)

    def recent(self) -> bytes:
        """Return the newest samples, ``HELD_BACK`` of each channel, or all if there are fewer.

        Nothing where the encoder holds nothing back.
        """
        return b"".join(map(pcm_bytes, self._recent))

    def _remember(self, block: NDArray[np.int16]) -> None:
        # Copies, so that a whole block is not kept in memory for its end.
        if len(block) >= HELD_BACK:
            self._recent = [block[-HELD_BACK:].copy()]
            return
        recent = np.concatenate((*self._recent, block))
        self._recent = [recent[-HELD_BACK:].copy()]
