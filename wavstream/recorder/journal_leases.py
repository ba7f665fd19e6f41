"""Which part of which journal is still needed, and by whom; what nobody needs is deleted.

A recording *leases* its session's journal from the segment in which it starts. It releases the lease when its file is
published. The lease of a recording that failed is *retained*, so that its audio can still be had from the journal,
until its retention ends or it is deleted. Segments are deleted from the lowest up, so a retained lease also keeps what
the session journals after it: the price of a fault that is rare, and bounded by the retention.

In a cluster a recording keeps its lease until its file is in a store: until then another node may have to make the file
again (docs/decisions/0029).

A journal that is damaged is not deleted, not even in part: it is set aside when nobody needs it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter


@dataclass(slots=True)
class _Leased:
    journal: Journal
    first_segments: dict[str, int] = field(default_factory=dict)
    """By recording: a segment at or before its start."""
    is_damaged: bool = False


Copied = Callable[[Journal, int, Callable[[], None]], None]
"""Takes a journal, a batch's number and what to call once all before that batch are copied, or that takes too long."""


class JournalLeases:
    """The recordings that need a journal. Lives on the event loop."""

    def __init__(self, writer: JournalWriter, loop: asyncio.AbstractEventLoop) -> None:
        self._writer = writer
        self._loop = loop
        self._copied: Copied | None = None
        self._until_stored = False
        self._finished: set[str] = set()
        """Recordings whose file is made, and is to be in a store before their lease ends."""
        self._stored: set[str] = set()
        """Recordings whose file is in a store, and whose lease is about to end."""
        self._leased: dict[str, _Leased] = {}
        self._journal_of: dict[str, str] = {}
        self._retained: dict[str, asyncio.TimerHandle | None] = {}
        self._released: dict[str, Future[None]] = {}
        """By recording whose lease has just ended: done when what nobody needs any more has been deleted.

        Seldom does anyone wait for it, so the loop is not woken for it.
        """

    def acquire(self, recording_id: str, journal: Journal, *, first_segment: int) -> None:
        """Keep the journal for this recording, from that segment on."""
        self._leased.setdefault(journal.key, _Leased(journal)).first_segments[recording_id] = first_segment
        self._journal_of[recording_id] = journal.key

    def holders(self, journal_key: str) -> list[str]:
        """Return the recordings that need the journal, failed ones too."""
        leased = self._leased.get(journal_key)
        return list(leased.first_segments) if leased is not None else []

    def first_segment(self, journal_key: str) -> int:
        """Return the lowest segment of a journal that somebody needs."""
        return min(self._leased[journal_key].first_segments.values())

    def note_damage(self, journal_key: str) -> None:
        """Have the journal set aside, where it would be deleted."""
        leased = self._leased.get(journal_key)
        if leased is not None:
            leased.is_damaged = True

    def journals(self) -> list[Journal]:
        """Return the journals that somebody needs."""
        return [leased.journal for leased in self._leased.values()]

    def flush(self, journal: Journal) -> asyncio.Future[None]:
        """Write what the journal has queued before the queues of others; the future is done when it is in the file.

        In a cluster, when it is copied, too.
        """
        written: asyncio.Future[None] = self._loop.create_future()

        def settle() -> None:
            if not written.done():
                written.set_result(None)

        def tell() -> None:
            if self._copied is None:
                self._loop.call_soon_threadsafe(settle)
            else:
                self._loop.call_soon_threadsafe(self._copied, journal, journal.next_number, settle)

        self._writer.submit_urgent(journal, tell)
        return written

    def put_back(self, journal: Journal) -> asyncio.Future[None]:
        """Give the segment that is being written its name again, before the queues of others; done when it has it."""
        self._writer.put_back(journal)
        return self.flush(journal)

    def copied_by(self, copied: Copied) -> None:
        """Have ``flush`` wait from now on until what is written is copied, too."""
        self._copied = copied

    def last_until_stored(self) -> None:
        """Let leases of recordings last from now on until their files are in a store."""
        self._until_stored = True

    @property
    def is_until_stored(self) -> bool:
        """Whether they last until then."""
        return self._until_stored

    def finish(self, recording_id: str) -> None:
        """End the lease of a recording that has its file; where a store is to have that first, once it has."""
        if self._until_stored and recording_id not in self._stored:
            self._finished.add(recording_id)
        else:
            self._stored.discard(recording_id)
            self.release(recording_id)

    def stored(self, recording_id: str) -> None:
        """End the lease of a recording whose file is in a store."""
        if recording_id in self._finished:
            self._finished.remove(recording_id)
            self.release(recording_id)
        elif recording_id in self._journal_of:  # the store was quicker than the one who ends the recording
            self._stored.add(recording_id)

    def let_go(self, session_id: str, *, then: Callable[[Journal], None]) -> None:
        """End all leases of a session that another node has; ``then`` is told each closed journal, by the writer.

        Once the writer is stopped nobody is told: the next start finds these journals, and whose they are.
        """
        for key, leased in [*self._leased.items()]:
            if leased.journal.session_id != session_id:
                continue
            for recording_id in leased.first_segments:
                self._journal_of.pop(recording_id, None)
                self._finished.discard(recording_id)
                timer = self._retained.pop(recording_id, None)
                if timer is not None:
                    timer.cancel()
            del self._leased[key]
            leased.journal.is_let_go = True
            if not self._writer.is_stopped:
                self._writer.close(leased.journal, then=partial(then, leased.journal))

    def release(self, recording_id: str) -> None:
        """End the recording's lease: delete what nobody else needs."""
        key = self._journal_of.pop(recording_id)
        leased = self._leased[key]
        deleted: Future[None] = Future()
        self._released[recording_id] = deleted
        deleted.add_done_callback(lambda _: self._released.pop(recording_id, None))
        self._end(recording_id, leased, deleted)

    def until_released(self, recording_id: str) -> asyncio.Future[None]:
        """Return what is done when the segments that nobody but this recording needed have been deleted."""
        deleted = self._released.get(recording_id)
        if deleted is not None:
            return asyncio.wrap_future(deleted)
        nothing_left: asyncio.Future[None] = self._loop.create_future()
        nothing_left.set_result(None)
        return nothing_left

    def _end(self, recording_id: str, leased: _Leased, deleted: Future[None]) -> None:
        def tell() -> None:
            deleted.set_result(None)

        key = leased.journal.key
        del leased.first_segments[recording_id]
        if not leased.first_segments:
            del self._leased[key]
            self._writer.delete(leased.journal, is_damaged=leased.is_damaged, then=tell)
        elif not leased.is_damaged:
            self._writer.delete_before(leased.journal, min(leased.first_segments.values()), then=tell)
        else:
            tell()

    def retain(self, recording_id: str, *, for_s: float | None) -> None:
        """Keep the lease of a recording that failed for so many seconds; None: until ``release_failed``."""
        later = None if for_s is None else self._loop.call_later(for_s, self.release_failed, recording_id)
        self._retained[recording_id] = later

    def release_failed(self, recording_id: str) -> None:
        """End the lease of a recording that failed, or that no store has yet, if there is one."""
        if recording_id in self._finished:
            self.stored(recording_id)
        if recording_id in self._retained:
            timer = self._retained.pop(recording_id)
            if timer is not None:
                timer.cancel()
            self.release(recording_id)

    @property
    def retained(self) -> int:
        """Leases of recordings that failed."""
        return len(self._retained)

    def stop(self) -> None:
        """Delete nothing from now on: what is retained is found again at the next start."""
        for timer in self._retained.values():
            if timer is not None:
                timer.cancel()
