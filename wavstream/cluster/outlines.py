"""Outlines of journals in the tails: what another node goes on by before it has read what was said (decision 32).

Who writes a tail:

1. A journal is outlined again and again (``due``), behind the batches of a message: after ``EVERY`` messages of its
   shard, and one that is long more seldom, so that it stays a small part of what is written.
2. Each message tells from which one on the subject has an outline of all journals that are written (``told_from``).
   One of which nothing has come for ``QUIET`` messages is over, and is left out; so is one that was due long ago, since
   no message had room for its outline: all others would be read from there.

Who reads it, from there to the fence (``read_outlines``):

3. What counts is the last outline of a journal, and the batches behind it. One that has none, or of which a batch is
   missing behind it, has to be joined first; so has one of which the bucket has more than the tail, or of which a node
   that was started again had not yet read back what it had before.
4. Who goes on does so behind all that counts, as ``joining`` has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from wavstream.cluster.joining import Stored, limit_of
from wavstream.cluster.ownership import Owned, Start, starts_of
from wavstream.cluster.tail_message import TailBatch, item_bytes
from wavstream.journal.outline import Outline, OutlinedJournal, last_arrival_us, unpack_outline

EVERY = 20
"""Messages: 3 s of a shard, a few hundred kilobytes."""
BYTES_A_MESSAGE = 100
"""Of a long outline: about a hundredth of the audio that a message has of its call."""
QUIET = 100
"""Messages: 15 s. Of a call that is recorded a clock record comes every second at least."""


def _period(outline: Outline) -> int:
    """Return how many messages lie between two outlines of a journal (rule 1)."""
    return max(EVERY, outline.size_bytes // BYTES_A_MESSAGE)


@dataclass(slots=True)
class _Outlined:
    """A journal, as far as it is outlined."""

    outline: Outline
    since: int = 0
    """The sequence of the message with its last outline; 0: none has it yet."""
    at: int = 0
    """How many messages there had been before that one."""
    heard_at: int = 0
    """How many there had been before the last one with something of it."""


class ShardOutlines:
    """The outlines of the journals of one shard."""

    def __init__(self) -> None:
        self._journals: dict[str, _Outlined] = {}
        self._messages = 0
        self._flying: list[str] = []
        """Journals that the message outlines."""

    def begin(self, key: str, outline: Outline | None) -> None:
        """Note a journal that is written from here on, and what there is of it; None: it cannot be outlined."""
        self.forget(key)
        if outline is not None:
            self._journals[key] = _Outlined(outline, heard_at=self._messages)

    def forget(self, key: str) -> None:
        """Outline a journal no more."""
        self._journals.pop(key, None)

    def learn(self, batch: TailBatch) -> None:
        """Take a batch that is going to be in a message."""
        journal = self._journals.get(batch.key)
        if journal is not None and not journal.outline.add(
            batch.segment, batch.number, batch.payload, has_event=batch.has_event
        ):
            self.forget(batch.key)

    def due(self, batches: Sequence[TailBatch], room_bytes: int) -> list[TailBatch]:
        """Return the outlines that are due in a message of these batches, as far as there is room (rule 1)."""
        self._flying = []
        found: list[TailBatch] = []
        for last in {batch.key: batch for batch in batches}.values():
            journal = self._journals.get(last.key)
            if journal is None or not last.is_whole or not self._is_due(journal):
                continue
            content = journal.outline.packed(last.number, last.segment, last_arrival_us(last.payload))
            item = last._replace(payload=content, has_event=False, is_outline=True)
            if item_bytes(item) <= room_bytes:
                room_bytes -= item_bytes(item)
                self._flying.append(last.key)
                found.append(item)
        return found

    def acked(self, batches: Iterable[TailBatch], sequence: int) -> None:
        """Note that the message of these batches was taken, with its sequence."""
        for batch in batches:
            if (journal := self._journals.get(batch.key)) is not None:
                journal.heard_at = self._messages
        for key in self._flying:
            if (journal := self._journals.get(key)) is not None:
                journal.since, journal.at = sequence, self._messages
        self._messages += 1

    @property
    def told_from(self) -> int:
        """From which message on there is an outline of each journal that is written (rule 2); 0: of none."""
        return min((each.since for each in self._journals.values() if self._counts(each)), default=0)

    def _counts(self, journal: _Outlined) -> bool:
        is_late = self._messages - journal.at > 2 * _period(journal.outline)
        return bool(journal.since) and self._messages - journal.heard_at <= QUIET and not is_late

    def _is_due(self, journal: _Outlined) -> bool:
        return not journal.since or self._messages - journal.at >= _period(journal.outline)


def read_outlines(owned: Owned, items: Iterable[TailBatch], stored: Sequence[Stored]) -> tuple[OutlinedJournal, ...]:
    """Return what a session can go on with, as the end of its holder's tail has it (rule 3).

    ``items``: whole batches and outlines, in the order of the tail, of others too. ``stored``: what the bucket has.
    """
    epoch = owned.held[-2].epoch
    found: dict[str, tuple[str, Outline]] = {}
    for item in items:
        if item.session_id != owned.session_id or item.epoch != epoch:
            continue
        if item.is_outline:
            with suppress(msgspec.DecodeError):
                found[item.key] = item.app_id, unpack_outline(item.payload)
        elif item.key in found:
            outline = found[item.key][1]
            if outline.add(item.segment, item.number, item.payload, has_event=item.has_event):
                outline.last_us = max(outline.last_us, last_arrival_us(item.payload))
            else:
                del found[item.key]
    journals = []
    for key, (app_id, outline) in found.items():
        if (start := _start(owned, key, outline, stored)) is not None:
            journals.append(OutlinedJournal(key, app_id, owned.session_id, outline, *start))
    return tuple(journals)


def _start(owned: Owned, key: str, outline: Outline, stored: Sequence[Stored]) -> Start | None:
    """Return where whoever takes the session goes on with a journal; None: there is more of it than the tail tells."""
    segments, below = [outline.segment], outline.through + 1
    for each in stored:
        limit = limit_of(owned, key, each.epoch) if each.key == key else 0
        if limit is None or each.first < limit:
            segments.append(each.segment)
            if (each.below if limit is None else min(each.below, limit)) > below:
                return None
    starts = [start for _, start in starts_of(owned, key)]
    if any(start.number > below for start in starts):
        return None
    return Start(max([*(each + 1 for each in segments), *(start.segment for start in starts)]), below)
