"""What a journal tells but for its audio: what somebody has to know who goes on with the call. Pure.

A node of a cluster writes it into its tails again and again, so that another can go on with a call, however long that
has lasted, and read what was said behind it (docs/decisions/0032).

1. It is of the batches of a journal from the first one on, without a hole. Where one is missing there is none.
2. It has the events that recovery learns from. Others (digits, marks) are in the journal alone.
3. What is longer than ``MOST_BYTES`` is none: it would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from wavstream.journal.records import RECORD, RecordKind

MOST_BYTES = 1 << 14
_EVENT = int(RecordKind.EVENT)
_NOT_FOR_RECOVERY = tuple(b'{"type":"%s"' % each for each in (b"digit", b"mark", b"left_out", b"session_state"))
"""Begins of events (``events.encode`` puts the type first). What a state says again is in the others; one comes each
minute, so that an outline would be too long after half an hour."""


class Told(NamedTuple):
    """One event."""

    number: int
    """Of its batch."""
    segment: int
    """In which that lies, or an earlier one."""
    record: bytes


class _Packed(NamedTuple):
    through: int
    segment: int
    last_us: int
    told: list[Told]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


class Outline:
    """The outline of one journal."""

    def __init__(self, told: Iterable[Told] = (), *, through: int = -1, segment: int = 1, last_us: int = 0) -> None:
        self.told = [*told]
        self.through = through
        """The number of the last batch that it is of; -1: of none."""
        self.segment = segment
        """In which that batch lies."""
        self.last_us = last_us
        """The last arrival that it knows of."""
        self.size_bytes = sum(len(each.record) for each in self.told)

    def add(self, segment: int, number: int, payload: bytes, *, has_event: bool) -> bool:
        """Take the next batch, or a copy of an earlier one; return False where there is no outline from here on."""
        if number <= self.through:
            return True
        if number > self.through + 1:
            return False  # rule 1
        self.through, self.segment = number, segment
        for record in _events(payload) if has_event else ():
            self.told.append(Told(number, segment, record))
            self.size_bytes += len(record)
        return self.size_bytes <= MOST_BYTES

    def packed(self, through: int, segment: int, last_us: int) -> bytes:
        """Return it as it was at an earlier batch, as bytes."""
        return _encode(_Packed(through, segment, last_us, [each for each in self.told if each.number <= through]))


@dataclass(frozen=True, slots=True)
class OutlinedJournal:
    """A journal that somebody goes on with by its outline."""

    key: str
    app_id: str
    session_id: str
    outline: Outline
    segment: int
    """In which he writes first."""
    number: int
    """Of the first batch that he writes."""


def unpack_outline(content: bytes) -> Outline:
    """Return the outline that these bytes are; raise msgspec.DecodeError."""
    through, segment, last_us, told = _decode(content)
    return Outline(told, through=through, segment=segment, last_us=last_us)


def last_arrival_us(payload: bytes) -> int:
    """Return the arrival of a batch's last record, which is its latest."""
    at, arrival_us = 0, 0
    while at < len(payload):
        length, _, _, _, arrival_us, _ = RECORD.unpack_from(payload, at)
        at += RECORD.size + length
    return arrival_us


def _events(payload: bytes) -> Iterator[bytes]:
    """Yield the event records of a batch (rule 2)."""
    at = 0
    while at < len(payload):
        length, kind, *_ = RECORD.unpack_from(payload, at)
        end = at + RECORD.size + length
        if kind == _EVENT and not payload[at + RECORD.size : end].startswith(_NOT_FOR_RECOVERY):
            yield payload[at:end]
        at = end
