"""The recordings that the server makes, by their ids: the one registry of what is live."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import EventRecord
from wavstream.journal.segments import Position
from wavstream.journal.writer import JournalWriter
from wavstream.metrics import Histogram
from wavstream.model.recording import Recording, Status
from wavstream.recorder.journal_leases import JournalLeases
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.recording import LiveRecording
from wavstream.recorder.render_job import SLICE_BYTES, RenderJob
from wavstream.recorder.render_thread import Priority, RenderThread, other_cores
from wavstream.removals import Removals
from wavstream.rendering.timeline.clock import Patience
from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import Tally, tally_of


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the recorder works."""

    journal: Path
    spool: Path


class LiveRecordings(dict[str, LiveRecording]):
    """The recordings by their ids, counted by app."""

    def __init__(self, counts: Tally) -> None:
        super().__init__()
        self.counts = counts

    def __setitem__(self, recording_id: str, recording: LiveRecording) -> None:
        """Enter a recording, whose app stays the same."""
        if recording_id not in self:
            self.counts.add(recording.row.app_id)
        super().__setitem__(recording_id, recording)

    def __delitem__(self, recording_id: str) -> None:
        """Take one out."""
        app_id = self[recording_id].row.app_id
        super().__delitem__(recording_id)
        self.counts.remove(app_id)


FINISH_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Of the histogram of stops: usually well under a second, and minutes where the disk refuses."""


class Recorder:
    """Makes the recordings of the server. Lives on the event loop."""

    def __init__(
        self,
        folders: Folders,
        *,
        writer: JournalWriter,
        publisher: Publisher,
        patience: Patience,
        removals: Removals | None = None,
        slice_bytes: int = SLICE_BYTES,
        shared: SharedCounts | None = None,
    ) -> None:
        """Prepare to record; a fold waits as ``patience`` says, and reads ``slice_bytes`` in one go.

        ``shared`` has what other workers count; None: there are none.
        """
        loop = asyncio.get_running_loop()
        self.render = RenderThread(loop, retry_s=publisher.retry_s, helpers=other_cores())
        self._folders = folders
        self._publisher = publisher
        self._patience = patience
        self._removals = removals or Removals()
        self.slice_bytes = slice_bytes
        self._writer = writer
        self._leases = JournalLeases(writer, loop)
        self.counts = tally_of(shared, "recordings")
        """How many are accepted, run, or are being finished, those of other workers too."""
        self._live = LiveRecordings(self.counts)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Recordings that ended since the process began, by status and reason."""
        self.finish_times = Histogram(FINISH_BOUNDS_S)
        """Seconds from the stop of a recording until its file is available."""
        self._end_automatically: Callable[[LiveRecording, RecordingStopped], None] = lambda recording, end: None

    # ---- recordings ------------------------------------------------------------------------------------------------

    def further_than_its_row(self, recording_id: str) -> Recording | None:
        """Return a recording as it is while its file is being made, or while the catalog does not take its row."""
        live = self.get(recording_id)
        return None if live is None else live.row if live.finishing is not None else live.unsaved

    def get(self, recording_id: str) -> LiveRecording | None:
        """Return the recording if it is accepted, runs, or is being finished."""
        return self._live.get(recording_id)

    def __iter__(self) -> Iterator[LiveRecording]:
        return iter(self._live.values())

    def accept(self, row: Recording) -> LiveRecording:
        """Enter a recording that begins when there is a stream."""
        recording = LiveRecording(
            row, registry=self._live, leases=self._leases, render=self.render, publisher=self._publisher
        )
        recording.ended.add_done_callback(partial(self._count_end, recording))
        return recording

    def begin(
        self, row: Recording, journal: Journal, *, first_segment: int, amendments: Iterable[EventRecord] = ()
    ) -> LiveRecording:
        """Begin a recording, accepted before or not: its start record is in ``first_segment`` or later.

        ``amendments``: what an earlier run has written later into the journal than it counts.
        """
        recording = self._live.get(row.id) or self.accept(row)
        job = RenderJob(
            row,
            reader=JournalReader(self._folders.journal, journal.key, start=Position(first_segment), known=(row,)),
            spool=self._folders.spool / f"{row.id}.{row.options.format}",
            patience=self._patience,
            on_automatic_end=partial(self._found_end, row.id),
            removals=self._removals,
            slice_bytes=self.slice_bytes,
            amendments=amendments,
        )
        recording.begin(row, journal, job, first_segment=first_segment)
        return recording

    def awaits_journal(self, journal_key: str) -> bool:
        """Return whether recordings of a journal run of which the first part is to come."""
        live = (self._live.get(recording_id) for recording_id in self._leases.holders(journal_key))
        return any(recording is not None and recording.awaits_journal for recording in live)

    def journal_is_whole(self, journal_key: str) -> None:
        """Fold the recordings of a journal of which the first part has come."""
        for recording_id in self._leases.holders(journal_key):
            if (recording := self._live.get(recording_id)) is not None and recording.journal_came():
                self.catch_up(recording)

    @property
    def fold_delays_s(self) -> dict[str, float]:
        """For how long each app has had live recordings waiting for their turn without a break, in seconds."""
        return self.render.delays_s

    def fold(self, journals: Iterable[Journal]) -> None:
        """Fold what these journals have, for the recordings that are due; those with listeners are folded for these."""
        jobs: list[RenderJob] = []
        for journal in journals:
            for recording_id in self._leases.holders(journal.key):
                recording = self._live.get(recording_id)
                # None: it failed; its journal is kept, and it is left as it is.
                job = None if recording is None else recording.job
                if job is not None and not job.is_followed and job.is_due():
                    jobs.append(job)
        self.render.fold_all(jobs, Priority.DUE)

    async def save(self, row: Recording, *, found: bool = False) -> None:
        """Write a row and the facts that its change announces, for as long as it takes.

        ``found``: it is available, as its file was found.
        """
        await self._publisher.save(row, found=found)

    def save_later(self, row: Recording) -> None:
        """Write a row as ``save`` does, without anyone waiting for it."""
        self._publisher.save_later(row)

    def catch_up(self, recording: LiveRecording) -> None:
        """Fold a recovered recording from its start, beside what is live."""
        assert recording.job is not None
        self.render.fold(recording.job, Priority.BACKLOG)

    def hold_backlog(self, for_s: float) -> None:
        """Let what is behind wait so long from now on (``RenderThread``, rule 7)."""
        self.render.hold_backlog(for_s)

    def set_automatic_end_handler(self, end: Callable[[LiveRecording, RecordingStopped], None]) -> None:
        """Call ``end`` from now on, on the event loop, when a recording that runs has come to its end by itself."""
        self._end_automatically = end

    def clock_jumped(self, by: timedelta) -> None:
        """Move when stopped recordings expire whose row is still to be written: the clock was put forth, or back."""
        for recording in self._live.values():
            recording.clock_jumped(by)

    def put_journals_back(self) -> None:
        """Give the journals of all recordings their names again: their folder was removed, or moved away."""
        for journal in self._leases.journals():
            self._writer.put_back(journal)

    # ---- recordings that failed --------------------------------------------------------------------------------------

    def retain(self, failed: Recording, journal: Journal, *, first_segment: int, for_s: float | None) -> None:
        """Go on keeping the journal of a recording that failed before the restart; None: for an unknown time."""
        self._leases.acquire(failed.id, journal, first_segment=first_segment)
        self._leases.retain(failed.id, for_s=for_s)

    def note_damage(self, journal: Journal) -> None:
        """Have a journal that recordings need set aside in the end, instead of deleted: it is damaged."""
        self._leases.note_damage(journal.key)

    def release_failed(self, recording_id: str) -> None:
        """Delete the journal of a recording that failed, as soon as no other needs it."""
        self._leases.release_failed(recording_id)

    # ---- in a cluster ------------------------------------------------------------------------------------------------

    @property
    def leases(self) -> JournalLeases:
        """Who needs which journal."""
        return self._leases

    def keep_finished(self, row: Recording, journal: Journal, *, first_segment: int) -> None:
        """Keep the journal of a recording whose file is here, and in no store yet."""
        self._leases.acquire(row.id, journal, first_segment=first_segment)
        self._leases.finish(row.id)

    def let_go(self, session_id: str, *, then: Callable[[Journal], None]) -> list[str]:
        """Do nothing more with a session's recordings: another node has them; return their ids.

        ``then`` is called with each of its journals, closed, in the writer thread.
        """
        doomed = [recording for recording in self._live.values() if recording.row.session_id == session_id]
        for recording in doomed:
            recording.let_go()
        self._leases.let_go(session_id, then=then)
        return [recording.row.id for recording in doomed]

    def until_released(self, recording_id: str) -> asyncio.Future[None]:
        """Return what is done when the part of the journal that nobody but this recording needed has been deleted."""
        return self._leases.until_released(recording_id)

    # ---- the whole -------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> int:
        """Recordings that could not be rendered and whose journal is kept."""
        return self._leases.retained

    @property
    def unfinished(self) -> int:
        """Recordings that are being made or finished."""
        return sum(recording.job is not None for recording in self._live.values())

    async def stop(self, timeout_s: float) -> None:
        """Finish what was stopped, within the time given; what runs on is left to the journal."""
        await self.settle(timeout_s)
        await self.render.stop()
        # What is cancelled here is whole in its journal, its stop too: the next start finishes it.
        ends = self._finishing()
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        await self._publisher.stop()
        self._leases.stop()
        for recording in self._live.values():
            if recording.job is not None:
                recording.job.discard()

    async def settle(self, timeout_s: float) -> bool:
        """Wait until what was stopped is finished and all rows are written; return False if there was nothing."""
        waiting = [*self._finishing(), *self._publisher.saves]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
        return bool(waiting)

    @property
    def finishing(self) -> int:
        """Recordings that were stopped, and whose file is being made."""
        return len(self._finishing())

    def _finishing(self) -> list[asyncio.Task[Recording]]:
        return [recording.finishing for recording in self._live.values() if recording.finishing is not None]

    def _count_end(self, recording: LiveRecording, ended: asyncio.Future[Recording]) -> None:
        if ended.cancelled() or ended.exception() is not None:
            return
        row = ended.result()
        self.outcomes[row.status.value, row.end_reason.value if row.end_reason is not None else "none"] += 1
        if row.status is Status.AVAILABLE:
            self.finish_times.observe(time.monotonic() - recording.finishing_since_s)

    def _found_end(self, recording_id: str, end: RecordingStopped) -> None:
        if (recording := self._live.get(recording_id)) is not None:
            self._end_automatically(recording, end)
