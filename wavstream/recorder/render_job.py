"""One recording being made: its journal read, folded and appended to its spool file, a slice at a time.

All methods that touch the disk run on the render thread, one at a time. A rendering does the same in a live call and
after a crash: it reads what the journal has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wavstream.journal.events import RecordingStopped
from wavstream.journal.reader import JournalReader
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.recorder.spool_file import SpoolFile
from wavstream.rendering.fold import Fold
from wavstream.rendering.tap import Tap

SLICE_BYTES = 1 << 20
"""Journal read in one go: about 15 ms of folding, which is what a stop may have to wait for a recovery."""


class RenderJob:
    """Reader, fold and spool file of one recording."""

    def __init__(self, recording: Recording, *, reader: JournalReader, spool: Path, stall_wait_us: int) -> None:
        self.recording = recording
        self.spool = spool
        self.stuck: OSError | None = None
        """The disk's error of the last slice; it is tried again."""
        self.broken: Exception | None = None
        """An error of ours: the fold cannot go on."""
        self._reader = reader
        self._fold = Fold(recording.id, stall_wait_us=stall_wait_us)
        self._file = SpoolFile(spool)
        self._is_told = False
        self._hear: Callable[[bytes], None] | None = None

    @property
    def ended(self) -> RecordingStopped | None:
        """How the recording ended, once the fold has come to its end; by itself, perhaps, before anyone stopped it."""
        return self._fold.ended

    def take_automatic_end(self) -> RecordingStopped | None:
        """The end that the recording has found by itself; given once, and only if nobody has stopped it."""
        if self._is_told or self.ended is None or self.complete:
            return None
        self._is_told = True
        return self.ended

    def take_remarks(self) -> list[str]:
        """What the fold has noticed since the last call, a sentence each, for the log."""
        remarks, self._fold.remarks[:] = self._fold.remarks[:], []
        return remarks

    @property
    def complete(self) -> bool:
        """Whether the stop record has been folded."""
        return self._fold.complete

    def advance(self) -> bool:
        """Fold the next slice; True when there may be more. After an OSError it can be called again."""
        self._file.settle()
        if self.complete:
            return False
        items = self._reader.read(max_bytes=SLICE_BYTES)
        fold = self._fold
        audio = fold.feed(items)
        if self._hear is not None and (heard := fold.tap.heard()):
            self._hear(heard)
        if audio:
            # Only the first is taken; of an MP3 file it costs more than appending.
            header = b"" if self._file.size_bytes else fold.header()
            self._file.append(header, audio, kept_bytes=fold.kept_bytes)
        return not self._reader.at_end and not self.complete

    # ---- listening -------------------------------------------------------------------------------------------------

    @property
    def tap(self) -> Tap:
        """What is known of the samples that go into the file; to be read from any thread."""
        return self._fold.tap

    @property
    def next_point_us(self) -> int:
        """The journal's time from which on a clock record brings more into the file; to be read from any thread."""
        return self._fold.next_point_us

    @property
    def journal_key(self) -> str:
        """Whose journal it is."""
        return self._reader.key

    def let_hear(self, hear: Callable[[bytes], None] | None) -> None:
        """Hand ``hear`` what goes into the file from here on, as interleaved samples; None: hand it to nobody."""
        if (hear is None) != (self._hear is None):
            self.tap.turn(hear is not None)
        self._hear = hear

    def so_far(self) -> FileSnapshot | None:
        """What there is by now, behind which goes what is heard next; None: the file is taken from here."""
        tap, file = self.tap, self._file
        if self.complete:
            return None
        number = file.descriptor()
        is_mp3 = self.recording.options.format is FileFormat.MP3
        return FileSnapshot(
            sample_rate_hz=tap.sample_rate_hz,
            channels=tap.channels,
            samples=tap.samples,
            is_mp3=is_mp3,
            file=None if number is None else SharedFd(number),
            header_bytes=file.size_bytes - file.audio_bytes,
            audio_bytes=file.audio_bytes,
            rest=tap.recent() if is_mp3 else file.owed,
        )

    # ---- the end ---------------------------------------------------------------------------------------------------

    def note_end(self) -> None:
        """Note how the recording, which is complete and has its expiry, really ended: a stop may have come later."""
        ended, recording = self._fold.ended, self.recording
        assert ended is not None
        assert recording.ended_at is not None
        if ended.reason.is_automatic:
            ended_at, expires_at = utc(ended.end_us), recording.expires_at
            if expires_at is not None:
                expires_at -= recording.ended_at - ended_at
            self.recording = replace(recording, end_reason=ended.reason, ended_at=ended_at, expires_at=expires_at)

    def finish(self) -> Recording:
        """The recording with its receipt, its spool file complete and closed; ``absent`` if there was no audio."""
        self._reader.close()
        recording = self.recording
        if self._fold.started is not None:
            recording = replace(recording, started_at=recording.started_at or self._fold.started.started_at)
        if not self._fold.has_audio:
            self._file.discard()
            status, size_bytes, sha256 = Status.ABSENT, 0, ""
        else:
            self._file.finish(self._fold.header())
            status, size_bytes, sha256 = Status.AVAILABLE, self._file.size_bytes, self._file.audio_sha256
        receipt = self._fold.account().receipt(audio_sha256=sha256, size_bytes=size_bytes)
        return replace(recording, status=status, receipt=receipt)

    def discard(self) -> None:
        """Let go of the journal and remove the spool file."""
        self._reader.close()
        self._file.discard()
