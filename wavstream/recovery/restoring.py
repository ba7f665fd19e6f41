"""One journal that was read becomes what it tells of: recordings that go on, are finished, or are kept as they are.

Steps 3 and 4 of ``recovery``. In a cluster beside that:

1. Where another node had the journal, the first record that is added says so (``TakenOver``), before anything that
   follows from it: the receipt comes out of the journal alone.
2. A finished recording keeps its journal until its file is in a store; one whose file lies at a node that is gone is
   made again.
3. The clock of the journals is that of all calls of this node: put forward, each of them has so much silence. It is put
   behind what another node's journal has, but not by more than ``MOST_AHEAD_US``: the clock of that node was wrong.
   Then the journal's recordings end at the last thing that it has, and a leg that comes back begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from wavstream.catalog.recordings import Recordings
from wavstream.clock import UnixClock
from wavstream.journal.amendments import amendment
from wavstream.journal.events import RecordingStopped, TakenOver
from wavstream.journal.records import event_record
from wavstream.journal.segments import Position, delete_segments
from wavstream.journal.writer import JournalWriter
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import unix_us, utc
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.agreement import agree
from wavstream.recovery.journal_summary import JournalSummary
from wavstream.recovery.reconciliation import lacks_whole_file
from wavstream.sessions.registry import Sessions
from wavstream.sessions.restored import Restored
from wavstream.storage.local import LocalStorage

log = structlog.get_logger(__name__)

MOST_AHEAD_US = 1_000_000
_BEGIN = Position(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """From whom a session's journal was taken over, and from where on it is ours."""

    from_node: str
    to_node: str
    epoch: int
    starts: Mapping[str, Position]
    """By journal: our first batch is in this segment or a later one, with this number or a higher one."""


class Restoring:
    """Restores journals whose summary was read. Lives on the event loop."""

    def __init__(
        self,
        *,
        folder: Path,
        sessions: Sessions,
        recorder: Recorder,
        recordings: Recordings,
        storage: LocalStorage,
        writer: JournalWriter,
        clock: UnixClock,
        wall: Callable[[], datetime],
    ) -> None:
        self.made_again: set[str] = set()
        """Recordings whose file was gone or cut, and is being made from their journal."""
        self._folder = folder
        self._sessions = sessions
        self._recorder = recorder
        self._recordings = recordings
        self._storage = storage
        self._writer = writer
        self._clock = clock
        self._wall = wall

    async def restore(
        self, summary: JournalSummary, *, goes_on: bool, taken: Taken | None = None, is_whole: bool = True
    ) -> bool:
        """Bring back what the journal tells of; return False if nobody needs it, and it is damaged.

        ``goes_on``: what runs may go on; else it ends. ``is_whole``: what was before it goes on is here; else it is
        folded only when it is (``Recorder.journal_is_whole``).
        """
        rows = {recording.id: await self._row(recording) for recording in summary.recordings.values()}
        for row in rows.values():
            if row.status is Status.AVAILABLE and await asyncio.to_thread(self._lacks_file, row):
                log.warning("recording_made_again", recording_id=row.id, object_key=row.object_key)
                self.made_again.add(row.id)
                rows[row.id] = replace(row, status=Status.COMPLETED)
        last_us = max([summary.last_us, *(unix_us(row.changed_at) for row in rows.values())])
        if taken is not None and self._is_far_ahead(last_us, summary, taken):  # rule 3
            goes_on, now_us = False, last_us
        else:
            self._clock.not_before(last_us)
            now_us = self._clock.now_us()
        unfinished = [
            agree(each, rows[each.id], turned_us=summary.turned_us.get(each.id, 0), last_us=summary.last_us)
            for each in summary.recordings.values()
            if rows[each.id].status.is_unfinished
        ]
        failed = [row for row in rows.values() if row.status is Status.FAILED and not _is_expired(row, self._wall())]
        kept = [row for row in rows.values() if self._recorder.leases.is_until_stored and _is_only_here(row)]
        header = summary.header
        if not unfinished and not failed and not kept:  # step 4
            if summary.is_damaged:
                return False
            await asyncio.to_thread(delete_segments, self._folder, header.key)
            return True
        start = _BEGIN if taken is None else taken.starts.get(header.key, _BEGIN)
        journal = self._writer.open(
            key=header.key,
            app_id=header.app_id,
            session_id=header.session_id,
            segment=max(summary.last_segment + 1, start.segment),
            number=max(summary.next_number, start.batch),
        )
        if taken is not None and taken.from_node != taken.to_node:  # rule 1
            told = TakenOver(
                from_node=taken.from_node,
                to_node=taken.to_node,
                epoch=taken.epoch,
                behind_us=now_us - summary.last_us,
            )
            journal.append_event(event_record(now_us, told))
        for row in failed:
            log.error("failed_recording_kept", recording_id=row.id, journal=journal.key)
            ends = row.expires_at if row.hold is None else None
            for_s = None if ends is None else (ends - self._wall()).total_seconds()
            self._recorder.retain(row, journal, first_segment=summary.first_segments[row.id], for_s=for_s)
        for row in kept:
            self._recorder.keep_finished(row, journal, first_segment=summary.first_segments[row.id])
        running = []
        for agreement in unfinished:  # step 3
            row, pause, stop = agreement.recording, agreement.pause, agreement.stop
            if pause is not None or stop is not None:
                known = rows[row.id].status
                log.warning("row_and_journal_differ", recording_id=row.id, journal=journal.key, row=known)
            amendments = [*summary.amendments, *(amendment(each) for each in (pause, stop) if each is not None)]
            recording = self._recorder.begin(
                row, journal, first_segment=summary.first_segments[row.id], amendments=amendments
            )
            if is_whole:
                self._recorder.catch_up(recording)
            else:
                recording.await_journal()
            if pause is not None:
                journal.append_event(event_record(now_us, pause))
            if row.status is Status.COMPLETED:
                recording.finish(row)
            elif stop is not None:
                recording.stop(stop, now_us, ended_at=rows[row.id].ended_at)
            elif not goes_on:
                log.warning("recording_not_continued", recording_id=row.id, last_at=f"{utc(summary.last_us):%F %T} UTC")
                end = RecordingStopped(recording_id=row.id, reason=EndReason.RECOVERED, end_us=summary.last_us)
                recording.stop(end, now_us)
            else:
                recording.save_journaled_later()
                running.append(recording)
        if summary.is_damaged:
            self._recorder.note_damage(journal)
        if running:
            left = Restored(
                journal=journal,
                legs=summary.legs,
                lost=summary.lost,
                next_stream=summary.next_stream,
                next_track=summary.next_track,
                last_us=summary.last_us,
                paused_by={each: frozenset(holders) for each, holders in summary.paused_by.items()},
            )
            session = self._sessions.find_or_make(header.app_id, header.session_id, now_us, beyond_limit=True)
            self._sessions.tell_opened(session)
            session.restore(left, running, now_us)
        return True

    async def is_left_over(self, summary: JournalSummary, taken: Taken) -> bool:
        """Return whether another node's journal lacks something because nobody needs it any more.

        The last that goes is the session's entry: who dies between leaves what NATS has of a journal whose part in the
        bucket is gone already.
        """
        rows = [await self._recordings.get(recording_id) for recording_id in summary.recordings]
        return taken.from_node != taken.to_node and all(
            row is not None
            and not row.status.is_unfinished
            and row.status is not Status.FAILED
            and not _is_only_here(row)
            for row in rows
        )

    def _is_far_ahead(self, last_us: int, summary: JournalSummary, taken: Taken) -> bool:
        """Return whether the clock of the node that had a journal was so far ahead of ours; tell it."""
        ahead_us = last_us - self._clock.now_us()
        if taken.from_node == taken.to_node or ahead_us <= MOST_AHEAD_US:
            return False
        log.error(
            "taken_journal_ahead",
            session_id=summary.header.session_id,
            journal=summary.header.key,
            node=taken.from_node,
            ahead_s=round(ahead_us / 1e6, 1),
        )
        return True

    async def _row(self, recording: Recording) -> Recording:
        row = await self._recordings.get(recording.id)
        if row is not None:
            return row
        await self._recordings.add(recording)
        return recording

    def _lacks_file(self, row: Recording) -> bool:
        if self._recorder.leases.is_until_stored and row.stored is None:  # rule 2
            file = self._storage.stat(row.object_key)
            return file is None or (row.receipt is not None and file.size_bytes != row.receipt.size_bytes)
        return lacks_whole_file(self._storage, row, self._wall())


def _is_only_here(row: Recording) -> bool:
    return row.status is Status.AVAILABLE and row.stored is None


def _is_expired(row: Recording, now: datetime) -> bool:
    return row.hold is None and row.expires_at is not None and row.expires_at <= now
