"""What makes the journal of a session that is taken over: segments of the bucket, and batches of tails behind them.

1. Batches of a journal have numbers over all its segments. One of an epoch counts if its number is below that with
   which each later epoch has begun (``ownership``, rule 2). Two that count and have one number are copies.
2. A segment of the bucket counts as far as its batches do. Its object's name tells the epoch of the node that has
   uploaded it, and which numbers it has: a listing is enough to plan.
3. A segment keeps its number. Of those with one number the one that has most is taken, and of the others what it lacks.
4. What no segment has is taken from the tails. What nobody has is a hole: it is told, and the reader of the journal
   finds it by the numbers too.
5. The new owner goes on in a segment and with a number behind all that counts: so of an epoch that could not add
   anything the next one begins at the same place.
6. A batch of a tail says in which segment it would have been written (``journal.copies``, rule 2). It is put into no
   earlier one than what the bucket has of lower numbers: numbers go up from segment to segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wavstream.cluster.ownership import Owned, Start, hash_of, starts_of
from wavstream.cluster.tail_message import TailBatch

FOLDER = ".journals"
"""Of the bucket, with a folder for each session."""

_NAME = re.compile(
    r"(?P<key>[A-Za-z0-9_]{1,64})-(?P<segment>\d{6,})\.(?P<epoch>\d+)\.(?P<first>\d+)\.(?P<below>\d+)\.wsj"
)


class Stored(NamedTuple):
    """A segment of a journal that lies in the bucket; or in the own folder, from before a restart."""

    key: str
    segment: int
    epoch: int
    """Of the node that has uploaded it."""
    first: int
    """The lowest number of its batches."""
    below: int
    """One more than the highest."""
    is_local: bool = False
    """Whether it is in the own folder."""

    @property
    def name(self) -> str:
        """Of its object, in the session's folder."""
        return f"{self.key}-{self.segment:06d}.{self.epoch}.{self.first}.{self.below}.wsj"


class Piece(NamedTuple):
    """A part of a segment that is to be written."""

    segment: int
    first: int
    """The number of its first batch."""
    below: int
    """One more than that of its last."""
    stored: Stored | None
    """Where it is; None: it is in ``JoinedJournal.batches``."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the stored segment counts: it can be copied as it is."""
        return self.stored is not None and (self.first, self.below) == (self.stored.first, self.stored.below)


class Hole(NamedTuple):
    """Batches that nobody has."""

    first: int
    below: int


@dataclass(frozen=True, slots=True)
class JoinedJournal:
    """How one journal of the session is put together."""

    key: str
    pieces: tuple[Piece, ...]
    """In the order in which they are to be written; those of one segment follow each other."""
    batches: tuple[TailBatch, ...]
    """What is taken from tails, by number."""
    holes: tuple[Hole, ...]
    """Within what there is."""
    begins: int
    """The lowest number that there is; above 0: what was before it was deleted when nobody needed it, or is lost."""
    start: Start
    """Where the new owner goes on (rule 5)."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The journals of a session."""

    journals: tuple[JoinedJournal, ...]

    @property
    def starts(self) -> dict[str, Start]:
        """As ``Ownership.joined`` takes them."""
        return {journal.key: journal.start for journal in self.journals}


def folder_of(session_id: str) -> str:
    """Return the prefix of the names of a session's objects, with the slash at its end."""
    return f"{FOLDER}/{hash_of(session_id)}/"


def stored_of(name: str) -> Stored | None:
    """Return what the name of an object in a session's folder tells; None: it is no segment."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    segment, epoch, first, below = (int(match[name]) for name in ("segment", "epoch", "first", "below"))
    return Stored(match["key"], segment, epoch, first, below)


def limit_of(owned: Owned, journal_key: str, epoch: int) -> int | None:
    """Return the number at which batches of an epoch end to count (rule 1); None: they all do."""
    return min((start.number for later, start in starts_of(owned, journal_key) if later > epoch), default=None)


def plan(owned: Owned, stored: Iterable[Stored], tail: Iterable[TailBatch]) -> Joined:
    """Return what makes the journals of a session; ``tail``: whole batches, of all its tails, of others too."""
    sources: dict[str, _Sources] = {}
    for each in stored:
        sources.setdefault(each.key, _Sources()).stored.append(each)
    for batch in tail:
        if batch.session_id == owned.session_id:
            sources.setdefault(batch.key, _Sources()).tail.append(batch)
    return Joined(tuple(_join(owned, key, sources[key]) for key in sorted(sources)))


@dataclass(slots=True)
class _Sources:
    stored: list[Stored] = field(default_factory=list)
    tail: list[TailBatch] = field(default_factory=list)


def _join(owned: Owned, key: str, sources: _Sources) -> JoinedJournal:
    had = _Numbers()
    pieces: list[Piece] = []
    for segment in sorted(sources.stored, key=_best_first):
        limit = limit_of(owned, key, segment.epoch)
        below = segment.below if limit is None else min(segment.below, limit)
        if segment.first < below and not had.has_all(segment.first, below):
            had.add(segment.first, below)
            pieces.append(Piece(segment.segment, segment.first, below, segment))
    batches: dict[int, TailBatch] = {}
    limits = {epoch: limit_of(owned, key, epoch) for epoch in {batch.epoch for batch in sources.tail}}
    for batch in sources.tail:
        limit = limits[batch.epoch]
        if (limit is None or batch.number < limit) and not had.has_all(batch.number, batch.number + 1):
            batches[batch.number] = batch
    taken = tuple(batches[number] for number in sorted(batches))
    stored = tuple(pieces)
    for segment_of_it, first, below in _runs(taken):
        had.add(first, below)
        least = max((piece.segment for piece in stored if piece.first < first), default=0)  # rule 6
        pieces.append(Piece(max(segment_of_it, least), first, below, None))
    pieces.sort(key=lambda piece: (piece.segment, piece.first))
    starts = [start for _, start in starts_of(owned, key)]
    ends = [Start(piece.segment + 1, piece.below) for piece in pieces]
    return JoinedJournal(
        key=key,
        pieces=tuple(_merged(pieces)),
        batches=taken,
        holes=had.holes(),
        begins=had.ranges[0][0] if had.ranges else 0,
        start=Start(
            max((each.segment for each in (*starts, *ends)), default=1),
            max((each.number for each in (*starts, *ends)), default=0),
        ),
    )


def _best_first(stored: Stored) -> tuple[int, int, int]:
    return stored.segment, stored.first - stored.below, -stored.epoch


def _runs(batches: Iterable[TailBatch]) -> Iterator[tuple[int, int, int]]:
    """Yield segment, first and below of batches that follow each other; no segment of the bucket begins in between."""
    segment = first = below = -1
    for batch in batches:
        if (batch.segment, batch.number) != (segment, below):
            if first < below:
                yield segment, first, below
            segment, first = batch.segment, batch.number
        below = batch.number + 1
    if first < below:
        yield segment, first, below


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the pieces with those of the tail that follow each other as one."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.stored is None
            and piece.stored is None
            and (last.segment, last.below) == (piece.segment, piece.first)
        ):
            merged[-1] = last._replace(below=piece.below)
        else:
            merged.append(piece)
    return merged


class _Numbers:
    """Which numbers there are, as ranges that do not touch each other."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def has_all(self, first: int, below: int) -> bool:
        return any(begin <= first and below <= end for begin, end in self.ranges)

    def add(self, first: int, below: int) -> None:
        apart = [each for each in self.ranges if each[1] < first or below < each[0]]
        touching = [each for each in self.ranges if each not in apart]
        together = (
            min([first, *(begin for begin, _ in touching)]),
            max([below, *(end for _, end in touching)]),
        )
        self.ranges = sorted([*apart, together])

    def holes(self) -> tuple[Hole, ...]:
        return tuple(Hole(end, begin) for (_, end), (begin, _) in zip(self.ranges, self.ranges[1:], strict=False))
