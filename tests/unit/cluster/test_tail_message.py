"""What goes into a message of a tail comes out of it."""

from __future__ import annotations

import json

import pytest

from tests.unit.cluster.support import batch
from wavstream.cluster.tail_message import (
    Contents,
    Fence,
    Pieces,
    TailBatch,
    UnknownMessage,
    cut,
    item_bytes,
    pack,
    pack_fence,
    unpack,
)
from wavstream.journal.records import RECORD

BATCHES = [
    batch(0),
    batch(4_000_000_000, key="K_9" * 10, session="Anruf „Ä“ 7", segment=4_000_000_000, epoch=4_000_000_000),
    TailBatch("k", "app-1", "s", 1, 2, 3, False, b"\x00\xff" * 3000),
]


def test_a_message_has_what_was_packed() -> None:
    message = pack(BATCHES, stored_through=2**60, outlined_from=2**50)
    assert unpack(message) == Contents(BATCHES, 2**60, 2**50)
    assert len(message) <= sum(item_bytes(each) for each in BATCHES) + 20


def test_outlines_are_told_from_batches() -> None:
    outline = batch(7)._replace(payload=b"outline", has_event=False, is_outline=True)
    assert unpack(pack([*BATCHES, outline])) == Contents(BATCHES, 0, 0, [outline])


def test_a_batch_may_be_cut_into_any_pieces() -> None:
    whole = batch(3, size_bytes=1000 - RECORD.size)
    room_bytes = item_bytes(whole) - 900
    rest, pieces = whole, []
    while item_bytes(rest) > room_bytes:
        piece, rest = cut(rest, room_bytes)
        assert item_bytes(piece) <= room_bytes
        pieces.append(piece)
    pieces.append(rest)
    assert len(pieces) == 10
    read = [unpack(pack([piece])) for piece in pieces]
    joined = Pieces()
    found = [joined.whole(each.batches) for each in read if isinstance(each, Contents)]
    assert found == [[]] * 9 + [[whole]]


def test_a_batch_of_which_a_piece_is_missing_does_not_count_and_those_of_others_do() -> None:
    first, rest = cut(batch(1, size_bytes=1000), 500)
    second, last = cut(rest, 300)
    pieces = Pieces()
    assert pieces.whole([first, last, batch(0, key="l")]) == [batch(0, key="l")]
    assert pieces.whole([first, second]) == []
    assert pieces.whole([batch(2)]) == [batch(2)]
    other_first, other_last = cut(batch(2, size_bytes=1000), 500)
    assert pieces.whole([other_first]) == []
    assert pieces.whole([last]) == []
    assert pieces.whole([other_last]) == [batch(2, size_bytes=1000)]


def test_a_fence_tells_a_person_who_took_what() -> None:
    fence = Fence(by="node-b", sessions={"00ff": 3}, stored_through=17, outlined_from=16)
    message = pack_fence(fence)
    assert unpack(message) == fence
    told = {"by": "node-b", "sessions": {"00ff": 3}, "stored_through": 17, "outlined_from": 16}
    assert json.loads(message) == {"fence": told}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"W",
        b"WST1" + bytes(16),
        pack(BATCHES)[:-1],
        pack(BATCHES)[:30],
        pack([batch(0)]) + b"\x01",
        b"{",
        b'{"fence": 7}',
        b'{"sessions": {}}',
        pack([batch(0, key="k")]).replace(b"app", b"\xff\xff\xff"),
    ],
)
def test_what_no_wavstream_of_this_version_has_written_is_refused(message: bytes) -> None:
    with pytest.raises(UnknownMessage):
        unpack(message)
