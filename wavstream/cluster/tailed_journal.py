"""One journal, as far as the tail of its shard knows it: how far it is written, kept, taken by the log, and stored.

Numbers are of batches, of all segments of the journal; each is that of the last one. The rules are those of ``tail``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from wavstream.cluster.tail_message import TailBatch


@dataclass(slots=True)
class Unsealed:
    """A segment of which the subject has something that the bucket has not."""

    segment: int
    first: int
    """The sequence of the first message that has something of it."""
    last: int
    """The number of the last batch of it."""


@dataclass(slots=True)
class TailedJournal:
    """A journal in the tail of its shard."""

    session_hash: str
    epoch: int
    newest: int
    """Written to the local journal, or kept here (rule 8)."""
    kept: int
    """In the queue or behind it, or in the bucket."""
    acked: int
    """Taken by the log."""
    stored: int
    """In the bucket, with all before it."""
    gaps: list[int] = field(default_factory=list)
    """Where what could not be read back begins: copied is what is before it, until the bucket has more (rule 6)."""
    segment: int = 1
    """In which the first batch behind ``kept`` lies, or a later one, where it is behind."""
    unsealed: deque[Unsealed] = field(default_factory=deque)
    """Segments that the bucket has not."""

    @property
    def is_behind(self) -> bool:
        """Whether memory had no room for something (rule 4)."""
        return self.kept < self.newest

    @property
    def copied(self) -> int:
        """Up to where the tail or the bucket has each batch (rule 6)."""
        through = min(self.acked, self.gaps[0] - 1) if self.gaps else self.acked
        return max(through, self.stored)

    def note_acked(self, batch: TailBatch, sequence: int) -> None:
        """Note that the log has taken a batch, or a piece of one, in the message of this sequence."""
        if batch.number > self.stored:
            if not self.unsealed or self.unsealed[-1].segment < batch.segment:
                self.unsealed.append(Unsealed(batch.segment, sequence, batch.number))
            self.unsealed[-1].last = batch.number
        if not batch.missing:
            self.acked = batch.number

    def note_stored(self, segment: int, number: int) -> bool:
        """Note that the bucket has a segment, up to this batch; return whether the subject has less that is needed."""
        is_less_needed = False
        while self.unsealed and self.unsealed[0].last <= number:  # rule 8
            self.unsealed.popleft()
            is_less_needed = True
        self.stored = max(self.stored, number)
        self.gaps = [gap for gap in self.gaps if gap > number]
        if self.kept < number:
            self.kept, self.segment = min(number, self.newest), max(segment, self.segment)
        return is_less_needed
