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
_HEAD_BYTES = 4
_DECODED_BEFORE = 2
_MPEG1_HZ = 32_000
"""From this rate on a frame is two granules of 576 samples, below it is one."""


class Mp3Frames:
    """The frames of a file: where each begins is known, and from where on a decoder can be given them.

    What a frame borrows lies in the bit reservoir, which is the data of frames before it. So a decoder that starts in
    the middle is given some of those with an empty description: it plays nothing of them and keeps their data. Then
    come two that it decodes: each frame overlaps the one before, and the filter behind remembers as much. What follows
    is what it is when everything is decoded, but for the rounding of the last bit (all rates, 1 and 2 channels).
    """

    def __init__(self, *, sample_rate_hz: int, channels: int) -> None:
        is_mpeg1 = sample_rate_hz >= _MPEG1_HZ
        self.kbps = MONO_KBPS[sample_rate_hz] * channels
        self.samples = 1152 if is_mpeg1 else 576
        """Of each channel in a frame."""
        # Where frames are no whole number of bytes LAME adds one to as many as it takes.
        self.bytes, self._odd = divmod(self.samples // 8 * self.kbps * 1000, sample_rate_hz)
        self._sample_rate_hz = sample_rate_hz
        # Of each frame: the head, and the description of what is in it. It begins with how far back the data begins.
        self._described_bytes = (17, 32)[channels - 1] if is_mpeg1 else (9, 17)[channels - 1]
        self._back_bits = 9 if is_mpeg1 else 8
        self._reach_bytes = (1 << self._back_bits) - 1
        self._silenced = 1 + self._reach_bytes // (self.bytes - _HEAD_BYTES - self._described_bytes)

    def offset_bytes(self, frame: int) -> int:
        """Return where a frame begins, and those before it end, behind the header of the file."""
        # LAME's first frame has no odd byte.
        return frame * self.bytes - (1 - frame) * self._odd // self._sample_rate_hz if frame else 0

    def start_for(self, frame: int) -> int:
        """Return the frame from which on a decoder needs the file, to get ``frame`` right."""
        start = frame - _DECODED_BEFORE - self._silenced
        # libsndfile takes all frames to be as long as the first and reads no further: it must not have an odd byte.
        while start > 0 and self.offset_bytes(start + 1) - self.offset_bytes(start) > self.bytes:
            start -= 1
        return max(start, 0)

    def opening_bytes(self, start: int) -> int:
        """Return how many bytes ``opening`` takes."""
        return self.offset_bytes(start + self._silenced) - self.offset_bytes(start) if start else 0

    def opening(self, start: int, data: bytes) -> bytes:
        """Return what a decoder is given in place of the frames at ``start``: their data, and nothing to play."""
        if not start:
            return data
        opening, begin = bytearray(data), self.offset_bytes(start)
        for number in range(self._silenced):
            at = self.offset_bytes(start + number) - begin + _HEAD_BYTES
            before = at - _HEAD_BYTES - number * (_HEAD_BYTES + self._described_bytes)
            back = min(self._reach_bytes, before) << (8 * self._described_bytes - self._back_bits)
            opening[at : at + self._described_bytes] = back.to_bytes(self._described_bytes, "big")
        return bytes(opening)


class Mp3Encoder:
    """One MP3 file."""

    def __init__(self, *, sample_rate_hz: int, channels: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._layout = Mp3Frames(sample_rate_hz=sample_rate_hz, channels=channels)
        kbps, frame_bytes = self._layout.kbps, self._layout.bytes
        self._info = InfoFrame(sample_rate_hz=sample_rate_hz, channels=channels, kbps=kbps, frame_bytes=frame_bytes)
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
        return self._layout.offset_bytes(self._frames(samples))

    def header(self, samples: int) -> bytes:
        """Return the Info frame of a file of so many samples."""
        frames = self._frames(samples)
        return self._info.encode(
            frames=frames,
            audio_bytes=self.audio_bytes(samples),
            delay=DELAY,
            padding=frames * self._layout.samples - DELAY - samples if frames else 0,
        )

    def _frames(self, samples: int) -> int:
        return -(-(DELAY + samples + MIN_PADDING) // self._layout.samples) if samples else 0

    def _new_lame(self) -> Any:
        lame = lameenc.Encoder()
        lame.silence()
        lame.set_in_sample_rate(self._sample_rate_hz)
        lame.set_out_sample_rate(self._sample_rate_hz)
        lame.set_channels(self._channels)
        lame.set_bit_rate(self._layout.kbps)
        lame.set_quality(_QUALITY)
        return lame
