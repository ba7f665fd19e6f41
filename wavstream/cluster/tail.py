"""The tail of one shard: what is written to the journals here, on its way into the log of the engine, in order.

1. One message is on its way at a time, behind the sequence that is last in the subject as far as is known here. What is
   added meanwhile is in the next.
2. Where no answer came (``unknown``), the same message is sent again, byte for byte and behind the same sequence: of
   all that was sent so, the engine takes one.
3. Where it was refused, something else is there. The shell reads what (``resolve``): if it is the message itself, it
   counts. If it is a fence, the sessions that it names are another node's, and nothing more of them is sent; what is
   left of the message is packed anew, behind the fence, and the rest of the shard goes on.
4. Memory has a bound, which the shards of a node share (``Room``). What has no room is not kept but noted: from which
   batch on a journal is behind. It is read from the local journal when there is room, before anything that is newer.
5. What is in the bucket need not be in the tail: it is left out where it still waits, and each message tells up to
   where the subject has nothing any more that is not in the bucket. What was lost to another, and what earlier
   processes wrote here, counts as needed until it is known that it is not: whoever reads it may die too.
6. A journal counts as copied up to a batch if the tail or the bucket has each of its batches up to there.
7. A batch whose number was added before is a copy (a failed sync has had it written again), and is passed over.
8. What the disk does not take may come before it is written (``journal.copies``). Nobody can read that back, so it is
   taken if nothing before it is missing here and there is room; else it comes again. Where it is written then is not
   known: it may be a later segment than the one that it says, so what the bucket has is told by numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from wavstream.cluster.engine import Logged
from wavstream.cluster.outlines import ShardOutlines
from wavstream.cluster.ownership import hash_of
from wavstream.cluster.tail_message import (
    Fence,
    TailBatch,
    cut,
    fence_in,
    item_bytes,
    pack,
    room_of,
    told_by,
)
from wavstream.cluster.tailed_journal import TailedJournal
from wavstream.journal.outline import Outline


class Message(NamedTuple):
    """What is to be published next."""

    payload: bytes
    after: int
    """The sequence behind which it is to be written."""


class Behind(NamedTuple):
    """What is to be read of a local journal, since memory had no room for it (rule 4)."""

    key: str
    segment: int
    """In which its first batch lies, or a later one."""
    number: int
    """Of its first batch."""


class Copied(NamedTuple):
    """How far a journal is copied now."""

    key: str
    through: int
    """The number of the last batch (rule 6)."""


class Resolved(NamedTuple):
    """What came of a write that was refused (rule 3)."""

    copied: list[Copied]
    """If it was there, what that has copied."""
    fences: list[Fence]
    """Others have these sessions: look into the table."""


@dataclass(slots=True)
class Room:
    """The memory of all shards of a node."""

    limit_bytes: int
    taken_bytes: int = 0

    @property
    def is_short(self) -> bool:
        """Whether more than half is taken: nothing is read back until then."""
        return self.taken_bytes > self.limit_bytes // 2


class ShardTail:
    """One shard's queue. Used by one thread; the shell publishes what it gives."""

    def __init__(self, *, max_payload_bytes: int, room: Room) -> None:
        """Begin: ``resolve`` comes first, with the last message that the subject has."""
        self._room = room
        self._message_bytes = room_of(max_payload_bytes)
        self._queue: deque[TailBatch] = deque()
        self._journals: dict[str, TailedJournal] = {}
        self._flying: list[TailBatch] = []
        """What the message has."""
        self._flying_bytes = 0
        """Of the room, which that takes."""
        self._message: Message | None = None
        self._is_sent = False
        """Whether the message was given away, and nothing was heard of it yet."""
        self._after = 0
        self._stored_through = 0
        self._is_stored_stale = False
        self._may_be_behind = False
        """Whether a journal was behind since it was last looked; asked at each message, and nearly always False."""
        self._outlines = ShardOutlines()
        self._needed: dict[str, int] = {}
        """By hash of a lost session, or "" for earlier processes: the first message that may be needed (rule 5)."""
        self._is_begun = False
        self.is_refused = True
        """Whether it is to be read what the subject has (rule 3)."""

    @property
    def after(self) -> int:
        """The last sequence of the subject, as far as is known here: what is behind it is to be read."""
        return self._after

    @property
    def is_idle(self) -> bool:
        """Whether all that was added is in the log, or in the bucket."""
        return not self._queue and self._message is None and not self.is_behind

    @property
    def is_behind(self) -> bool:
        """Whether memory had no room for something, which is read back later (rule 4)."""
        if self._may_be_behind:
            self._may_be_behind = any(each.is_behind for each in self._journals.values())
        return self._may_be_behind

    # ---- what is written here --------------------------------------------------------------------------------------

    def add(self, batch: TailBatch, *, is_written: bool = True) -> bool:
        """Take a batch of the local journal, in the order of its writing; return False if it has to come again.

        ``is_written``: it is in its file. Else it is taken only if it can be kept at once (rule 8).
        """
        journal = self._journals.get(batch.key)
        if journal is None or journal.epoch < batch.epoch:
            before = batch.number - 1
            journal = self._begin(batch.key, batch.session_id, batch.epoch, newest=before, copied=before)
            self._outlines.begin(batch.key, None if batch.number else Outline())
        elif batch.number <= journal.newest or batch.epoch < journal.epoch:
            return True  # rule 7
        size_bytes = item_bytes(batch)
        was_behind, has_room = journal.is_behind, self._has_room(size_bytes)
        if not is_written and (was_behind or not has_room or batch.number > journal.newest + 1):
            return False
        journal.newest = batch.number
        if has_room and not was_behind:
            self._keep(journal, batch, size_bytes)
        elif not was_behind:
            journal.segment, self._may_be_behind = batch.segment, True  # rule 4
        return True

    def goes_on(
        self, key: str, session_id: str, epoch: int, *, segment: int, number: int, copied: int, outline: Outline | None
    ) -> None:
        """Note a journal that goes on here in a new epoch, and what of it is nowhere but here.

        ``number``: of its next batch. ``copied``: of the last one that the bucket or an earlier tail has; what is
        behind it is read back, from ``segment`` on, with the new epoch. ``outline``: of what is not read back.
        """
        journal = self._begin(key, session_id, epoch, newest=number - 1, copied=min(copied, number - 1))
        journal.segment, self._may_be_behind = segment, True
        self._outlines.begin(key, outline)

    def replicated_through(self, key: str) -> int:
        """Return the number of the last batch up to which a journal is copied (rule 6); -1: none is."""
        journal = self._journals.get(key)
        return -1 if journal is None else journal.copied

    def stored(self, key: str, segment: int, number: int) -> Copied | None:
        """Note that the bucket has a segment, the last batch of which has this number, and all before it."""
        journal = self._journals.get(key)
        if journal is None:
            return None
        before = journal.copied
        self._is_stored_stale |= journal.note_stored(segment, number)
        return Copied(key, journal.copied) if journal.copied > before else None

    def closed(self, key: str) -> None:
        """Forget a journal that nobody needs any more: its recordings' files are in the bucket."""
        self._outlines.forget(key)
        if self._journals.pop(key, None) is not None:
            self._is_stored_stale = True

    def lost(self, session_hash: str, epoch: int) -> None:
        """Send nothing more of a session of which only what is of this epoch or a later one may be ours."""
        for key, journal in tuple(self._journals.items()):
            if journal.epoch < epoch and journal.session_hash == session_hash:
                del self._journals[key]
                self._outlines.forget(key)
                if journal.unsealed:
                    first = journal.unsealed[0].first
                    self._needed[session_hash] = min(first, self._needed.get(session_hash, first))  # rule 5

    def freed(self, session_hash: str) -> None:
        """Note that a session is over that may have been lost here: what this tail has of it is read no more."""
        self._is_stored_stale |= self._needed.pop(session_hash, None) is not None

    def earlier_expired(self) -> None:
        """Note that what earlier processes wrote to the subject has expired: so long after the start."""
        self.freed("")

    # ---- what the log is sent --------------------------------------------------------------------------------------

    def next_message(self) -> Message | None:
        """Return what is to be published now; None: wait for an answer, or for something to send."""
        if self._is_sent or self.is_refused:
            return None
        if self._message is None:
            self._flying, room_bytes = self._take()
            if not self._flying:
                return None
            items = [*self._flying, *self._outlines.due(self._flying, room_bytes)]
            stored_through, outlined_from = self._count_stored(), self._outlines.told_from
            payload = pack(items, stored_through=stored_through, outlined_from=outlined_from)
            self._message = Message(payload, self._after)
        self._is_sent = True
        return self._message

    def acked(self, sequence: int) -> list[Copied]:
        """Note that the message was taken, with its sequence; return which journals that has copied further."""
        self._after, self._message, self._is_sent = sequence, None, False
        self._outlines.acked(self._flying, sequence)
        self._room.taken_bytes -= self._flying_bytes
        copied: dict[str, int] = {}
        for batch in self._flying:
            journal = self._current(batch)
            if journal is None:
                continue
            journal.note_acked(batch, sequence)
            if not batch.missing:
                copied[batch.key] = journal.copied
        self._flying, self._flying_bytes = [], 0
        return [Copied(*each) for each in copied.items()]

    def unknown(self) -> None:
        """Note that no answer came: the next message is the same one (rule 2)."""
        self._is_sent = False

    def refused(self) -> None:
        """Note that something else is behind ``after``: read it, and ``resolve``."""
        self._is_sent, self.is_refused = False, True

    def resolve(self, found: Iterable[Logged], last: int) -> Resolved:
        """Take what the subject has behind ``after``, and its last sequence (0: all has expired); go on (rule 3).

        Where something of it may have expired, the shell looks into the table before it calls this: a fence that is
        gone tells nobody anything. At the beginning ``found`` is the last message alone.
        """
        copied: list[Copied] = []
        fences: list[Fence] = []
        for logged in found:
            if self._message is not None and logged.payload == self._message.payload:
                copied = self.acked(logged.sequence)
                continue
            if not self._is_begun:
                self._stored_through = max(self._stored_through, told_by(logged.payload)[0])
            if (fence := fence_in(logged.payload)) is not None:
                fences.append(fence)
                for session_hash, epoch in fence.sessions.items():
                    self.lost(session_hash, epoch)
        if not self._is_begun and last:
            self._needed[""] = self._stored_through + 1
        if self._message is not None:
            self._queue.extendleft(reversed(self._flying))
            self._message, self._flying, self._flying_bytes = None, [], 0
        self._after, self._is_begun, self.is_refused = last, True, False
        return Resolved(copied, fences)

    # ---- what memory had no room for -------------------------------------------------------------------------------

    def behind(self) -> list[Behind]:
        """Return what is to be read of local journals now; empty: nothing, or there is no room yet."""
        if self._room.is_short or not self.is_behind:
            return []
        journals = self._journals.items()
        return [Behind(key, journal.segment, journal.kept + 1) for key, journal in journals if journal.is_behind]

    def read_back(self, key: str, batches: Iterable[TailBatch]) -> bool:
        """Take what was read of a local journal, from its ``Behind`` on; return whether to go on reading it.

        What is there but cannot be read is left out: the bucket may have it when its segment is stored.
        """
        journal = self._journals.get(key)
        if journal is None:
            return False
        for batch in batches:
            if not journal.is_behind or batch.epoch != journal.epoch:
                break
            if not journal.kept < batch.number <= journal.newest:
                continue
            size_bytes = item_bytes(batch)
            if not self._has_room(size_bytes):
                journal.segment = batch.segment
                return False
            if batch.number > journal.kept + 1:
                journal.gaps.append(journal.kept + 1)
            self._keep(journal, batch, size_bytes)
        return journal.is_behind

    def not_to_be_read(self, key: str) -> None:
        """Note that the rest of what was asked for cannot be read back at all."""
        journal = self._journals.get(key)
        if journal is not None and journal.is_behind:
            journal.gaps.append(journal.kept + 1)
            journal.kept = journal.newest

    def _begin(self, key: str, session_id: str, epoch: int, *, newest: int, copied: int) -> TailedJournal:
        """Return a journal that begins here, or goes on in a new epoch: what this subject has of it stays needed."""
        earlier = self._journals.get(key)
        journal = TailedJournal(hash_of(session_id), epoch, newest=newest, kept=copied, acked=copied, stored=copied)
        if earlier is not None:
            journal.unsealed = earlier.unsealed
        self._journals[key] = journal
        return journal

    def _has_room(self, size_bytes: int) -> bool:
        taken = self._room.taken_bytes
        return not taken or taken + size_bytes <= self._room.limit_bytes

    def _keep(self, journal: TailedJournal, batch: TailBatch, size_bytes: int) -> None:
        journal.kept = batch.number
        self._outlines.learn(batch)
        self._queue.append(batch)
        self._room.taken_bytes += size_bytes

    def _current(self, batch: TailBatch) -> TailedJournal | None:
        journal = self._journals.get(batch.key)
        return journal if journal is not None and journal.epoch == batch.epoch else None

    def _take(self) -> tuple[list[TailBatch], int]:
        """Return what the next message has: as much as fits, or a piece of what fits into none; and the bytes left."""
        taken: list[TailBatch] = []
        left_bytes = self._message_bytes
        while self._queue:
            batch = self._queue[0]
            journal, size_bytes = self._current(batch), item_bytes(batch)
            if journal is None or batch.number <= journal.stored:  # rule 5
                self._queue.popleft()
                self._room.taken_bytes -= size_bytes
                continue
            if size_bytes > left_bytes:
                if not taken:
                    piece, rest = cut(batch, left_bytes)
                    self._queue[0] = rest
                    self._flying_bytes = item_bytes(piece)
                    self._room.taken_bytes += self._flying_bytes + item_bytes(rest) - size_bytes
                    taken.append(piece)
                    left_bytes = 0
                break
            taken.append(self._queue.popleft())
            self._flying_bytes += size_bytes
            left_bytes -= size_bytes
        return taken, left_bytes

    def _count_stored(self) -> int:
        """Return up to where nothing is left that only the subject has (rule 5)."""
        if self._is_stored_stale:
            self._is_stored_stale = False
            needed = [journal.unsealed[0].first for journal in self._journals.values() if journal.unsealed]
            needed.extend(self._needed.values())
            self._stored_through = max(self._stored_through, min(needed, default=self._after + 1) - 1)
        return self._stored_through
