"""One recording while the server has to do with it: its row, its part of the journal, and the job that makes its file.

    accept       accepted     in the registry; nothing of it is in a journal
    begin        ongoing      its start record is in the journal, which it leases from there on
    set_status   paused, ongoing
    stop         completed    its stop record is in the journal
      finish     available    or ``absent``, or ``failed``: its row says so, and it leaves the registry

The end of a recording takes four trips to other threads:

    event loop         journal-writer     render               publish             catalog
    stop record ---->  written next
                <----
         -------------------------------> folds to the
                                          stop record
                <------------------------
         ----------------------------------------------------> header, fsync,
                                                               rename, fsync
                <---------------------------------------------
         ------------------------------------------------------------------------> row and facts
    journal released

Its order is what makes a crash at any moment harmless: the file is there before its row says so, and the journal is
there until the row does. A recording that cannot be rendered, which is a fault of ours, is ``failed``, and its journal
is kept for a replay by a version that can (see ``journal_leases``).

What a command is answered is *safe*: no crash of the server takes it back.

1. The record is in the journal's file, which a killed process leaves whole, before anybody is told and before the row
   is written. If the disk does not take it within ``JOURNALED_S``, the command is answered with ``NotYetSafe``.
2. The row follows, after the rows before it, so an older one never comes last. The answer waits for it, but not for
   longer than ``ROW_WAIT_S``: a restart makes the row agree with the journal (``recovery.agreement``).
3. A command that is in no journal, because its recording waits for a first stream, is safe when its row is written.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from wavstream.errors import InternalError, NotYetSafe, TakenElsewhere
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.records import event_record
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.model.times import utc
from wavstream.recorder.journal_leases import JournalLeases
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import Priority, RenderThread

log = structlog.get_logger(__name__)

JOURNALED_S = 5.0
"""How long a command waits for its record to be written; as long as one waits for a catalog that is locked."""
ROW_WAIT_S = 2.0
"""How long a command whose record is written waits for its row."""
SLOW_S = 2.0
"""A recording whose file takes longer is ``completed`` in the catalog meanwhile. Not at once: the commit of the
finished file would have to wait for that one."""


class LiveRecording:
    """One entry of the registry of the ``Recorder``, which makes it. Lives on the event loop."""

    def __init__(
        self,
        row: Recording,
        *,
        registry: dict[str, LiveRecording],
        leases: JournalLeases,
        render: RenderThread,
        publisher: Publisher,
        slow_s: float = SLOW_S,
    ) -> None:
        self.row = row
        """The recording as it is; the catalog's row follows."""
        self.pauses = 0
        """How often it was paused."""
        self.journal: Journal | None = None
        self.job: RenderJob | None = None
        self.folded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more goes into the file."""
        self.ended: asyncio.Future[Recording] = asyncio.get_running_loop().create_future()
        """Gives the recording as it ends up: with its file, or without one for good."""
        self.finishing_since_s = 0.0
        """When its file began to be finished, by the monotonic clock."""
        self.finishing: asyncio.Task[Recording] | None = None
        """What makes the file of a recording that was stopped, and gives the recording as it ends up."""
        self._stop_written: asyncio.Future[None] | None = None
        """Done when its stop record is in the journal's file."""
        self._journal_whole: asyncio.Future[None] | None = None
        """Done when all of its journal is here; None: it always was."""
        self._journaled_before = 0
        self.unsaved: Recording | None = None
        """As its journal has it, while the row does not say so yet."""
        self._saving: asyncio.Task[None] | None = None
        """What writes the row, after those before it."""
        self._registry = registry
        self._leases = leases
        self._render = render
        self._publisher = publisher
        self._slow_s = slow_s
        registry[row.id] = self

    # ---- while it runs ---------------------------------------------------------------------------------------------

    def begin(self, row: Recording, journal: Journal, job: RenderJob, *, first_segment: int) -> None:
        """Mark the recording as running; its start record is in ``first_segment`` or later."""
        self.row, self.journal, self.job = row, journal, job
        self._journaled_before = journal.written_bytes
        self._leases.acquire(row.id, journal, first_segment=first_segment)

    def await_journal(self) -> None:
        """Fold nothing until ``journal_came``: what was before this node's part of the journal is on its way here."""
        assert self.job is not None
        self.job.awaits_journal = True
        self._journal_whole = asyncio.get_running_loop().create_future()

    @property
    def awaits_journal(self) -> bool:
        """Whether what was before this node's part of the journal is not here yet."""
        return self._journal_whole is not None and not self._journal_whole.done()

    def journal_came(self) -> bool:
        """Note that all of the journal is here; return whether that was waited for."""
        if self.job is None or self._journal_whole is None or self._journal_whole.done():
            return False
        self.job.awaits_journal = False
        self._journal_whole.set_result(None)
        return True

    def set_status(self, status: Status, now_us: int, *, pause_behavior: PauseBehavior | None = None) -> Recording:
        """Make it ongoing or paused; ``pause_behavior`` changes that option."""
        self.pauses += status is Status.PAUSED
        options = self.row.options
        if pause_behavior is not None:
            options = replace(options, pause_behavior=pause_behavior)
        self.row = self.row.became(status, utc(now_us), options=options)
        return self.row

    def set_client_state(self, client_state: str) -> None:
        """Change what is handed back from now on; the row has it with its next change."""
        self.row = replace(self.row, options=replace(self.row.options, client_state=client_state))

    def hold(self, hold: LegalHold | None) -> None:
        """Repeat the legal hold of its row; None: it is released."""
        self.row = replace(self.row, hold=hold)

    def clock_jumped(self, by: timedelta) -> None:
        """Move when it expires, if that is known: the wall clock was put forth, or back."""
        if self.row.expires_at is not None and self.row.kept_since is not None:
            self.row = replace(self.row, expires_at=self.row.expires_at + by, kept_since=self.row.kept_since + by)

    async def save_journaled(self) -> None:
        """Return when what was noted so far is safe, with its row written if the catalog works; raise NotYetSafe.

        So a row that says ``ongoing`` has a journal, and whoever was told that a recording has begun, was paused or
        goes on finds it so, whatever ends the server.
        """
        assert self.journal is not None
        written = self._leases.flush(self.journal)
        saving = self._save_behind(written)
        await self._wait_for(written)  # rule 1
        await asyncio.wait((saving,), timeout=ROW_WAIT_S)  # rule 2

    def save_journaled_later(self) -> asyncio.Task[None]:
        """Write the row, as it is now, once the journal has what was noted so far and the rows before it are written.

        Nobody need wait for that.
        """
        assert self.journal is not None
        return self._save_behind(self._leases.flush(self.journal))

    async def journaled(self) -> None:
        """Wait until the journal's file has what was noted so far; raise NotYetSafe if that takes ``JOURNALED_S``."""
        if self.finishing is not None:
            await self._wait_for(self._written_to_its_stop())  # nothing is noted of it behind that
        elif self.journal is not None:
            await self._wait_for(self._leases.flush(self.journal))

    def _written_to_its_stop(self) -> asyncio.Future[None]:
        assert self.journal is not None
        if self._stop_written is None:
            self._stop_written = self._leases.flush(self.journal)
        return self._stop_written

    async def _wait_for(self, written: asyncio.Future[None]) -> None:
        await asyncio.wait((written,), timeout=JOURNALED_S)
        if not written.done():
            raise NotYetSafe(f"the journal of recording {self.row.id} was not written within {JOURNALED_S:.0f} s")

    def _save_behind(self, written: asyncio.Future[None]) -> asyncio.Task[None]:
        self._saving = self._publisher.keep(self._save_in_order(written, self._saving, self.row))
        return self._saving

    async def _save_in_order(
        self, written: asyncio.Future[None], before: asyncio.Task[None] | None, row: Recording
    ) -> None:
        await written
        self.unsaved = row
        if before is not None:
            await asyncio.wait((before,))
        await self._publisher.save(row)
        if self.unsaved is row:
            self.unsaved = None

    async def save(self) -> None:
        """Write the row; if the catalog fails, raise DependencyError, and write it later (rule 3)."""
        await self._publisher.try_save(self.row)

    def save_later(self) -> None:
        """Write the row, without anyone waiting for it."""
        self._publisher.save_later(self.row)

    @property
    def journaled_bytes(self) -> int:
        """Bytes that were written to its journal since it began."""
        return 0 if self.journal is None else self.journal.written_bytes - self._journaled_before

    @property
    def is_under_way(self) -> bool:
        """Whether it takes in audio, or is paused; one that is accepted only is not (see ``Status.is_running``)."""
        return self.row.status in (Status.ONGOING, Status.PAUSED)

    # ---- its end ---------------------------------------------------------------------------------------------------

    def cancel(self, ended: Recording) -> Recording:
        """End it before it has begun: there will be no file."""
        self.row = ended
        del self._registry[ended.id]
        self.ended.set_result(ended)
        _log_absent(ended)
        return ended

    def stop(self, stop: RecordingStopped, now_us: int, *, ended_at: datetime | None = None) -> asyncio.Task[Recording]:
        """Append the stop record now; return the task that makes the file and gives the recording as it ends up.

        ``ended_at``: when it had been stopped already, before a restart; None: now.
        """
        assert self.journal is not None
        self.journal.append_event(event_record(now_us, stop))
        ended_at = ended_at or utc(stop.end_us if stop.cuts else now_us)
        return self.finish(self.row.became(Status.COMPLETED, ended_at, end_reason=stop.reason, ended_at=ended_at))

    def finish(self, stopped: Recording) -> asyncio.Task[Recording]:
        """Make the file of a recording whose stop record is in the journal, as ``stop`` does."""
        self.row = stopped
        self.finishing_since_s = time.monotonic()
        self.finishing = asyncio.create_task(self._finish(), name=f"finish recording {stopped.id}")
        return self.finishing

    async def _finish(self) -> Recording:
        assert self.journal is not None
        assert self.job is not None
        slow = asyncio.get_running_loop().call_later(self._slow_s, self.save_later)
        try:
            await asyncio.shield(self._written_to_its_stop())
            self.row = await self._publisher.with_expiry(self.row)
            if self._journal_whole is not None:
                await asyncio.shield(self._journal_whole)
            try:
                try:
                    await self._fold_to_end(self.job, self.journal)
                finally:
                    self.folded.set_result(None)
                ended = as_it_ended(self.row, self.job.ended)
                if ended is not self.row:  # kept from its true end
                    self.row = await self._publisher.with_expiry(ended)
                while (published := await self._publisher.publish(self.job, self.row)) is None:
                    await asyncio.sleep(self._publisher.retry_s)
                    await self._fold_to_end(self.job, self.journal)  # anew, into another file
                finished = published
                _log_end(finished)
            except TakenElsewhere:  # who tells of it lets go of the whole session
                raise
            except Exception as error:  # ours: the journal is kept for whoever looks into it
                log.exception("recording_render_failed", recording_id=self.row.id, journal=self.journal.key)
                finished = replace(self.row, status=Status.FAILED, error=f"{type(error).__name__}: {error}")
                self.job.discard()
        finally:
            slow.cancel()
        if self._saving is not None:  # rule 2: so what is announced of a recording is in order too
            await asyncio.wait((self._saving,))
        while True:  # the wall clock may jump while the file is moved, or the row written: ``clock_jumped``
            finished = replace(finished, expires_at=self.row.expires_at, kept_since=self.row.kept_since)
            await self._publisher.save_finished(finished)
            if finished.expires_at == self.row.expires_at:
                break
        self.row = finished
        del self._registry[finished.id]
        self.ended.set_result(finished)
        _log_outcome(finished)
        if self.job.is_journal_damaged:
            self._leases.note_damage(self.journal.key)
        if finished.status is Status.AVAILABLE:
            self._leases.finish(finished.id)
        elif finished.status is not Status.FAILED:
            self._leases.release(finished.id)
        elif await self._publisher.is_held(finished):
            self._leases.retain(finished.id, for_s=None)
        else:
            self._leases.retain(finished.id, for_s=self._publisher.kept_s(finished))
        return finished

    def let_go(self) -> None:
        """Do nothing more with it, and say nothing: another node has it."""
        if self.finishing is not None:
            self.finishing.cancel()
        if self._saving is not None:
            self._saving.cancel()
        if self._registry.get(self.row.id) is self:
            del self._registry[self.row.id]
        taken = TakenElsewhere(f"recording {self.row.id} is another node's now")
        if not self.folded.done():
            self.folded.set_result(None)
        if not self.ended.done():
            self.ended.set_exception(taken)
            self.ended.exception()  # nobody has to wait for it
        if self.job is not None:
            self.job.broken = taken
            self._render.run(self.job.discard, Priority.BACKLOG, app_id=self.row.app_id, job=self.job)

    async def _fold_to_end(self, job: RenderJob, journal: Journal) -> None:
        try:
            await self._render.fold_to_end(job)
        except InternalError:
            if job.broken is not None:
                raise
            # The journal's folder or file was removed or renamed: it is put back from the open file.
            await self._leases.put_back(journal)
            await self._render.fold_to_end(job)


def as_it_ended(recording: Recording, ended: RecordingStopped | None) -> Recording:
    """Return a stopped recording with its true end: the fold may have found an earlier one."""
    if ended is None or not ended.reason.is_automatic:
        return recording
    return replace(recording, end_reason=ended.reason, ended_at=utc(ended.end_us))


def _log_end(ended: Recording) -> None:
    assert ended.receipt is not None
    log.info(
        "recording_ended",
        recording_id=ended.id,
        session_id=ended.session_id,
        app_id=ended.app_id,
        reason=ended.end_reason,
        length_ms=ended.receipt.duration_ms,
        lost_ms=ended.receipt.integrity.lost_ms,
    )


def _log_outcome(finished: Recording) -> None:
    if finished.status is Status.ABSENT:
        _log_absent(finished)
    elif finished.status is Status.AVAILABLE and finished.receipt is not None:
        log.info(
            "recording_published",
            recording_id=finished.id,
            session_id=finished.session_id,
            app_id=finished.app_id,
            object_key=finished.object_key,
            size_bytes=finished.receipt.size_bytes,
        )


def _log_absent(absent: Recording) -> None:
    log.info(
        "recording_absent",
        recording_id=absent.id,
        session_id=absent.session_id,
        app_id=absent.app_id,
        reason=absent.end_reason,
        error=absent.error,
    )
