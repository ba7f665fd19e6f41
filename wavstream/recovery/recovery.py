"""What a crash or a shutdown left: every journal becomes a session again, and goes on or is finished.

For each session that has journals:

1. Its streams are deferred from before the port opens, so that a media server that is back at once finds its session.
2. The events of its journals are read (frames are skipped), which tells what was recorded and what is not finished.
   A recording that the catalog does not know is entered again; where the two differ, ``agreement`` says what holds.
3. The session is restored and its recordings are folded from their start, beside the live ones. Those that were
   stopped are published; those that were running go on if a leg comes back within the reconnect wait, and else end as
   ``recovered``, at the last thing that the journal has. Of several journals only the newest goes on, and none goes on
   after ``LONGEST_AWAY``: its file would be silence for as long as the server was away, or for as much as a clock is
   wrong that another start of the machine has set (``clock.py``, rule 5).
   One whose row has a file that is not there, or is cut, is made again from a journal that is.
4. A journal of finished recordings is deleted. One of a recording that failed is kept, unread, until the recording's
   retention ends or it is deleted. One that is damaged is set aside instead of deleted (``journal.set_aside``), and one
   that tells nothing at all is set aside at once. One that the disk does not give, or that another version has
   written, is left alone and named at every start: only a person can tell what to do with it.

Where the server is several workers, each brings back the sessions that are its own, wherever their journals were
written, and leaves those of others alone: they may be live. What is nobody's is worker 0's, at the first start, before
there are others.

Then the rows: one that is unfinished and has no journal cannot be finished, unless its file is there, here or in a
store, which the row is older than, or it still waits for its first stream. Where a store does not answer it is left for
the next start. Last, rows and files are reconciled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from wavstream.catalog.recordings import Recordings
from wavstream.clock import UnixClock
from wavstream.errors import StoreError, TakenElsewhere
from wavstream.journal.outline import OutlinedJournal
from wavstream.journal.records import BrokenSegment, UnknownVersion
from wavstream.journal.segments import delete_segments, journals_in, segment_path, segments_of
from wavstream.journal.set_aside import FOLDER as SET_ASIDE
from wavstream.journal.set_aside import TAKEN
from wavstream.journal.writer import JournalWriter
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.journal_summary import JournalSummary, read_headers, read_summary, summary_of
from wavstream.recovery.reconciliation import finished_since, reconcile
from wavstream.recovery.restoring import Restoring, Taken
from wavstream.sessions.deferred_stream import ANY
from wavstream.sessions.registry import Sessions
from wavstream.storage.local import LocalStorage
from wavstream.workers.boundary import Alone, Boundary

log = structlog.get_logger(__name__)

AskFirst = Callable[[str, str, Sequence[str]], Awaitable[Taken | None]]
"""Makes a session (app, id) ours of which there are these journals; raises TakenElsewhere if they are not any more."""

MADE_AGAIN = "recordings made again"
"""What worker 0 asks the others before it takes a row without a file for lost."""
_ASK_AGAIN_S = 1.0
STORE_WAIT_S = 10.0
LONGEST_AWAY = timedelta(hours=4)
"""Nobody goes on with a call after that; in the file it would be 58 MB of silence for each hour and 8 kHz channel."""


class Recovery:
    """Brings back what was there before the last stop. Lives on the event loop."""

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
        wall: Callable[[], datetime] | None = None,
        boundary: Boundary | None = None,
        uploading: Callable[[], Awaitable[set[str]]] | None = None,
        in_store: Callable[[Recording], Awaitable[Recording | None]] | None = None,
        is_again: bool = False,
    ) -> None:
        """Prepare to read the journals in ``folder``; ``clock`` goes on behind the last of them.

        ``wall``: by which recordings expire; None: by ``clock`` too. ``boundary``: to other workers; None: there are
        none. ``uploading`` gives the recordings whose file may lie in a store without a row that says so; None: there
        is no store. ``in_store`` gives what became of a recording as the store tells that has its file; may raise
        StoreError. ``is_again``: this one is started again, and the others may be recording.
        """
        self._boundary = boundary or Alone()
        self._uploading = uploading
        self._in_store = in_store
        self._stores_answer = True
        self._has_what_is_nobodys = self._boundary.index == 0 and not is_again
        self._wall = wall or self._now
        self.running = True
        """Whether there is more to bring back, or to reconcile."""
        self.reconciled = False
        """Whether everything was brought back that could be, and rows and files agree."""
        self.total = 0
        """Journals whose header could be read."""
        self.done = 0
        """Journals dealt with, brought back or not."""
        self.unreadable = 0
        """Journals that could not be brought back and are left alone."""
        self._folder = folder
        self._sessions = sessions
        self._recorder = recorder
        self._recordings = recordings
        self._storage = storage
        self._writer = writer
        self._clock = clock
        self._started_at = utc(clock.now_us())
        self._journals: dict[tuple[str, str], list[str]] = {}
        """Keys of the journals of each session."""
        self._journaled: set[str] = set()
        """Recordings that a journal tells of."""
        self._restoring = Restoring(
            folder=folder,
            sessions=sessions,
            recorder=recorder,
            recordings=recordings,
            storage=storage,
            writer=writer,
            clock=clock,
            wall=self._wall,
        )
        self._ask_first: AskFirst | None = None
        self._is_joined_later: Callable[[str], bool] = lambda _session_id: False
        self._is_brought_back = False
        self._may_be_readable = False
        """Whether a journal failed for a reason that may be gone at the next start."""

    def ask_first(self, ask: AskFirst, *, is_joined_later: Callable[[str], bool]) -> None:
        """Ask, before a session is brought back: other nodes may have it (docs/decisions/0029).

        ``is_joined_later``: whether a session is ours, though its journal is not here yet; its rows are not given up.
        """
        self._ask_first, self._is_joined_later = ask, is_joined_later
        self._has_what_is_nobodys = True  # on a disk that is this node's alone

    async def go_on(
        self, journals: Iterable[OutlinedJournal], rows: Sequence[Recording], taken: Taken
    ) -> frozenset[str]:
        """Go on with one session that another node had, by outlines of its journals; return those that go on.

        ``rows``: its recordings; where one runs that no outline tells of, nothing does before ``take_in``. What goes on
        is folded when its journal has come. Raise msgspec.MsgspecError for unknown events.
        """
        summaries = [summary_of(journal) for journal in journals]
        told = {recording_id for summary in summaries for recording_id in summary.recordings}
        needed = {row.id for row in rows if row.status.is_unfinished}
        if any(row.id in needed - told and row.status is not Status.COMPLETED for row in rows):
            return frozenset()
        summaries = [summary for summary in summaries if needed.intersection(summary.recordings)]
        self._journaled |= {recording_id for summary in summaries for recording_id in summary.recordings}
        for app_id in {each.header.app_id for each in summaries}:
            await self._restore([each for each in summaries if each.header.app_id == app_id], taken, is_whole=False)
        return frozenset(summary.header.key for summary in summaries)

    async def take_in(
        self, app_id: str, session_id: str, keys: Sequence[str], taken: Taken, *, gone_on: Iterable[str] = ()
    ) -> None:
        """Bring back one session that another node had, the journals of which are in the folder now.

        Its streams were deferred, and are let in. ``gone_on``: the journals that have gone on before (``go_on``).
        """
        for key in gone_on:
            self._recorder.journal_is_whole(key)
        try:
            await self._bring_back([key for key in keys if key not in gone_on], taken, may_go_on=not gone_on)
            begun_here = {recording.row.id for recording in self._recorder}  # since it has gone on
            for row in await self._known(app_id, session_id):
                if row.id not in self._journaled | begun_here and self._recorder.get(row.id) is None:
                    await self._settle(row)
        finally:
            self._sessions.attach(app_id, session_id, self._clock.now_us())

    async def take_rows(self, recording_ids: Sequence[str]) -> None:
        """Settle rows that another node has written of sessions that are ours, and that no journal here tells of."""
        for recording_id in recording_ids:
            row = await self._recordings.get(recording_id)
            if row is None or not row.status.is_unfinished or row.id in self._journaled:
                continue
            session = self._sessions.find(row.app_id, row.session_id)
            if session is None or row.id not in session.recordings.by_id:
                await self._settle(row)

    def let_in(self, session_id: str) -> None:
        """Let in the streams of any app that have waited for the session."""
        self._sessions.attach(ANY, session_id, self._clock.now_us())

    def defer_streams(self) -> None:
        """Read, before the port opens, the headers of all journals: their streams wait for ``run`` (step 1)."""
        if self._has_what_is_nobodys:
            for odd in self._writer.set_aside.put_in_order():
                log.error("journal_odd", file=str(self._folder / odd.name), problem=odd.problem)
        contents = journals_in(self._folder)
        for name in contents.strangers if self._has_what_is_nobodys else ():
            if name not in (SET_ASIDE, TAKEN):
                log.warning("journal_folder_stranger", file=str(self._folder / name))
        for key, header in read_headers(self._folder, contents.journals).items():
            if isinstance(header, FileNotFoundError):  # another worker has just deleted it
                continue
            if isinstance(header, Exception):
                self._deal_with(key, contents.journals[key], header)
                continue
            if self._is_ours(header.session_id):
                self._journals.setdefault((header.app_id, header.session_id), []).append(key)
                self._sessions.defer(header.app_id, header.session_id)
        self.total = sum(len(keys) for keys in self._journals.values())

    def _deal_with(self, key: str, segments: Sequence[int], error: BrokenSegment | OSError) -> None:
        """Deal with a journal whose header does not say whose it is: of another worker it may be one that begins."""
        if not self._has_what_is_nobodys:
            self._may_be_readable |= isinstance(error, UnknownVersion | OSError)
        elif isinstance(error, UnknownVersion):
            self._leave(key, error)
            self._may_be_readable = True
        elif isinstance(error, OSError):
            self._leave(key, error)
        else:
            try:
                if any(segment_path(self._folder, key, segment).stat().st_size for segment in segments):
                    self._set_aside(key, error)
                else:  # the crash came between the making of the file and its first batch
                    delete_segments(self._folder, key)
            except OSError as lasting:
                self._leave(key, lasting)

    def _is_ours(self, session_id: str) -> bool:
        return self._ask_first is not None or self._boundary.owner(session_id) == self._boundary.index

    async def run(self) -> None:
        """Bring every journal back, then reconcile rows and files."""
        try:
            for (app_id, session_id), keys in self._journals.items():
                try:
                    taken = None if self._ask_first is None else await self._ask_first(app_id, session_id, keys)
                    await self._bring_back([*keys, *await asyncio.to_thread(self._came_with, taken)], taken)
                except TakenElsewhere:
                    continue
                except Exception:  # one session's fault must not keep the others from coming back
                    log.exception("session_recovery_failed", app_id=app_id, session_id=session_id, journals=keys)
                    self.unreadable += len(keys)
                    self._may_be_readable = True
                else:
                    done = self.done + len(keys)
                    log.info("session_recovered", app_id=app_id, session_id=session_id, done=done, of=self.total)
                finally:
                    self._sessions.attach(app_id, session_id, self._clock.now_us())
                    self.done += len(keys)
            await self._settle_rows()
            self._is_brought_back = True
            if self._boundary.index != 0 and self._ask_first is None:
                self.reconciled = True
                return
            uploading = set() if self._uploading is None else await self._uploading()
            await reconcile(
                recordings=self._recordings,
                storage=self._storage,
                now=self._now,
                wall=self._wall,
                save=self._recorder.save,
                save_found=self._save_found,
                made_again=self._restoring.made_again | uploading | await self._made_again_by_others(),
            )
            self.reconciled = True
        finally:
            self.running = False

    async def answer(self, _question: bytes) -> bytes:
        """Answer ``MADE_AGAIN``: the recordings whose file this worker makes again, or null as long as it looks."""
        return msgspec.json.encode(sorted(self._restoring.made_again) if self._is_brought_back else None)

    async def _made_again_by_others(self) -> set[str]:
        """Return what other workers make again, once all of them know: their rows have no file meanwhile."""
        while self._ask_first is None:  # else rows and files are those of this node
            found = await self._boundary.ask_all(MADE_AGAIN)
            known = [msgspec.json.decode(each, type=list[str] | None) for each in found.values()]
            if len(known) == len(self._boundary.others) and None not in known:
                return {each for made_again in known for each in made_again or ()}
            await asyncio.sleep(_ASK_AGAIN_S)
        return set()

    # ---- journals ----------------------------------------------------------------------------------------------

    async def _bring_back(self, keys: Sequence[str], taken: Taken | None = None, *, may_go_on: bool = True) -> None:
        read: list[JournalSummary] = []
        for key in keys:
            try:
                summary = await asyncio.to_thread(read_summary, self._folder, key)  # step 2
                if summary.is_damaged:
                    known = await self._known(summary.header.app_id, summary.header.session_id)
                    if not known and taken is not None and await self._restoring.is_left_over(summary, taken):
                        await asyncio.to_thread(delete_segments, self._folder, key)
                        continue
                    summary = await asyncio.to_thread(read_summary, self._folder, key, known=known)
            except (BrokenSegment, OSError) as error:
                self._leave(key, error)
                continue
            for problem in summary.problems:
                log.warning("journal_damaged", journal=key, problem=problem)
            self._journaled |= set(summary.recordings)
            read.append(summary)
        await self._restore(read, taken, may_go_on=may_go_on)

    async def _restore(
        self, summaries: list[JournalSummary], taken: Taken | None, *, may_go_on: bool = True, is_whole: bool = True
    ) -> None:
        summaries.sort(key=lambda summary: summary.last_us, reverse=True)
        for summary in summaries:
            away_us = self._clock.now_us() - summary.last_us
            is_too_late = away_us > LONGEST_AWAY // timedelta(microseconds=1)
            goes_on = may_go_on and summary is summaries[0] and not is_too_late
            if not await self._restoring.restore(summary, goes_on=goes_on, taken=taken, is_whole=is_whole):
                problems = "; ".join(summary.problems)
                await asyncio.to_thread(self._set_aside, summary.header.key, problems)

    async def _known(self, app_id: str, session_id: str) -> list[Recording]:
        """Return the rows of a session whose file is not made: a damaged journal may have lost their start."""
        return await self._recordings.unfinished(of=(app_id, session_id))

    def _came_with(self, taken: Taken | None) -> list[str]:
        """Return journals that were not here at the start, and are since their session was taken again."""
        new = set(() if taken is None else taken.starts).difference(*self._journals.values())
        return [key for key in sorted(new) if segments_of(self._folder, key)]

    def _now(self) -> datetime:
        return utc(self._clock.now_us())

    def _set_aside(self, key: str, problem: object) -> None:
        self._writer.set_aside.take_journal(key)
        log.error("journal_set_aside", journal=key, error=str(problem))
        self.unreadable += 1

    def _leave(self, key: str, error: Exception) -> None:
        log.error("journal_unreadable", journal=key, error=str(error))
        self.unreadable += 1
        self._may_be_readable |= isinstance(error, OSError)

    # ---- rows --------------------------------------------------------------------------------------------------

    async def _settle_rows(self) -> None:
        """Finish the unfinished rows of before this start that no journal tells of."""
        for row in await self._recordings.unfinished():
            if row.id in self._journaled or row.created_at >= self._started_at or not self._is_ours(row.session_id):
                continue
            if not self._is_joined_later(row.session_id):
                await self._settle(row)

    async def _settle(self, row: Recording) -> None:
        finished = await asyncio.to_thread(finished_since, self._storage, row)
        if finished is None:
            finished = await self._find_in_store(row)
        if finished is not None:  # the row is older than its file: a catalog was restored
            log.warning("recording_file_found", recording_id=row.id, row=row.status, object_key=row.object_key)
            await self._save_found(finished)
        elif row.status is Status.ACCEPTED:
            self._await_first_stream(row)
        elif self._may_be_readable or not self._stores_answer:
            log.warning("recording_waits_for_journal", recording_id=row.id)
        else:
            log.error("recording_journal_gone", recording_id=row.id)
            error = "its journal is gone, or cannot be read: nothing can be recovered"
            ended_at = utc(self._clock.now_us())
            lost = row.became(Status.FAILED, ended_at, end_reason=EndReason.FAILED, ended_at=ended_at, error=error)
            await self._recorder.save(lost)

    async def _find_in_store(self, row: Recording) -> Recording | None:
        """Ask the stores, unless one has not answered before: the start does not wait for that again."""
        if self._in_store is None or not self._stores_answer:
            return None
        try:
            async with asyncio.timeout(STORE_WAIT_S):
                return await self._in_store(row)
        except (StoreError, TimeoutError) as error:
            log.warning("recovery_without_store", error=str(error) or f"no answer within {STORE_WAIT_S:g} s")
            self._stores_answer = False
            return None

    async def _save_found(self, row: Recording) -> None:
        await self._recorder.save(row, found=True)

    def _await_first_stream(self, row: Recording) -> None:
        now_us = self._clock.now_us()
        session = self._sessions.find_or_make(row.app_id, row.session_id, now_us, beyond_limit=True)
        if row.id in session.recordings.by_id:
            return
        self._sessions.tell_opened(session)
        started = session.start(row, now_us)
        if started.row.status is not row.status:
            started.save_journaled_later()
