"""A live journal: the event loop appends to it, and the writer thread takes from it.

1. The loop alone decides what goes where. It cuts batches (``flush``) and segments (``rotate``, or by size), so
   ``segment`` always is the segment that the next record will be in. Only where a sync has failed the writer makes one
   between them (see ``sync``): the next record is in ``segment`` or a later one, and nothing else follows from it.
2. Everything that concerns one journal goes through its one queue, and the writer thread works it off in order: nothing
   overtakes anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from wavstream.journal.segments import Position, SegmentFile

SEGMENT_BYTES = 64 * 1024 * 1024
"""Half an hour of two 8 kHz legs: the space of a deleted recording is free soon, and files stay few."""

Action = Callable[[], None]

log = structlog.get_logger(__name__)


class Journal:
    """One session's journal, as the loop sees it. Made by ``JournalWriter.open``."""

    __slots__ = (
        "_has_event",
        "_segment_bytes",
        "_segment_limit_bytes",
        "app_id",
        "append",
        "copied_below",
        "file",
        "first_number",
        "given_below",
        "is_let_go",
        "key",
        "loop_segment",
        "next_number",
        "pending",
        "queue",
        "segment",
        "session_id",
        "shift",
        "unsubmitted_bytes",
        "written",
        "written_bytes",
    )

    def __init__(
        self,
        *,
        key: str,
        app_id: str,
        session_id: str,
        segment: int = 1,
        number: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.key = key
        self.app_id = app_id
        self.session_id = session_id
        self.segment = segment
        """The segment of a record that is appended now; or a lower one, see ``shift``."""
        self.pending: list[bytes] = []
        """Records, or their heads and payloads by turns, since the last flush. Always the same list."""
        self.append: Callable[[bytes], None] = self.pending.append
        """Append a record, or its next part: one C call on the hot path."""
        self.queue: deque[tuple[int, bytes, bool] | Action] = deque()
        """Batches with their segment and whether they hold an event, and actions between them: filled by the loop,
        emptied by the writer."""
        self.unsubmitted_bytes = 0
        """Bytes of the queue that were not submitted to the writer yet."""
        self.written = Position(segment)
        """The position up to which a reader finds whole batches; set by the writer."""
        self.next_number = number
        """Of the next batch; used by the writer alone."""
        self.first_number = number
        """Of the first batch that is not deleted; used by the writer alone."""
        self.given_below = number
        """What the disk refuses is waiting to be copied up to this number; set by whoever copies."""
        self.copied_below = number
        """The number up to which all is copied; set by whoever copies."""
        self.is_let_go = False
        """Whether another node has the session: nothing more of this is to be copied."""
        self.loop_segment = segment
        """What the loop calls the segment that is written; used by the writer alone."""
        self.shift = 0
        """Segments that the writer has made of itself: the files of later ones have numbers that are so much higher.
        Used by the writer alone."""
        self.written_bytes = 0
        """Bytes of records written since this object was made; set by the writer."""
        self.file: SegmentFile | None = None
        """The open segment; used by the writer alone."""
        self._has_event = False
        """Whether one of the pending records is an event."""
        self._segment_bytes = 0
        self._segment_limit_bytes = segment_bytes

    def append_event(self, record: bytes) -> None:
        """Append an EVENT record: its batch is written twice, since more hangs on it than on audio."""
        self._has_event = True
        self.append(record)

    @property
    def is_unsubmitted(self) -> bool:
        """Whether there is something to submit."""
        return bool(self.pending) or self.unsubmitted_bytes > 0

    def flush(self) -> bool:
        """Cut a batch from the pending records, if any; return whether there is something to submit."""
        if self.pending:
            payload = b"".join(self.pending)
            self.pending.clear()
            self.queue.append((self.segment, payload, self._has_event))
            self._has_event = False
            self.unsubmitted_bytes += len(payload)
            self._segment_bytes += len(payload)
            if self._segment_bytes >= self._segment_limit_bytes:
                self.rotate()
        return self.unsubmitted_bytes > 0

    def rotate(self) -> int:
        """Begin a fresh segment for all later records; return its number."""
        self.flush()
        if self._segment_bytes:
            self.segment += 1
            self._segment_bytes = 0
        return self.segment


def call_safely(callback: Action) -> None:
    """Run the callback of another room: its failure must not end the thread or the batch."""
    try:
        callback()
    except Exception:
        log.exception("journal_callback_failed")
