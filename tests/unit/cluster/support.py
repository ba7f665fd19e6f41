"""What the tests of the cluster share: batches that can be told from others, and a log as the engine keeps it."""

from __future__ import annotations

from collections import defaultdict

from wavstream.cluster.engine import Logged, WrongSequence
from wavstream.cluster.tail import Message, Resolved, Room, ShardTail
from wavstream.cluster.tail_message import Fence, Pieces, TailBatch, pack_fence, unpack
from wavstream.journal.records import RECORD, RecordKind

SUBJECT = "tail.a.0"


def batch(
    number: int, *, key: str = "k", session: str = "s", segment: int = 1, epoch: int = 1, size_bytes: int = 10
) -> TailBatch:
    """Return a batch of one record, whose content tells which one it is."""
    content = f"{key}/{number}/".encode().ljust(size_bytes, b".")
    kind = RecordKind.EVENT if number % 7 == 0 else RecordKind.FRAME
    payload = RECORD.pack(len(content), kind, 0, 0, number, 0) + content
    return TailBatch(key, "app", session, segment, number, epoch, kind is RecordKind.EVENT, payload)


class CheckedLog:
    """Subjects, each write behind the sequence that it names: the engine without its network."""

    def __init__(self) -> None:
        self.subjects: defaultdict[str, list[Logged]] = defaultdict(list)
        self._sequence = 0

    def last(self, subject: str = SUBJECT) -> int:
        """Return the last sequence of a subject."""
        messages = self.subjects[subject]
        return messages[-1].sequence if messages else 0

    def write(self, payload: bytes, after: int | None, subject: str = SUBJECT) -> int:
        """Write a message; raise WrongSequence."""
        if after is not None and after != self.last(subject):
            raise WrongSequence(subject)
        self._sequence += 1
        self.subjects[subject].append(Logged(self._sequence, payload))
        return self._sequence

    def behind(self, after: int, subject: str = SUBJECT) -> list[Logged]:
        """Return what a subject has behind a sequence."""
        return [logged for logged in self.subjects[subject] if logged.sequence > after]

    def fence(self, fence: Fence, subject: str = SUBJECT) -> int:
        """Write a fence."""
        return self.write(pack_fence(fence), None, subject)

    def batches(self, subject: str = SUBJECT) -> list[TailBatch]:
        """Return all whole batches of a subject, in its order."""
        pieces, found = Pieces(), []
        for logged in self.subjects[subject]:
            contents = unpack(logged.payload)
            if not isinstance(contents, Fence):
                found.extend(pieces.whole(contents.batches))
        return found


class Shipped:
    """A tail, and the log that it is written to."""

    def __init__(
        self, *, max_payload_bytes: int = 1 << 20, limit_bytes: int = 1 << 20, log: CheckedLog | None = None
    ) -> None:
        self.log = log or CheckedLog()
        self.room = Room(limit_bytes)
        self.tail = ShardTail(max_payload_bytes=max_payload_bytes, room=self.room)
        self.resolve()

    def resolve(self) -> Resolved:
        """Read what is behind, and tell the tail."""
        return self.tail.resolve(self.log.behind(self.tail.after), self.log.last())

    def send(self, message: Message) -> bool:
        """Write a message and tell the tail what came of it; return whether it was taken."""
        try:
            sequence = self.log.write(*message)
        except WrongSequence:
            self.tail.refused()
            return False
        self.tail.acked(sequence)
        return True

    def send_all(self) -> None:
        """Write what waits, to the end."""
        while (message := self.tail.next_message()) is not None or self.tail.is_refused:
            if message is None:
                self.resolve()
            else:
                self.send(message)
