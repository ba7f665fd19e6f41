"""One message of a tail: batches of the journals of a shard, as the writer has written them, or a fence.

    message := magic "WST2" | stored_through u64 | outlined_from u64 | item *
    item    := payload_bytes u32 | offset u32 | missing u32 | segment u32 | number u32 | epoch u32 | kind u8
               | key_bytes u8 | app_bytes u8 | session_bytes u16 | key | app | session | payload
    kind    := 0 a batch | 1 a batch that has an event | 2 an outline: of all batches up to this number
    fence   := {"fence": {"by": node, "sessions": {hash: epoch, ...}, "stored_through": sequence, "outlined_from": ...}}

All integers are little-endian, text is UTF-8. Rules:

1. A batch that is longer than a message may be is cut: its pieces follow each other, in messages of their own, and tell
   where in it they begin (``offset``) and how much comes behind (``missing``). It counts when all of it is there.
2. ``stored_through``: messages up to this sequence of the subject have nothing any more that is not in the bucket.
3. ``outlined_from``: from this sequence on there is an outline of each journal that is written (``outlines``); 0: of
   none.
4. A fence is the last message of its subject that counts for the sessions that it names, in epochs below the one that
   it gives. It is JSON, so that a person can read who wrote it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

MAGIC = b"WST2"
_HEAD = struct.Struct("<4sQQ")
_ITEM = struct.Struct("<IIIIIIBBBH")
_EVENT, _OUTLINE = 1, 2
LEAST_BYTES = 4096
"""A message that could be no longer would be heads alone."""


class TailBatch(NamedTuple):
    """One batch of a journal, or a piece of one (rule 1)."""

    key: str
    """The journal's."""
    app_id: str
    session_id: str
    segment: int
    """In whose file it lies, with those who wrote it."""
    number: int
    """Over all segments of the journal."""
    epoch: int
    """Of the session, in which it was written."""
    has_event: bool
    payload: bytes
    offset: int = 0
    """Bytes of the batch that went before this piece."""
    missing: int = 0
    """Bytes of the batch that come behind this piece."""
    is_outline: bool = False
    """Whether it is no batch but the outline of all up to this one; it is never cut."""

    @property
    def is_whole(self) -> bool:
        """Whether it is no piece."""
        return not self.offset and not self.missing


class Contents(NamedTuple):
    """What a message has."""

    batches: list[TailBatch]
    stored_through: int
    """Rule 2."""
    outlined_from: int = 0
    """Rule 3."""
    outlines: list[TailBatch] = []  # noqa: RUF012 - never changed
    """Behind the batches."""


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions were taken from the node whose tail this is (rule 4)."""

    by: str
    sessions: dict[str, int]
    """Their ``ownership.hash_of``, each with the epoch in which it is another's."""
    stored_through: int = 0
    """As the messages before it told it: a reader that begins at the end of a subject finds it here too."""
    outlined_from: int = 0
    """As those told it."""


class _Fenced(msgspec.Struct):
    fence: Fence


class UnknownMessage(Exception):
    """A message that no wavstream of this version has written; the text says which."""


_encode_fence = msgspec.json.Encoder().encode
_decode_fence = msgspec.json.Decoder(_Fenced).decode


def item_bytes(batch: TailBatch) -> int:
    """Return how many bytes of a message the batch takes, or a few more."""
    return _ITEM.size + len(batch.payload) + len(batch.key) + len(batch.app_id) + 4 * len(batch.session_id)


def room_of(max_payload_bytes: int) -> int:
    """Return how many bytes of batches a message may have."""
    return max(max_payload_bytes, LEAST_BYTES) - _HEAD.size


def cut(batch: TailBatch, room_bytes: int) -> tuple[TailBatch, TailBatch]:
    """Return the piece of a batch that fits into so many bytes, and the rest (rule 1)."""
    size = room_bytes - item_bytes(batch) + len(batch.payload)
    first, rest = batch.payload[:size], batch.payload[size:]
    return (
        batch._replace(payload=first, missing=batch.missing + len(rest)),
        batch._replace(payload=rest, offset=batch.offset + size),
    )


def pack(batches: Iterable[TailBatch], *, stored_through: int = 0, outlined_from: int = 0) -> bytes:
    """Return a message of these batches and outlines."""
    parts: list[bytes] = [_HEAD.pack(MAGIC, stored_through, outlined_from)]
    for key, app_id, session_id, segment, number, epoch, has_event, payload, offset, missing, is_outline in batches:
        texts = key.encode(), app_id.encode(), session_id.encode()
        sizes = len(texts[0]), len(texts[1]), len(texts[2])
        kind = _OUTLINE if is_outline else has_event
        parts.append(_ITEM.pack(len(payload), offset, missing, segment, number, epoch, kind, *sizes))
        parts.extend(texts)
        parts.append(payload)
    return b"".join(parts)


def pack_fence(fence: Fence) -> bytes:
    """Return the message of a fence."""
    return _encode_fence(_Fenced(fence))


def unpack(message: bytes) -> Contents | Fence:
    """Return what a message has; raise UnknownMessage."""
    if message[:1] == b"{":
        try:
            return _decode_fence(message).fence
        except msgspec.DecodeError as error:
            raise UnknownMessage(f"a fence that cannot be read: {error}") from error
    try:
        magic, stored_through, outlined_from = _HEAD.unpack_from(message)
        if magic != MAGIC:
            raise UnknownMessage(f"a message of the tail begins with {bytes(magic)!r}: another version has written it")
        items = _items(message)
        outlines = [each for each in items if each.is_outline]
        batches = [each for each in items if not each.is_outline] if outlines else items
        return Contents(batches, stored_through, outlined_from, outlines)
    except (struct.error, UnicodeDecodeError) as error:
        raise UnknownMessage(f"a message of the tail is cut short or damaged: {error}") from error


def told_by(payload: bytes) -> tuple[int, int]:
    """Return what a message tells of its subject: ``stored_through`` and ``outlined_from`` (rules 2 and 3)."""
    try:
        found = unpack(payload)
    except UnknownMessage:
        return 0, 0
    return found.stored_through, found.outlined_from


def fence_in(payload: bytes) -> Fence | None:
    """Return the fence that a message is; None: it is none."""
    try:
        contents = unpack(payload) if payload[:1] == b"{" else None
    except UnknownMessage:
        return None
    return contents if isinstance(contents, Fence) else None


def _items(message: bytes) -> list[TailBatch]:
    found: list[TailBatch] = []
    at, end = _HEAD.size, len(message)
    while at < end:
        size, offset, missing, segment, number, epoch, kind, *sizes = _ITEM.unpack_from(message, at)
        at += _ITEM.size
        texts = []
        for text_size in sizes:
            texts.append(message[at : at + text_size].decode())
            at += text_size
        payload = message[at : at + size]
        at += size
        if at > end:
            raise UnknownMessage("a message of the tail is cut short")
        key, app_id, session_id = texts
        of_it = key, app_id, session_id, segment, number, epoch
        found.append(TailBatch(*of_it, kind == _EVENT, payload, offset, missing, is_outline=kind == _OUTLINE))
    return found


class Pieces:
    """Makes batches of their pieces again, as they are read from one subject in its order (rule 1)."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int], list[TailBatch]] = {}
        """Pieces so far, of one batch of each journal and epoch."""

    def whole(self, batches: Iterable[TailBatch]) -> list[TailBatch]:
        """Return the batches that are whole with these."""
        found: list[TailBatch] = []
        for batch in batches:
            if batch.is_whole:
                found.append(batch)
            elif (joined := self._add(batch)) is not None:
                found.append(joined)
        return found

    def _add(self, piece: TailBatch) -> TailBatch | None:
        whose = (piece.key, piece.epoch)
        if piece.offset == 0:
            self._begun[whose] = []
        begun = self._begun.get(whose)
        if begun is None or sum(len(each.payload) for each in begun) != piece.offset:
            return None
        if begun and begun[0].number != piece.number:
            return None
        begun.append(piece)
        if piece.missing:
            return None
        del self._begun[whose]
        return piece._replace(payload=b"".join(each.payload for each in begun), offset=0)
