"""Batches: how records are framed so that a damaged byte costs its batch and no more. Pure, no files.

    version 2  := magic "WSB2" | tag u64 | segment u32 | number u32 | length u32 | crc u32 | head_crc u32 | payload
    version 1  := magic "WSB1" | number u32 | length u32 | crc u32 | payload

``crc`` is of the payload, ``head_crc`` of the 28 bytes before it, ``tag`` of the journal's key, ``segment`` the one
that the batch lies in. In version 2 ``number`` counts the batches of a journal over all its segments, in version 1
those of a segment. Rules:

1. A batch counts only if it is whole and its checksums are right.
2. Behind one that is not, the next that counts is looked for at every byte. In version 2 it is known by magic and tag,
   which nobody can put into audio on purpose: keys are random, and nobody is told them. In version 1 by magic, a number
   that is not lower than the next one, and the checksum.
3. A number that was read before is a copy: batches with events are written twice, and what a failed sync may have lost
   is written again.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

BATCH_1 = struct.Struct("<4sIII")
BATCH_2 = struct.Struct("<4sQIIIII")
MAGIC_1, MAGIC_2 = b"WSB1", b"WSB2"

_CHECKED = struct.Struct("<4sQIIII")
"""What the checksum of a head covers."""
_MAX_JUMP = 1 << 16
"""A batch of version 1 that is found by looking for it cannot be further on than hours."""
_MAX_GUESSES = 1_000
"""Batches of version 1 that may turn out to be none, in one look: each costs a checksum of up to a segment."""


class Batch(NamedTuple):
    """A batch that counts, and where its bytes lie in the chunk."""

    number: int
    payload: memoryview
    start: int
    end: int


class Head(NamedTuple):
    """The head of a batch that may be cut short or damaged behind it."""

    number: int
    payload_bytes: int
    checksum: int


def tag_of(key: str) -> int:
    """Return what the batches of a journal are known by."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def batch(number: int, payload: bytes, *, tag: int, segment: int) -> bytes:
    """Return a batch of whole records, of version 2; the payload must not be empty."""
    checked = _CHECKED.pack(MAGIC_2, tag, segment, number, len(payload), zlib.crc32(payload))
    return b"".join((checked, zlib.crc32(checked).to_bytes(4, "little"), payload))


def batch_1(number: int, payload: bytes) -> bytes:
    """Return a batch of version 1, as wavstream wrote it before."""
    return BATCH_1.pack(MAGIC_1, number, len(payload), zlib.crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class Form:
    """How the batches of one segment are framed, and found."""

    version: int
    tag: int = 0
    segment: int = 0
    head_bytes: int = field(init=False)
    """Of a head."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "head_bytes", BATCH_1.size if self.version == 1 else BATCH_2.size)

    def head(self, view: memoryview | bytes, offset: int) -> Head | None:
        """Return the head there; None: there is none, or it is damaged or of another journal or segment."""
        if len(view) - offset < self.head_bytes:
            return None
        if self.version == 1:
            magic, number, length, checksum = BATCH_1.unpack_from(view, offset)
            return Head(number, length, checksum) if magic == MAGIC_1 and length else None
        magic, tag, segment, number, length, checksum, head_checksum = BATCH_2.unpack_from(view, offset)
        if magic != MAGIC_2 or tag != self.tag or segment != self.segment or not length:
            return None
        is_right = zlib.crc32(view[offset : offset + _CHECKED.size]) == head_checksum
        return Head(number, length, checksum) if is_right else None

    def batch_at(self, view: memoryview, offset: int) -> Batch | None:
        """Return the batch that begins there, if it counts (rule 1)."""
        head = self.head(view, offset)
        if head is None:
            return None
        number, payload_bytes, checksum = head
        start = offset + self.head_bytes
        end = start + payload_bytes
        if end > len(view):
            return None
        payload = view[start:end]
        return Batch(number, payload, offset, end) if zlib.crc32(payload) == checksum else None

    def batches(self, view: memoryview, *, at: int = 0) -> list[Batch]:
        """Return the batches that follow each other from the start of a chunk, up to the first that does not count.

        ``at``: the place of the chunk, from which the places of batches count.
        """
        found: list[Batch] = []
        offset, end = 0, len(view)
        if self.version == 1:
            while (batch := self.batch_at(view, offset)) is not None:
                found.append(Batch(batch.number, batch.payload, at + offset, at + batch.end))
                offset = batch.end
            return found
        # As ``batch_at``, without its calls: a fold reads ten batches in one go, and these were half of its reading.
        unpack, checksum_of, head_bytes, checked = BATCH_2.unpack_from, zlib.crc32, BATCH_2.size, _CHECKED.size
        whose = MAGIC_2, self.tag, self.segment
        while offset + head_bytes <= end:
            *named, number, length, checksum, head_checksum = unpack(view, offset)
            start, follows = offset + head_bytes, offset + head_bytes + length
            is_ours = (*named,) == whose and length and follows <= end
            if not is_ours or checksum_of(view[offset : offset + checked]) != head_checksum:
                break
            payload = view[start:follows]
            if checksum_of(payload) != checksum:
                break
            found.append(Batch(number, payload, at + offset, at + follows))
            offset = follows
        return found

    def find(self, chunk: bytes, offset: int, *, least: int) -> Batch | None:
        """Return the first batch from there on that counts (rule 2); ``least``: the number that comes next."""
        needle = MAGIC_1 if self.version == 1 else MAGIC_2 + self.tag.to_bytes(8, "little")
        view, guesses = memoryview(chunk), 0
        while (offset := chunk.find(needle, offset)) >= 0 and guesses < _MAX_GUESSES:
            found = self.batch_at(view, offset)
            if found is not None and (self.version == 2 or least <= found.number < least + _MAX_JUMP):
                return found
            guesses += self.version == 1
            offset += 1
        return None


def form_of(chunk: bytes, *, tag: int, segment: int) -> Form:
    """Return how a segment is framed whose header does not say it, by the first batch that counts in the chunk."""
    older = Form(1)
    newer = Form(2, tag, segment)
    return older if newer.find(chunk, 0, least=0) is None and older.find(chunk, 0, least=0) is not None else newer
