"""MP3 by LAME at a constant bit rate, with nothing lost or added at either end.

MP3 is made of frames of a fixed number of samples, and LAME needs 576 samples before the first and 576 or more after
the last. The Info frame, which is the header of our files, says how many of both a player has to drop; so what is
played is what was recorded, to the sample.

At a constant bit rate the size of so many frames is known before they are made, and a frame needs nothing that comes
after it: what it borrows from the bit reservoir lies in frames before. So a file that is cut after a frame, with an
Info frame that is right for it, is a whole file of the samples up to there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lameenc

from wavstream.rendering.encoders.info_frame import InfoFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MONO_KBPS = {
    8_000: 32,
    11_025: 32,
    12_000: 32,
    16_000: 48,
    22_050: 56,
    24_000: 64,
    32_000: 80,
    44_100: 96,
    48_000: 96,
}
"""Kilobits a second of a mono file by its rate; stereo has twice that. MPEG-2.5 ends at 64, for both channels."""
RATES_HZ = tuple(MONO_KBPS)
DELAY = 576
"""Samples that LAME puts before the first of ours."""
MIN_PADDING = 576
"""Samples that LAME puts after the last of ours, at least; the frame is filled up with more."""
_QUALITY = 5
_MPEG1_HZ = 32_000
"""From this rate on a frame is two granules of 576 samples, below it is one."""


class Mp3Encoder:
    """One MP3 file."""

    def __init__(self, *, sample_rate_hz: int, channels: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._frame_samples = 1152 if sample_rate_hz >= _MPEG1_HZ else 576
        kbps = MONO_KBPS[sample_rate_hz] * channels
        # Where frames are no whole number of bytes LAME adds one to as many as it takes.
        self._frame_bytes, self._odd = divmod(self._frame_samples // 8 * kbps * 1000, sample_rate_hz)
        self._info = InfoFrame(
            sample_rate_hz=sample_rate_hz, channels=channels, kbps=kbps, frame_bytes=self._frame_bytes
        )
        self._kbps = kbps
        # LAME takes 350 kB; a recording that nobody speaks in yet does not need it.
        self._lame: Any = None

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """Return the frames that the block completes; LAME holds back about two."""
        if not len(block):
            return b""
        if self._lame is None:
            self._lame = self._new_lame()
        return bytes(self._lame.encode(block.tobytes()))

    def finish(self) -> bytes:
        """Return the frames that were held back."""
        if self._lame is None:
            return b""
        rest = bytes(self._lame.flush())
        self._lame = None
        return rest

    def audio_bytes(self, samples: int) -> int:
        """Return the bytes of the frames that it takes to play so many samples."""
        frames = self._frames(samples)
        # LAME's first frame has no odd byte.
        return frames * self._frame_bytes - (1 - frames) * self._odd // self._sample_rate_hz

    def header(self, samples: int) -> bytes:
        """Return the Info frame of a file of so many samples."""
        frames = self._frames(samples)
        return self._info.encode(
            frames=frames,
            audio_bytes=self.audio_bytes(samples),
            delay=DELAY,
            padding=frames * self._frame_samples - DELAY - samples if frames else 0,
        )

    def _frames(self, samples: int) -> int:
        return -(-(DELAY + samples + MIN_PADDING) // self._frame_samples) if samples else 0

    def _new_lame(self) -> Any:
        lame = lameenc.Encoder()
        lame.silence()
        lame.set_in_sample_rate(self._sample_rate_hz)
        lame.set_out_sample_rate(self._sample_rate_hz)
        lame.set_channels(self._channels)
        lame.set_bit_rate(self._kbps)
        lame.set_quality(_QUALITY)
        return lame
