"""The thread that writes the batches of all live journals, so that a frozen disk does not stop the event loop.

Three rules:

1. The loop submits, the thread writes. Everything that concerns one journal is done in the order of its submission. An
   urgent submission overtakes other journals, never the earlier batches of its own.
2. Nothing is dropped. A write that fails is kept and tried again, ever more slowly, while other journals go on. Waiting
   bytes are counted: from ``queue_bytes`` on, the feeders of the journals must stop until half of that is written.
3. What a failed sync may have lost is written again, with the numbers that it had, to a segment of its own, before
   anything that still waits (see ``sync``).
4. Callbacks run in the writer thread, except where it is said otherwise. They must be quick: hand over and return.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from wavstream.errors import InternalError, OperatorError
from wavstream.journal.copies import Copies, are_copied, offer_unwritten, tell_unwritten
from wavstream.journal.journal import SEGMENT_BYTES, Action, Journal, call_safely
from wavstream.journal.segments import SegmentFile, WriteAt, delete_segments, segment_path
from wavstream.journal.set_aside import SetAside
from wavstream.journal.sync import KEEP_BYTES, Flush, FolderSync, Unsynced
from wavstream.removals import Removals

QUEUE_BYTES = 64 * 1024 * 1024
"""A second of 2,000 legs of 16 kHz L16."""

HANGS_S = 5.0
"""A write that takes longer is not taken: commands that wait for it have been refused by then."""

_FIRST_RETRY_S = 0.05
_LAST_RETRY_S = 1.0
_WHAT_TO_DO = "free space on the disk, or repair it; writing is retried until it succeeds"

log = structlog.get_logger(__name__)


class JournalWriter:
    """The writer thread, and what the loop's thread calls: all public methods but ``stop``, which blocks."""

    def __init__(
        self,
        folder: Path,
        *,
        on_written: Callable[[Sequence[Journal]], None],
        on_pressure: Callable[[bool], None],
        queue_bytes: int = QUEUE_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        sync_interval_s: float = 1.0,
        write_at: WriteAt = os.pwrite,
        flush: Flush | None = None,
        keep_bytes: int = KEEP_BYTES,
        removals: Removals | None = None,
        copies: Copies | None = None,
    ) -> None:
        """Prepare the threads; ``start`` starts them.

        ``on_written`` is called with journals whose earlier submissions are in their files, where a reader finds them.
        ``on_pressure`` is called with True when the queue is full, in the loop's thread, by the submission that filled
        it; with False when half of it is written, in either thread. ``copies``: who copies; None: nobody does.
        """
        self.folder = folder
        self._removals = removals or Removals()
        self.set_aside = SetAside(folder, removals=self._removals)
        """Where journals go that are damaged."""
        self._on_written = on_written
        self._on_pressure = on_pressure
        self._queue_limit_bytes = queue_bytes
        self._segment_bytes = segment_bytes
        self._write_at = write_at
        self._sync = FolderSync(
            folder, interval_s=sync_interval_s, write_again=self._write_again, flush=flush, keep_bytes=keep_bytes
        )
        self._copies = copies
        self._unsafe: queue.SimpleQueue[Unsynced] = queue.SimpleQueue()
        """What a failed sync may have lost."""
        # Each counter has one thread that changes it, so neither needs a lock.
        self._submitted_bytes = 0
        self._written_bytes = 0
        self._full = False
        self._pressure_lock = threading.RLock()
        self._jobs: queue.SimpleQueue[Sequence[Journal] | None] = queue.SimpleQueue()
        self._urgent: deque[Journal] = deque()
        self._stuck: dict[Journal, None] = {}
        self._failing: OSError | None = None
        self._in_hand_since_s: float | None = None
        self._retry_s = _FIRST_RETRY_S
        self._retry_at = 0.0
        self.is_stopped = False
        """Whether it takes nothing more."""
        self._give_up_at = 0.0
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)

    @property
    def queued_bytes(self) -> int:
        """Bytes of records that were submitted and are not written."""
        return self._submitted_bytes - self._written_bytes

    @property
    def hanging_s(self) -> float:
        """For how long the write in hand has not returned; 0: there is none."""
        since_s = self._in_hand_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def refused(self) -> str | None:
        """Why the disk does not take what is written at present, in words."""
        if self._failing is None and (hanging_s := self.hanging_s) >= HANGS_S:
            return f"the journal's disk has not taken a write for {hanging_s:.0f} s: look at the disk"
        return None if self._failing is None else f"the journal cannot be written: {self._failing}"

    @property
    def failing(self) -> OSError | None:
        """Why writing or syncing does not succeed at present."""
        return self._failing or self._sync.failing

    def start(self) -> None:
        """Make the folder and start the threads; raise OperatorError if the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OperatorError(f"the journal folder {self.folder} cannot be made ({error.strerror})") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise OperatorError(f"the journal folder {self.folder} is not writable: change its owner or mode")
        self._sync.start()
        self._thread.start()

    def open(self, *, key: str, app_id: str, session_id: str, segment: int = 1, number: int | None = None) -> Journal:
        """Return a journal to append to. ``segment`` must not exist: after a crash it is the last one's number + 1.

        ``number``: that of its next batch, which readers take for a copy if there was one with it.
        """
        segment_path(self.folder, key, segment)
        if number is None and segment > 1:
            raise InternalError(f"journal {key} goes on in segment {segment}, and nobody says with which number")
        return Journal(
            key=key,
            app_id=app_id,
            session_id=session_id,
            segment=segment,
            number=number or 0,
            segment_bytes=self._segment_bytes,
        )

    def submit(self, journals: Sequence[Journal]) -> None:
        """Flush these journals and have their batches written, one after the other."""
        job = [journal for journal in journals if journal.flush()]
        if job:
            self._count(job)
            self._put(job)
            self._settle_pressure()

    def submit_urgent(self, journal: Journal, on_written: Action) -> None:
        """Flush this journal and have it written next; then ``on_written`` is called in the writer thread."""
        journal.flush()
        journal.queue.append(partial(call_safely, on_written))
        self._count([journal])
        self._urgent.append(journal)
        self._put(())
        self._settle_pressure()

    def delete_before(self, journal: Journal, segment: int, *, then: Action) -> None:
        """Delete the segments lower than ``segment``, tried again until the disk lets them go; ``then`` call that."""
        self._submit_actions(journal, partial(self._delete, journal, segment), partial(call_safely, then))

    def put_back(self, journal: Journal) -> None:
        """Give the segment that is being written its name again, if the folder was removed or moved away."""
        self._submit_actions(journal, partial(self._put_back, journal))

    def close(self, journal: Journal, *, then: Action | None = None) -> None:
        """Write what is pending and close the file; ``then`` call that. A later append goes to a fresh segment."""
        journal.rotate()
        actions = [] if then is None else [partial(call_safely, then)]
        self._submit_actions(journal, partial(self._close, journal), *actions)

    def delete(self, journal: Journal, *, is_damaged: bool, then: Action) -> None:
        """Close the file; delete all segments, or set aside what ``is_damaged``; ``then`` as in ``delete_before``."""
        below = journal.rotate()
        go = partial(self._keep_aside, journal) if is_damaged else partial(self._delete_all, journal, below)
        self._submit_actions(journal, partial(self._close, journal), go, partial(call_safely, then))

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Write what nobody has copied, sync, end the threads; block for it. Raise DependencyError if some is lost."""
        self.is_stopped, self._give_up_at = True, time.monotonic() + timeout_s
        self._jobs.put(None)
        self._thread.join(timeout_s + _LAST_RETRY_S)
        self._sync.stop(timeout_s=timeout_s)
        if not self._unsafe.empty():  # the last sync has failed: once more, in the place of the threads that have ended
            self._write_unsafe()
            self._sync.sync()
        self._sync.close()
        if self.queued_bytes:
            tell_unwritten(self.folder, self._stuck, waiting_bytes=self.queued_bytes, error=self._failing)

    # ---- the loop's side -----------------------------------------------------------------------------------------

    def _submit_actions(self, journal: Journal, *actions: Action) -> None:
        journal.flush()
        journal.queue.extend(actions)
        self._count([journal])
        self._put([journal])

    def _put(self, job: Sequence[Journal]) -> None:
        if self.is_stopped:
            raise InternalError("the journal writer was stopped before its sessions")
        self._jobs.put(job)

    def _count(self, journals: Sequence[Journal]) -> None:
        for journal in journals:
            self._submitted_bytes += journal.unsubmitted_bytes
            journal.unsubmitted_bytes = 0

    def _settle_pressure(self) -> None:
        """Call ``on_pressure`` if the queue became full or half empty.

        Each thread calls this after changing its counter: the last one sees both, so no change is missed.
        """
        with self._pressure_lock:
            limit = max(self._queue_limit_bytes // 2, 1) if self._full else self._queue_limit_bytes
            full = self.queued_bytes >= limit
            if full != self._full:
                self._full = full
                call_safely(partial(self._on_pressure, full))

    # ---- the thread's side ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._until_retry_s() if self._stuck else None)
            except queue.Empty:
                job = ()
            if job is None:
                break
            self._write_unsafe()
            self._write_urgent()
            offer_unwritten((journal for journal in job if journal in self._stuck), self._copies)
            self._write_all([journal for journal in job if journal not in self._stuck])
            if self._stuck and not self._until_retry_s():
                self._retry()
        while not are_copied(self._stuck) and time.monotonic() < self._give_up_at:
            time.sleep(self._until_retry_s())
            self._retry()

    def _until_retry_s(self) -> float:
        return max(self._retry_at - time.monotonic(), 0.0)

    def _write_again(self, unsynced: Unsynced) -> None:
        """Have written again what a failed sync has covered; called in the thread that syncs."""
        self._unsafe.put(unsynced)
        self._jobs.put(())

    def _write_unsafe(self) -> None:
        while not self._unsafe.empty():
            again: dict[Journal, list[Action]] = {}
            for journal, batch in self._unsafe.get().batches:
                if batch[0] >= journal.first_number:
                    actions = again.setdefault(journal, [partial(self._begin_segment, journal)])
                    actions.append(partial(self._put_batch, journal, *batch))
            for journal, actions in again.items():
                if journal.file is None:  # nobody writes to it any more
                    actions.append(partial(self._close, journal))
                journal.queue.extendleft(reversed(actions))  # rule 3
            self._write_all([journal for journal in again if journal not in self._stuck])

    def _write_urgent(self) -> None:
        while self._urgent:
            self._write(self._urgent.popleft())

    def _write_all(self, journals: Sequence[Journal]) -> None:
        written: list[Journal] = []
        for journal in journals:
            if self._write(journal):
                written.append(journal)
            self._write_urgent()  # rule 1: between two journals
        if written:
            call_safely(partial(self._on_written, written))
        self._settle_pressure()

    def _retry(self) -> None:
        stuck = list(self._stuck)
        self._stuck.clear()
        self._write_all(stuck)
        if self._stuck:
            self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)
            self._retry_at = time.monotonic() + self._retry_s
        else:
            self._retry_s = _FIRST_RETRY_S
            self._failing = None
            log.info("journal_write_recovered", folder=str(self.folder))

    def _write(self, journal: Journal) -> bool:
        """Work off the journal's queue, oldest first; return False if the disk refused, and the rest stays queued."""
        waiting = journal.queue
        try:
            while waiting:
                entry, self._in_hand_since_s = waiting[0], time.monotonic()
                if isinstance(entry, tuple):
                    self._write_batch(journal, *entry)
                else:
                    entry()
                waiting.popleft()  # rule 2: only what was written leaves the queue
        except OSError as error:
            if self._failing is None:
                log.error("journal_write_failing", folder=str(self.folder), error=str(error), to_do=_WHAT_TO_DO)
            self._failing = error
            if not self._stuck:
                self._retry_at = time.monotonic() + self._retry_s
            self._stuck[journal] = None
            offer_unwritten((journal,), self._copies)
            return False
        finally:
            self._in_hand_since_s = None
        return True

    def _write_batch(self, journal: Journal, segment: int, payload: bytes, has_event: bool) -> None:
        if segment > journal.loop_segment:
            journal.loop_segment = segment
            self._close(journal)
        self._put_batch(journal, journal.next_number, payload, has_event)
        journal.next_number += 1
        journal.written_bytes += len(payload)
        self._written_bytes += len(payload)

    def _put_batch(self, journal: Journal, number: int, payload: bytes, has_event: bool) -> None:
        file = journal.file
        if file is None:
            file = journal.file = self._new_file(journal, journal.loop_segment + journal.shift)
        file.write(number, payload, is_twice=has_event)
        journal.written = file.position
        self._sync.written(file.path, journal, (number, payload, has_event))
        if self._copies is not None:
            self._copies.put(journal, file.position.segment, number, payload, has_event)

    def _begin_segment(self, journal: Journal) -> None:
        """Begin a segment between two of the loop."""
        self._close(journal)
        journal.shift += 1

    def _new_file(self, journal: Journal, segment: int) -> SegmentFile:
        make = partial(
            SegmentFile,
            self.folder,
            key=journal.key,
            app_id=journal.app_id,
            session_id=journal.session_id,
            segment=segment,
            write_at=self._write_at,
        )
        try:
            return make()
        except FileNotFoundError:  # the folder was removed: what is said from here on is not lost with it
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return make()

    def _put_back(self, journal: Journal) -> None:
        if journal.file is None:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if journal.file.put_back():
            self._sync.touched(journal.file.path)
            log.warning("journal_segment_put_back", journal=journal.key, segment=journal.file.position.segment)

    def _close(self, journal: Journal) -> None:
        if journal.file is not None:
            file, journal.file = journal.file, None
            file.close()

    def _delete_all(self, journal: Journal, below: int) -> None:
        """Delete all segments; what was written before is not written again."""
        journal.first_number = journal.next_number
        self._delete(journal, below + journal.shift)

    def _keep_aside(self, journal: Journal) -> None:
        journal.first_number = journal.next_number
        try:
            self.set_aside.take_journal(journal.key)
        except OSError as error:
            log.error("journal_not_set_aside", journal=journal.key, error=str(error))
        else:
            log.error("damaged_journal_kept", journal=journal.key, folder=str(self.set_aside.path))

    def _delete(self, journal: Journal, below: int) -> None:
        if journal.file is not None and journal.file.position.segment < below:
            self._close(journal)
        # A failed deletion must not keep later batches from being written. A later one does the work of this one too.
        delete = partial(delete_segments, self.folder, journal.key, below=below)
        self._removals.remove(f"journal {journal.key}", delete)
