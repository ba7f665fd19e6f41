"""The waveform of a file that is still being made: the newest points in memory, those before them beside the file.

1. What is found of them comes on the thread that folds, and becomes points when there is some of it, or somebody reads:
   300 bytes a second of a stereo call. They are written when there are minutes of them, by opening the file for it: no
   descriptor is held, and a short call writes once, at its end.
2. It may be read from any thread meanwhile, but for the event loop: who writes holds the lock.
3. After an OSError from any method, call it again: nothing is lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wavstream.removals import Removals
from wavstream.rendering.waveform import Ending, Found, WaveformForm, written
from wavstream.storage.modes import FILE
from wavstream.storage.object_keys import waveform_key
from wavstream.storage.waveform_file import HEAD, Stretch, Window, head_of

WRITTEN_AT_BYTES = 1 << 16
"""Three and a half minutes of a stereo call."""
FOUND_BYTES = 1 << 14
"""Some 20 s of a stereo call: five folds."""


class GrowingWaveform:
    """One of them."""

    def __init__(self, spool: Path, *, removals: Removals) -> None:
        """Begin the waveform of a file in the spool."""
        self.path = spool.with_name(waveform_key(spool.name))
        self._removals = removals
        self._lock = threading.Lock()
        self._form: WaveformForm | None = None
        self._written_bytes = 0
        """Of points, in the file."""
        self._newest = bytearray()
        self._found: list[Found] = []
        """Of what follows the newest points."""
        self._found_bytes = 0
        self._has_file = self._is_finished = False

    def append(self, form: WaveformForm, found: Sequence[Found]) -> None:
        """Take what was found of whole points that follow those before; raises OSError."""
        with self._lock:
            self._form = form
            self._found += found
            self._found_bytes += sum(block.size_bytes for block in found)
            if self._found_bytes >= FOUND_BYTES:
                self._make()
        self.settle()

    def settle(self) -> None:
        """Write what is due; raises OSError."""
        if len(self._newest) >= WRITTEN_AT_BYTES:
            with self._lock:
                self._write()

    def read(self, window: Window) -> Stretch | None:
        """Return what is wanted of it, so far; None: there is nothing yet, or no more. Raises OSError."""
        with self._lock:
            form = self._form
            if form is None:
                return None
            self._make()
            size = form.point_bytes
            points = (self._written_bytes + len(self._newest)) // size
            first, end, factor = window.of(form, points)
            wanted = b""
            if first * size < self._written_bytes:
                with suppress(FileNotFoundError):
                    wanted = self._pread(first * size, min(end * size, self._written_bytes))
            begin = max(0, first * size - self._written_bytes)
            wanted += self._newest[begin : max(begin, end * size - self._written_bytes)]
        if len(wanted) != (end - first) * size:
            return None  # it was discarded, or published
        return Stretch(form, points * form.samples_per_point, first, bytes(wanted), factor)

    def finish(self, ending: Ending) -> None:
        """Cut it where the file ends, and write the rest and its head: it can be published. Raises OSError.

        A second call does nothing: it may have been moved by then.
        """
        with self._lock:
            if self._is_finished:
                return
            self._make()
            kept_bytes = ending.whole_points * ending.form.point_bytes
            self._newest = self._newest[: max(0, kept_bytes - self._written_bytes)] + ending.rest
            self._written_bytes = min(self._written_bytes, kept_bytes)
            self._write(head_of(ending.form, ending.samples))
            self._is_finished = True

    def discard(self) -> None:
        """Remove it; if the disk refuses, that is tried again behind the caller."""
        with self._lock:
            self._form = None
            self._newest.clear()
            self._found.clear()
            if self._has_file:
                self._removals.unlink(self.path)

    def _make(self) -> None:
        """Make points of what was found."""
        if self._found and self._form is not None:
            self._newest += written(self._found, self._form.samples_per_point)
            self._found.clear()
            self._found_bytes = 0

    def _write(self, head: bytes = b"") -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE)
        self._has_file = True
        try:
            _write_all(number, self._newest, HEAD.size + self._written_bytes)
            if head:
                os.ftruncate(number, HEAD.size + self._written_bytes + len(self._newest))
                _write_all(number, head, 0)
        finally:
            os.close(number)
        if not head:
            self._written_bytes += len(self._newest)
            self._newest.clear()

    def _pread(self, start: int, end: int) -> bytes:
        number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(number, end - start, HEAD.size + start)
        finally:
            os.close(number)


def _write_all(number: int, content: bytes | bytearray, at: int) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(number, memoryview(content)[done:], at + done)
