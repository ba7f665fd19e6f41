"""A finished file in the other format: a WAV recording as MP3, an MP3 recording as WAV.

From the receipt alone it is known how many bytes the file is going to have and what its header says. So it is written
from its first byte to its last, and whoever wants it can be sent what is there.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavstream.conversion.decoding import decoded
from wavstream.errors import InternalError
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording
from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.encoders.encoder import Encoder, file_rate_hz, new_encoder

BLOCK_SAMPLES = 65_536
"""Of each channel: about 15 ms of LAME's work, in stereo."""

_OTHER = {FileFormat.WAV: FileFormat.MP3, FileFormat.MP3: FileFormat.WAV}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What becomes of one recording's file."""

    file_format: FileFormat
    rate_hz: int
    """Of the new file: MP3 does not have every rate."""
    channels: int
    samples: int
    """Of each channel of the new file."""
    recorded_hz: int
    recorded_samples: int

    @classmethod
    def of(cls, recording: Recording) -> Conversion:
        """Return the conversion of an available recording to the format that it does not have."""
        receipt = recording.receipt
        if receipt is None:
            raise InternalError(f"recording {recording.id} is available without a receipt")
        file_format = _OTHER[recording.options.format]
        rate_hz = file_rate_hz(file_format, receipt.sample_rate)
        samples = -(-receipt.samples * rate_hz // receipt.sample_rate)
        return cls(file_format, rate_hz, receipt.channels, samples, receipt.sample_rate, receipt.samples)

    @property
    def size_bytes(self) -> int:
        """Of the whole new file."""
        encoder = self._encoder()
        return len(encoder.header(self.samples)) + encoder.audio_bytes(self.samples)

    def write(self, source: io.BufferedReader, target: Path, *, grown: Callable[[int], None]) -> None:
        """Convert an open file; ``grown`` is told how many bytes of the new one can be read by now. Blocks.

        Raises OSError, StoreError, and InternalError if the source is not what its receipt says.
        """
        encoder = self._encoder()
        with _made(target) as file:
            made_bytes = file.write(encoder.header(self.samples))
            for block in self._blocks(source):
                made_bytes += file.write(encoder.encode(block))
                file.flush()
                grown(made_bytes)
            made_bytes += file.write(encoder.finish())
            file.flush()
        if made_bytes != self.size_bytes:
            raise InternalError(f"{target.name} became {made_bytes} bytes of {self.file_format}, not {self.size_bytes}")
        grown(made_bytes)

    def _encoder(self) -> Encoder:
        return new_encoder(self.file_format, sample_rate_hz=self.rate_hz, channels=self.channels)

    def _blocks(self, source: io.BufferedReader) -> Iterator[NDArray[np.int16]]:
        recorded = _recorded(source, self.recorded_samples)
        return recorded if self.rate_hz == self.recorded_hz else self._resampled(recorded)

    def _resampled(self, blocks: Iterator[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
        resamplers = [Resampler(self.recorded_hz, self.rate_hz) for _ in range(self.channels)]
        left = self.samples
        for block in blocks:
            ready = np.stack([each.feed(block[:, column]) for column, each in enumerate(resamplers)], axis=1)
            left -= len(ready)
            yield ready
        rest = np.stack([each.finish() for each in resamplers], axis=1)[:left]
        yield np.concatenate([rest, np.zeros((left - len(rest), self.channels), np.int16)])


def _made(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


def _recorded(source: io.BufferedReader, samples: int) -> Iterator[NDArray[np.int16]]:
    """Yield the blocks, (n, channels), of a file; raise InternalError if it has not so many samples of each channel."""
    try:
        with decoded(source) as file:
            read = functools.partial(file.read, BLOCK_SAMPLES, dtype="int16", always_2d=True)
            while len(block := read()):
                samples -= len(block)
                yield block
    except soundfile.LibsndfileError as error:
        raise InternalError(f"a recording cannot be read: {error.error_string}") from error
    if samples:
        raise InternalError("a recording is not as long as its receipt says")
