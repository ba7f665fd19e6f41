"""What a crash or a shutdown left: every journal becomes a session again, and goes on or is finished.

For each journal, in the order of the folder:

1. Its streams are held from before the port opens, so that a media server that is back at once finds its session.
2. Its events are read (frames are skipped), which tells what was recorded, by whom, and what is not finished.
3. Recordings that the catalog has as finished are left alone; one that it does not know is entered again.
4. The session is restored and its recordings are folded from their start, beside the live ones.
   Those that were stopped are published; those that were running go on if a leg comes back within the reconnect wait,
   and else end as ``recovered``, at the last thing that the journal has.
5. A journal without unfinished recordings is deleted.

Then rows and files are reconciled: a row that is unfinished and has no journal cannot be finished, a row whose file is
gone is not available, and a file without a row gets its row back from its sidecar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.finishing.finisher import Finisher
from wavstream.finishing.journal_facts import JournalFacts, read_facts
from wavstream.journal.journal import Journal
from wavstream.journal.reader import read_header
from wavstream.journal.records import BrokenSegment, SegmentHeader
from wavstream.journal.segments import delete_segments, journals_in
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.sessions.switchboard import Switchboard

log = structlog.get_logger()


class Store(Protocol):
    """Local storage, as recovery needs it."""

    def stat(self, object_key: str) -> object | None:
        """Size and age of a file; None if there is none."""


class Recovery:
    """Brings back what was there before the last stop. Lives on the event loop."""

    def __init__(
        self, *, folder: Path, switchboard: Switchboard, finisher: Finisher, catalog: Catalog, storage: Store,
        open_journal: Callable[[SegmentHeader, int], Journal], now_us: Callable[[], int],
    ) -> None:  # fmt: skip
        self._folder = folder
        self._switchboard = switchboard
        self._finisher = finisher
        self._catalog = catalog
        self._storage = storage
        self._open_journal = open_journal
        self._now_us = now_us
        self._headers: dict[str, SegmentHeader] = {}
        self.total = 0
        """Journals found."""
        self.done = 0
        """Journals brought back."""

    @property
    def running(self) -> bool:
        """Whether there is more to bring back."""
        return self.done < self.total

    def hold_sessions(self) -> None:
        """Before the port opens: whose journals are there? Their streams wait until ``run`` has read them."""
        contents = journals_in(self._folder)
        for name in contents.strangers:
            log.warning("not a journal, left alone", file=str(self._folder / name))
        for key in contents.journals:
            try:
                header = read_header(self._folder, key)
            except (BrokenSegment, OSError) as error:
                log.error("a journal cannot be read and is left alone", journal=key, error=str(error))
                continue
            self._headers[key] = header
            self._switchboard.hold(header.app_id, header.session_id)
        self.total = len(self._headers)

    async def run(self) -> None:
        """Bring every journal back, then reconcile rows and files."""
        journaled: set[str] = set()
        for key, header in self._headers.items():
            try:
                facts = await asyncio.to_thread(read_facts, self._folder, key)
                for problem in facts.problems:
                    log.warning("a journal is damaged", journal=key, problem=problem)
                journaled |= set(facts.recordings)
                await self._restore(key, facts)
            except (BrokenSegment, OSError) as error:
                log.error("a journal cannot be read and is left alone", journal=key, error=str(error))
            finally:
                self._switchboard.release(header.app_id, header.session_id, self._now_us())
                self.done += 1
            log.info("journal brought back", journal=key, session=header.session_id, done=self.done, of=self.total)
        await self._reconcile_rows(journaled)

    async def _restore(self, key: str, facts: JournalFacts) -> None:
        unfinished = [recording for recording in facts.recordings.values() if not await self._is_finished(recording)]
        if not unfinished:
            await asyncio.to_thread(delete_segments, self._folder, key)
            return
        now_us = self._now_us()
        header = facts.header
        journal = self._open_journal(header, facts.last_segment + 1)
        for recording in unfinished:
            self._finisher.begin(recording, journal, first_segment=facts.first_segments[recording.id])
            self._finisher.catch_up(recording.id)
            if recording.status is Status.COMPLETED:
                self._finisher.end(recording, journal)
        running = [recording for recording in unfinished if recording.status is not Status.COMPLETED]
        if running:
            session = self._switchboard.find_or_make(header.app_id, header.session_id, now_us)
            session.restore(
                journal=journal,
                legs=facts.legs,
                lost=sorted(set(facts.streams.values())),
                next_stream=facts.next_stream,
                next_track=facts.next_track,
                running=running,
                last_us=facts.last_us,
                now_us=now_us,
            )

    async def _is_finished(self, recording: Recording) -> bool:
        row = await self._catalog.get_recording(recording.id)
        if row is None:
            await self._catalog.add_recording(recording)
            return False
        return not row.status.is_running and row.status is not Status.COMPLETED

    async def _reconcile_rows(self, journaled: set[str]) -> None:
        for row in await self._catalog.unfinished():
            if row.id in journaled or self._is_live(row):
                continue
            if row.status is Status.ACCEPTED:
                self._await_first_stream(row)
            else:
                log.error("the journal of an unfinished recording is gone", recording=row.id)
                lost = replace(row, status=Status.FAILED, end_reason=EndReason.FAILED, ended_at=utc(self._now_us()))
                await self._catalog.save_recording(replace(lost, error="its journal is gone: nothing can be recovered"))
        after = ""
        while page := await self._catalog.stored(after, 500):
            after = page[-1].id
            missing = await asyncio.to_thread(self._missing, page)
            for row in missing:
                log.error("the file of an available recording is gone", recording=row.id, object_key=row.object_key)
                await self._catalog.save_recording(replace(row, status=Status.FAILED, error="its file is gone"))

    def _missing(self, page: list[Recording]) -> list[Recording]:
        return [row for row in page if self._storage.stat(row.object_key) is None]

    def _is_live(self, row: Recording) -> bool:
        session = self._switchboard.find(row.app_id, row.session_id)
        return session is not None and (row.id in session.running or row.id in session.waiting)

    def _await_first_stream(self, row: Recording) -> None:
        session = self._switchboard.find_or_make(row.app_id, row.session_id, self._now_us())
        started = session.start(row, self._now_us())
        if started.status is not row.status:
            self._finisher.change(started)
