"""What there is of a recording at one moment, as samples, read from the file that is being made. All of it blocks.

A WAV file is read as it lies there. Of an MP3 file what is asked for is decoded, with the few frames before it that
lend something to its first (see ``Mp3Frames``): the end of a call of an hour costs what its beginning does. What the
encoder still holds back, or the disk has not taken, comes from memory.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavstream.errors import DependencyError
from wavstream.rendering.encoders.mp3 import DELAY, Mp3Frames

PIECE_BYTES = 65_536
_DECODER_DELAY = 529
"""Samples that an MP3 decoder puts before the first, on top of the encoder's; libsndfile (mpg123) as measured."""
_SAMPLE_BYTES = 2
_MORE_FRAMES = 2


class SharedFd:
    """An open file that one thread may close while another reads it: the number may then be another file's."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be read."""
        return self._is_closed

    def read(self, length_bytes: int, offset: int) -> bytes:
        """Return what lies there; nothing at the end of the file, and once it is closed. Raises OSError."""
        with self._lock:
            return b"" if self._is_closed else os.pread(self._number, length_bytes, offset)

    def size_bytes(self) -> int:
        """Return the size of the file, 0 once it is closed; raises OSError."""
        with self._lock:
            return 0 if self._is_closed else os.fstat(self._number).st_size

    def is_linked(self) -> bool:
        """Return whether it still has a name in some folder; raises OSError."""
        with self._lock:
            return not self._is_closed and os.fstat(self._number).st_nlink > 0

    def close(self) -> None:
        """Close it; a second call does nothing."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._number)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSnapshot:
    """One moment of a growing file. Positions are bytes of interleaved 16-bit samples from the recording's start."""

    sample_rate_hz: int
    channels: int
    samples: int
    """Of each channel, that were recorded by then."""
    is_mp3: bool
    file: SharedFd | None = field(repr=False)
    """None: there is none yet."""
    header_bytes: int
    audio_bytes: int
    """In the file, after its header."""
    rest: bytes = field(default=b"", repr=False)
    """The samples up to the end that the file may lack."""

    @property
    def size_bytes(self) -> int:
        """The position of the end."""
        return self.samples * self._step_bytes

    def whole(self, samples: int) -> FileSnapshot:
        """Return the same file, which there must be, now that all its ``samples`` are in it."""
        assert self.file is not None
        audio_bytes = self.file.size_bytes() - self.header_bytes
        return replace(self, samples=samples, audio_bytes=audio_bytes, rest=b"")

    def pieces(self, start: int, end: int | None = None) -> Iterator[bytes]:
        """Yield what lies from ``start`` to ``end``, or the end of all, in pieces; each is read when it is asked for.

        Ends early once the file is closed. Raises OSError, or DependencyError where the file lacks more than memory
        has.
        """
        end = self.size_bytes if end is None else min(end, self.size_bytes)
        done = start
        for at, piece in self._decoded(start, end) if self.is_mp3 else self._read(start, end):
            if at > done:
                break
            part = piece[done - at : end - at] if at + len(piece) > done else b""
            if part:
                yield part
                done += len(part)
            if done >= end:
                return
        if self.file is not None and self.file.is_closed:
            return
        rest_at = self.size_bytes - len(self.rest)
        if done < rest_at and self.rest:
            raise DependencyError(f"the spool has not taken {rest_at - done} bytes of a recording yet")
        if part := self.rest[done - rest_at : end - rest_at]:
            yield part

    def _read(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        end = min(end, self.audio_bytes) if self.file is not None else 0
        while start < end and (piece := self._pread(min(PIECE_BYTES, end - start), start)):
            yield start, piece
            start += len(piece)

    def _pread(self, length_bytes: int, at: int) -> bytes:
        assert self.file is not None
        return self.file.read(length_bytes, self.header_bytes + at)

    def _decoded(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        if self.file is None or not self.audio_bytes or start >= self.size_bytes - len(self.rest):
            return
        frames = Mp3Frames(sample_rate_hz=self.sample_rate_hz, channels=self.channels)
        delay = DELAY + _DECODER_DELAY
        first = frames.start_for((start // self._step_bytes + delay) // frames.samples)
        # Two frames more than needed: a decoder that is told the end may hold back what it has.
        after = (end // self._step_bytes + delay) // frames.samples + 1 + _MORE_FRAMES
        at_bytes = frames.offset_bytes(first)
        upto_bytes = min(self.audio_bytes, frames.offset_bytes(after))
        opening = frames.opening(first, self._pread(frames.opening_bytes(first), at_bytes))
        try:
            part = _Part(self.file, self.header_bytes + at_bytes, upto_bytes - at_bytes, opening=opening)
            file = Forward(part)
        except soundfile.LibsndfileError:
            return  # less than the frame or two that it takes to be known as MP3
        with file:
            at = (first * frames.samples - delay) * self._step_bytes
            while len(block := self._block(file)):
                piece = block.astype("<i2", copy=False).tobytes()
                if at >= start:
                    yield at, piece
                elif at + len(piece) > start:
                    yield start, piece[start - at :]
                at += len(piece)

    def _block(self, file: soundfile.SoundFile) -> NDArray[np.int16]:
        try:
            block: NDArray[np.int16] = file.read(PIECE_BYTES // self._step_bytes, dtype="int16", always_2d=True)
            return block
        except soundfile.LibsndfileError as error:
            assert self.file is not None
            if self.file.is_closed:
                # Its bytes ended in the middle of what the decoder had asked for.
                return np.zeros((0, self.channels), np.int16)
            raise DependencyError(f"the MP3 of a running recording cannot be decoded: {error}") from error

    @property
    def _step_bytes(self) -> int:
        return self.channels * _SAMPLE_BYTES


class Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file read from its start to its end. After each read of one that is seekable, soundfile seeks to where it is:
    an MP3 is then decoded anew from some frames before, of which mpg123 complains on stderr (soundfile 0.14)."""

    def seekable(self) -> bool:
        """Return False, whatever the file is."""
        return False


class _Part(io.RawIOBase):
    """A part of a file as a file of its own, which is what libsndfile can be given."""

    def __init__(self, file: SharedFd, offset: int, size_bytes: int, *, opening: bytes) -> None:
        """Take a part of a file; ``opening`` stands in place of its first bytes."""
        self._file, self._offset, self._size_bytes = file, offset, size_bytes
        self._opening = opening
        self._at = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size_bytes - self._at))
        piece = self._opening[self._at : self._at + wanted] or self._file.read(wanted, self._offset + self._at)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        return self._at
