"""What a crash or a shutdown left: every journal becomes a session again, and goes on or is finished.

For each session that has journals:

1. Its streams are held from before the port opens, so that a media server that is back at once finds its session.
2. The events of its journals are read (frames are skipped), which tells what was recorded and what is not finished.
   Where the catalog and the journal differ, the further one is right: a recording that the catalog does not know is
   entered again, and one that the catalog has as stopped is stopped, though the crash took its stop record.
3. The session is restored and its recordings are folded from their start, beside the live ones. Those that were
   stopped are published; those that were running go on if a leg comes back within the reconnect wait, and else end as
   ``recovered``, at the last thing that the journal has. Of several journals only the newest goes on.
4. A journal of finished recordings is deleted. One of a recording that failed is kept, unread, until the recording's
   retention ends or it is deleted. One that cannot be read is left alone and named at every start: only a person can
   tell what to do with it.

Then the rows: one that is unfinished and has no journal cannot be finished, unless it still waits for its first
stream. Last, rows and files are reconciled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.reader import read_header
from wavstream.journal.records import BrokenSegment, SegmentHeader, event_record
from wavstream.journal.segments import delete_segments, journals_in, segment_path
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.recorder.recorder import FactsOf, Recorder
from wavstream.recovery.journal_summary import JournalSummary, read_summary
from wavstream.recovery.reconciliation import Store, reconcile
from wavstream.sessions.registry import Sessions

log = structlog.get_logger()


class Recovery:
    """Brings back what was there before the last stop. Lives on the event loop."""

    def __init__(
        self, *, folder: Path, sessions: Sessions, recorder: Recorder, catalog: Catalog, storage: Store,
        open_journal: Callable[[SegmentHeader, int], Journal], now_us: Callable[[], int],
        not_before: Callable[[int], None], facts_of: FactsOf,
    ) -> None:  # fmt: skip
        self.running = True
        """Whether there is more to bring back, or to reconcile."""
        self.reconciled = False
        """Whether everything was brought back that could be, and rows and files agree."""
        self.total = 0
        """Journals found."""
        self.done = 0
        """Journals brought back."""
        self.unreadable = 0
        """Journals that could not be brought back and are left alone."""
        self._folder = folder
        self._live_sessions = sessions
        self._recorder = recorder
        self._catalog = catalog
        self._storage = storage
        self._open_journal = open_journal
        self._now_us = now_us
        self._not_before = not_before
        self._facts_of = facts_of
        self._started_at = utc(now_us())
        self._sessions: dict[tuple[str, str], list[str]] = {}
        """Keys of the journals of each session."""
        self._journaled: set[str] = set()
        """Recordings that a journal tells of."""
        self._may_be_readable = False
        """Whether a journal failed for a reason that may be gone at the next start."""

    def hold_sessions(self) -> None:
        """Before the port opens: whose journals are there? Their streams wait until ``run`` has read them."""
        contents = journals_in(self._folder)
        for name in contents.strangers:
            log.warning("not a journal, left alone", file=str(self._folder / name))
        for key, segments in contents.journals.items():
            try:
                header = read_header(self._folder, key)
            except BrokenSegment as error:
                if any(segment_path(self._folder, key, segment).stat().st_size for segment in segments):
                    self._leave(key, error)
                else:  # the crash came between the making of the file and its first batch
                    delete_segments(self._folder, key)
            except OSError as error:
                self._leave(key, error)
            else:
                self._sessions.setdefault((header.app_id, header.session_id), []).append(key)
                self._live_sessions.hold(header.app_id, header.session_id)
        self.total = sum(len(keys) for keys in self._sessions.values())

    async def run(self) -> None:
        """Bring every journal back, then reconcile rows and files."""
        try:
            for (app_id, session_id), keys in self._sessions.items():
                try:
                    await self._bring_back(keys)
                except Exception:  # one session's fault must not keep the others from coming back
                    log.exception("a session could not be brought back, its journals are left alone", journals=keys)
                    self.unreadable += len(keys)
                    self._may_be_readable = True
                finally:
                    self._live_sessions.release(app_id, session_id, self._now_us())
                    self.done += len(keys)
                log.info("session brought back", session=session_id, done=self.done, of=self.total)
            await self._settle_rows()
            await reconcile(
                catalog=self._catalog, storage=self._storage, now=lambda: utc(self._now_us()), facts_of=self._facts_of
            )
            self.reconciled = True
        finally:
            self.running = False

    # ---- journals ----------------------------------------------------------------------------------------------

    async def _bring_back(self, keys: list[str]) -> None:
        read: list[JournalSummary] = []
        for key in keys:
            try:
                facts = await asyncio.to_thread(read_summary, self._folder, key)
            except (BrokenSegment, OSError) as error:
                self._leave(key, error)
                continue
            for problem in facts.problems:
                log.warning("a journal is damaged", journal=key, problem=problem)
            self._journaled |= set(facts.recordings)
            read.append(facts)
        read.sort(key=lambda facts: facts.last_us, reverse=True)
        for facts in read:
            await self._restore(facts, goes_on=facts is read[0])

    async def _restore(self, facts: JournalSummary, *, goes_on: bool) -> None:
        rows = {recording.id: await self._row(recording) for recording in facts.recordings.values()}
        self._not_before(facts.last_us)
        now_us = self._now_us()
        unfinished = [
            replace(each, hold=rows[each.id].hold)
            for each in facts.recordings.values()
            if rows[each.id].status.is_unfinished
        ]
        failed = [row for row in rows.values() if row.status is Status.FAILED and not _is_over(row, now_us)]
        if not unfinished and not failed:
            await asyncio.to_thread(delete_segments, self._folder, facts.header.key)
            return
        journal = self._open_journal(facts.header, facts.last_segment + 1)
        for row in failed:
            log.error("a recording failed and its journal is kept for a replay", recording=row.id, journal=journal.key)
            ends = row.expires_at if row.hold is None else None
            for_s = None if ends is None else (ends - utc(now_us)).total_seconds()
            self._recorder.keep(row, journal, first_segment=facts.first_segments[row.id], for_s=for_s)
        running = []
        for recording in unfinished:
            self._recorder.begin(recording, journal, first_segment=facts.first_segments[recording.id])
            self._recorder.catch_up(recording.id)
            row = rows[recording.id]
            if recording.status is Status.COMPLETED:
                self._recorder.end(recording, journal)
            elif row.status is Status.COMPLETED or not goes_on:
                reason = row.end_reason or EndReason.RECOVERED
                self._end(recording, journal, reason, end_us=facts.last_us, now_us=now_us)
            else:
                self._recorder.change(recording)
                running.append(recording)
        if running:
            app_id, session_id = facts.header.app_id, facts.header.session_id
            self._live_sessions.find_or_make(app_id, session_id, now_us, even_if_full=True).restore(
                journal=journal, legs=facts.legs, lost=facts.lost_legs, next_stream=facts.next_stream,
                next_track=facts.next_track, running=running, last_us=facts.last_us, now_us=now_us,
            )  # fmt: skip

    async def _row(self, recording: Recording) -> Recording:
        row = await self._catalog.recordings.get(recording.id)
        if row is not None:
            return row
        await self._catalog.recordings.add(recording)
        return recording

    def _end(self, recording: Recording, journal: Journal, reason: EndReason, *, end_us: int, now_us: int) -> None:
        stop = RecordingStopped(recording_id=recording.id, reason=reason, end_us=end_us)
        journal.append(event_record(now_us, stop))
        ended = replace(recording, status=Status.COMPLETED, end_reason=reason, ended_at=utc(now_us))
        self._recorder.end(ended, journal)

    def _leave(self, key: str, error: Exception) -> None:
        log.error("a journal cannot be read and is left alone", journal=key, error=str(error))
        self.unreadable += 1
        self._may_be_readable |= isinstance(error, OSError)

    # ---- rows --------------------------------------------------------------------------------------------------

    async def _settle_rows(self) -> None:
        """Unfinished rows of before this start that no journal tells of."""
        for row in await self._catalog.recordings.unfinished():
            if row.id in self._journaled or row.created_at >= self._started_at:
                continue
            if row.status is Status.ACCEPTED:
                self._await_first_stream(row)
            elif self._may_be_readable:
                log.warning("an unfinished recording waits for a journal that could not be read", recording=row.id)
            else:
                log.error("the journal of an unfinished recording is gone", recording=row.id)
                error = "its journal is gone, or cannot be read: nothing can be recovered"
                ended_at = utc(self._now_us())
                lost = replace(row, status=Status.FAILED, end_reason=EndReason.FAILED, ended_at=ended_at, error=error)
                await self._catalog.recordings.save(lost, self._facts_of(lost))

    def _await_first_stream(self, row: Recording) -> None:
        session = self._live_sessions.find_or_make(row.app_id, row.session_id, self._now_us(), even_if_full=True)
        if row.id in session.running or row.id in session.waiting:
            return
        started = session.start(row, self._now_us())
        if started.status is not row.status:
            self._recorder.change(started)


def _is_over(row: Recording, now_us: int) -> bool:
    return row.hold is None and row.expires_at is not None and row.expires_at <= utc(now_us)
