"""A live journal: what the event loop appends to and the writer thread takes from.

The loop decides what goes where: it cuts batches (``flush``) and segments (``rotate``, or by size), so ``segment``
always names the segment that the next record will be in. The writer thread does as it is told, in order: all that
concerns one journal goes through its one queue, so nothing can overtake anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wavstream.journal.segments import Position, SegmentFile

SEGMENT_BYTES = 64 * 1024 * 1024
"""Half an hour of two 8 kHz legs: a deleted recording's part is given back soon, and files stay few."""


class Journal:
    """The loop's end of one session's journal. Made by ``JournalWriter.open``."""

    __slots__ = (
        "_segment_bytes",
        "_segment_limit_bytes",
        "app_id",
        "append",
        "file",
        "key",
        "pending",
        "queue",
        "segment",
        "session_id",
        "unsubmitted_bytes",
        "written",
        "written_bytes",
    )

    def __init__(
        self, *, key: str, app_id: str, session_id: str, segment: int = 1, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.key = key
        self.app_id = app_id
        self.session_id = session_id
        self.segment = segment
        """The segment that a record appended now will be in."""
        self.pending: list[bytes] = []
        """Records, or their heads and payloads in turn, since the last flush. Always the same list."""
        self.append: Callable[[bytes], None] = self.pending.append
        """Add a record, or its next part: costs the hot path one C call."""
        self.queue: deque[tuple[int, bytes] | Callable[[], None]] = deque()
        """Batches with their segment, and what to do between them: filled by the loop, emptied by the writer."""
        self.unsubmitted_bytes = 0
        """Of the queue, not yet announced to the writer."""
        self.written = Position(segment)
        """Up to here a reader finds whole batches; set by the writer."""
        self.written_bytes = 0
        """Of records, since this object was made; set by the writer."""
        self.file: SegmentFile | None = None
        """The open segment; touched by the writer alone."""
        self._segment_bytes = 0
        self._segment_limit_bytes = segment_bytes

    def flush(self) -> bool:
        """Cut a batch from the pending records, if any; returns whether there is something to submit."""
        if self.pending:
            payload = b"".join(self.pending)
            self.pending.clear()
            self.queue.append((self.segment, payload))
            self.unsubmitted_bytes += len(payload)
            self._segment_bytes += len(payload)
            if self._segment_bytes >= self._segment_limit_bytes:
                self.rotate()
        return self.unsubmitted_bytes > 0

    def rotate(self) -> int:
        """Let what is appended from now on go to a fresh segment; returns its number."""
        self.flush()
        if self._segment_bytes:
            self.segment += 1
            self._segment_bytes = 0
        return self.segment
