"""The making of one file: a journal is read, folded and appended to a spool file, a slice at a time.

A job does the same in a live call and after a crash: it reads what the journal has. Its methods run on the render
thread or a helper of it, one at a time, but for ``finish``, ``begin_again`` and ``discard``, which run while nothing is
folded. What may be read from any thread says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from wavstream.journal.amendments import Amendments
from wavstream.journal.events import RecordingStopped
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import ClockRecord, EventRecord, Item
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.recorder.file_snapshot import FileSnapshot, SharedFd
from wavstream.recorder.growing_waveform import GrowingWaveform
from wavstream.recorder.spool_file import SpoolFile
from wavstream.removals import Removals
from wavstream.rendering.account import FileAccount
from wavstream.rendering.fold import Fold
from wavstream.rendering.tap import Tap
from wavstream.rendering.timeline.clock import Patience

SLICE_BYTES = 1 << 17
"""Journal read in one go: a few milliseconds of folding, and what each of many recordings that are behind has in memory
of what it reads."""


class RenderJob:
    """Reader, fold and spool file of one recording."""

    def __init__(
        self,
        recording: Recording,
        *,
        reader: JournalReader,
        spool: Path,
        patience: Patience,
        on_automatic_end: Callable[[RecordingStopped], None],
        removals: Removals | None = None,
        slice_bytes: int = SLICE_BYTES,
        amendments: Iterable[EventRecord] = (),
    ) -> None:
        """Prepare to fold; ``on_automatic_end`` is called once, on the event loop, if the fold ends the recording."""
        self.recording_id = recording.id
        self.session_id = recording.session_id
        self.app_id = recording.app_id
        self.file_format = recording.options.format
        self.spool = spool
        self.on_automatic_end = on_automatic_end
        self.is_followed = False
        """Whether it is folded for its listeners, at each clock record that decides something, and not with others."""
        self.awaits_stop = False
        """Whether the journal has its stop record, so that nothing that is there is too much to look for it."""
        self.awaits_journal = False
        """Whether the first part of the journal is not here yet: then nothing is folded."""
        self.stuck: OSError | None = None
        """The disk's error of the last slice; it is tried again."""
        self.broken: Exception | None = None
        """An error of ours: the fold cannot go on."""
        self._may_end = recording.options.may_end
        self._is_due = False
        self._reader = reader
        self._patience = patience
        self._removals = removals or Removals()
        self._given_amendments = tuple(amendments)
        self._fold = Fold(recording.id, patience=patience)
        self._file = SpoolFile(spool, removals=self._removals)
        self.waveform = GrowingWaveform(spool, removals=self._removals)
        self._slice_bytes = slice_bytes
        self._amendments = Amendments(self._given_amendments)
        self._unfolded: deque[Item] = deque()
        """What was read and is not folded: more than nothing only where the disk has refused what was before it."""
        self._is_end_taken = False
        self._hear: Callable[[bytes], None] | None = None

    def is_due(self) -> bool:
        """Return whether to fold now, of the moments at which a session's recordings are folded.

        Where nobody waits for what the fold finds out, every second one is soon enough: to read, hash and append 3.6 s
        costs little more than 1.8 s. Nothing more is in memory meanwhile, since the journal has it.
        """
        self._is_due = self._may_end or not self._is_due
        return self._is_due

    def advance(self) -> bool:
        """Fold the next slice of what the journal has; return whether there is more.

        Raises OSError if the disk refuses; it can then be called again.
        """
        self._file.settle()
        self.waveform.settle()
        if self.is_complete or self.awaits_journal:
            return False
        fold, items = self._fold, self._unfolded
        if not items:
            items += self._amendments.put_into(self._reader.read(max_bytes=self._slice_bytes))
        has_read = bool(items)
        # A batch may be megabytes, of a sender that is ahead of the clock, and what they become of the file is more. So
        # no more of it is folded in one go than up to a clock record, and what is folded is kept no longer.
        is_large = sum(item.size_bytes for item in items if isinstance(item, FrameRun)) > self._slice_bytes
        while items and not self.is_complete:
            audio = fold.feed(_taken(items, up_to_clock=is_large))
            if self._hear is not None and (heard := fold.tap.heard()):
                self._hear(heard)
            if audio:
                # Only the first header is used; that of an MP3 file costs more than appending does.
                header = b"" if self._file.size_bytes else fold.header()
                self._file.append(header, audio, kept_bytes=fold.kept_bytes)
            waveform = fold.tap.waveform
            if (found := waveform.found()) and waveform.form is not None:
                self.waveform.append(waveform.form, found)
        # A segment that is missing is seen by a read that finds nothing.
        is_more = not self._reader.at_end or (self.awaits_stop and has_read)
        return is_more and not self.is_complete

    @property
    def ended(self) -> RecordingStopped | None:
        """How the recording ended, once the fold has come to its end; perhaps by itself, before anyone stopped it."""
        return self._fold.ended

    @property
    def is_complete(self) -> bool:
        """Whether the stop record has been folded."""
        return self._fold.complete

    @property
    def is_journal_damaged(self) -> bool:
        """Whether something is missing in what was read of the journal."""
        return self._reader.is_damaged

    @property
    def is_mostly_encoding(self) -> bool:
        """Whether what a fold costs lets other threads run meanwhile, and nobody hears what it gives."""
        return self.file_format is FileFormat.MP3 and not self.is_followed and self._hear is None

    def take_automatic_end(self) -> RecordingStopped | None:
        """Return the end that the fold has found by itself: once, and only if nobody has stopped the recording."""
        if self._is_end_taken or self.ended is None or self.is_complete:
            return None
        self._is_end_taken = True
        return self.ended

    def take_remarks(self) -> list[str]:
        """Return what the fold has noticed since the last call, a sentence each, for the log."""
        remarks, self._fold.remarks[:] = self._fold.remarks[:], []
        return remarks

    # ---- listening -------------------------------------------------------------------------------------------------

    @property
    def tap(self) -> Tap:
        """What is known of the samples that go into the file; may be read from any thread."""
        return self._fold.tap

    @property
    def next_point_us(self) -> int:
        """The journal's time from which on a clock record brings more into the file; may be read from any thread."""
        return self._fold.next_point_us

    @property
    def journal_key(self) -> str:
        """The key of the journal that is folded; may be read from any thread."""
        return self._reader.key

    @property
    def size_bytes(self) -> int:
        """Bytes of the file so far; to be read on any thread."""
        return self._file.size_bytes

    def account(self) -> FileAccount:
        """Return what there is to say of the file so far."""
        return self._fold.account()

    def set_listener(self, hear: Callable[[bytes], None] | None) -> None:
        """Hand ``hear`` what goes into the file from here on, as interleaved samples; None: hand it to nobody."""
        if (hear is None) != (self._hear is None):
            self.tap.switch(hear is not None)
        self._hear = hear

    def snapshot(self) -> FileSnapshot | None:
        """Return what there is by now, which what is heard next follows; None: the recording is over."""
        tap, file = self.tap, self._file
        if self.is_complete:
            return None
        number = file.descriptor()
        is_mp3 = self.file_format is FileFormat.MP3
        return FileSnapshot(
            sample_rate_hz=tap.sample_rate_hz,
            channels=tap.channels,
            samples=tap.samples,
            is_mp3=is_mp3,
            file=None if number is None else SharedFd(number),
            header_bytes=file.size_bytes - file.audio_bytes,
            audio_bytes=file.audio_bytes,
            rest=tap.recent() if is_mp3 else file.owed + tap.recent(),
        )

    # ---- the end ---------------------------------------------------------------------------------------------------

    def finish(self, recording: Recording) -> Recording:
        """Complete and close the spool file; return the recording with its receipt, ``absent`` if it has no audio."""
        self._reader.close()
        if self._fold.started is not None:
            recording = replace(recording, started_at=recording.started_at or self._fold.started.started_at)
        account, waveform = self._fold.account(), self._fold.tap.waveform
        if not self._fold.has_audio:
            self._file.discard()
            self.waveform.discard()
            status, size_bytes, sha256 = Status.ABSENT, 0, ""
        else:
            self._file.finish(self._fold.header())
            if (ending := waveform.ending(account.samples)) is not None:
                self.waveform.finish(ending)
            status, size_bytes, sha256 = Status.AVAILABLE, self._file.size_bytes, self._file.audio_sha256
        receipt = account.receipt(audio_sha256=sha256, size_bytes=size_bytes)
        return replace(recording, status=status, receipt=receipt)

    def begin_again(self) -> None:
        """Begin anew, with another file: what was written may be lost. Nothing may be folded now."""
        with suppress(OSError):  # what is left in the spool goes at the next start
            self.discard()
        stem, _, number = self.spool.stem.partition("~")
        self.spool = self.spool.with_stem(f"{stem}~{int(number or 1) + 1}")
        self._reader = self._reader.again()
        self._unfolded.clear()
        self._fold = Fold(self.recording_id, patience=self._patience)
        self._amendments = Amendments(self._given_amendments)
        self._file = SpoolFile(self.spool, removals=self._removals)
        self.waveform = GrowingWaveform(self.spool, removals=self._removals)

    def discard(self) -> None:
        """Close the journal and remove the spool file, with its waveform."""
        self._reader.close()
        self.waveform.discard()
        self._file.discard()


def _taken(items: deque[Item], *, up_to_clock: bool) -> Iterator[Item]:
    """Take all items, or those up to a clock record, one after the other: who has them last lets them go."""
    while items:
        item = items.popleft()
        yield item
        if up_to_clock and isinstance(item, ClockRecord):
            break
