"""``wavstream replay``: fold a journal again, with no clock and no socket, to the same bytes as live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from wavstream.errors import OperatorError
from wavstream.journal.amendments import Amendments
from wavstream.journal.events import RecordingStopped
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import BrokenSegment, EventRecord, Item
from wavstream.journal.segments import segments_of
from wavstream.model.recording import EndReason
from wavstream.recorder.render_job import SLICE_BYTES
from wavstream.recorder.spool_file import SpoolFile
from wavstream.recovery.journal_summary import JournalSummary, read_patiently, read_summary
from wavstream.rendering.fold import Fold
from wavstream.rendering.timeline.clock import Patience


def run_replay(
    journal: Path, *, output: Path | None, recording_id: str | None, patience: Patience, console: Console
) -> None:
    """Write the file of one recording of the journal that the segment belongs to; raise OperatorError."""
    folder, key = journal.parent, journal.name.rpartition("-")[0]
    if not journal.exists() or not key:
        raise OperatorError(f"{journal} is not a segment of a journal: name one, such as data/journal/KEY-000001.wsj")
    try:
        summary = read_summary(folder, key)
    except (BrokenSegment, OSError) as error:
        raise OperatorError(f"{journal} cannot be read: {error}") from error
    chosen = _choose(summary, recording_id, journal)
    output = output or Path(f"{chosen}.{summary.recordings[chosen].options.format}")
    if not output.parent.is_dir():  # the spool would have it made
        raise OperatorError(
            f"{output} cannot be written: there is no folder {output.parent}, make it, or name another "
            "file with --output"
        )
    try:
        fold = replay(
            folder,
            key,
            chosen,
            output=output,
            patience=patience,
            last_us=summary.last_us,
            console=console,
            amendments=summary.amendments,
        )
    except OSError as error:
        raise OperatorError(
            f"{output} cannot be written ({error.strerror}): name another file with --output"
        ) from error
    for problem in summary.problems:
        console.print(f"note: {problem}", markup=False)
    account = fold.account()
    seconds = account.samples / account.sample_rate if account.sample_rate else 0.0
    console.print(f"{output}: {seconds:.3f} s, {account.channels} channels, {account.sample_rate} Hz", markup=False)


def replay(
    folder: Path,
    key: str,
    recording_id: str,
    *,
    output: Path,
    patience: Patience,
    last_us: int,
    console: Console,
    amendments: Iterable[EventRecord] = (),
) -> Fold:
    """Fold the recording into ``output``; if the journal has no stop of it, it ends where the journal ends."""
    fold = Fold(recording_id, patience=patience)
    file = SpoolFile(output)
    reader = JournalReader(folder, key)
    amended = Amendments(amendments)

    def feed(items: Sequence[Item]) -> None:
        audio = fold.feed(amended.put_into(items))
        if audio:
            file.append(fold.header(), audio, kept_bytes=fold.kept_bytes)

    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("folding", total=len(segments_of(folder, key)))
        for segment, found in read_patiently(reader, max_bytes=SLICE_BYTES):
            feed(found)
            progress.update(bar, completed=segment)
            if fold.complete:
                break
    reader.close()
    if fold.ended is None:
        stop = RecordingStopped(recording_id=recording_id, reason=EndReason.RECOVERED, end_us=last_us)
        feed([EventRecord(last_us, stop)])
    if not fold.has_audio:
        file.discard()
        raise OperatorError(f"recording {recording_id} has no audio: there is nothing to write")
    file.finish(fold.header())
    return fold


def _choose(summary: JournalSummary, recording_id: str | None, journal: Path) -> str:
    found = list(summary.recordings)
    if recording_id is not None:
        if recording_id not in found:
            raise OperatorError(f"{journal} has no recording {recording_id}; it has {', '.join(found) or 'none'}")
        return recording_id
    if len(found) != 1:
        raise OperatorError(f"{journal} has {len(found)} recordings: choose one with --recording ({', '.join(found)})")
    return found[0]
