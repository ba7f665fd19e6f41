"""Outlines in a tail: what is read from its end is enough to go on, or says that it is not."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.cluster.support import SUBJECT, Shipped, batch
from wavstream.cluster.joining import Stored
from wavstream.cluster.outlines import EVERY, QUIET, read_outlines
from wavstream.cluster.ownership import Held, Owned, Start
from wavstream.cluster.tail_message import Contents, Pieces, TailBatch, unpack
from wavstream.cluster.take_over import is_whole
from wavstream.journal.outline import MOST_BYTES, OutlinedJournal

TAKEN = Owned(
    session_id="s",
    app_id=None,
    held=(Held(epoch=1, node="a", shard=0, is_joined=True), Held(epoch=2, node="b", shard=0)),
)


def end_of(shipped: Shipped) -> tuple[int, list[TailBatch]]:
    """Return how many messages a taker reads, and what is in them."""
    messages = shipped.log.subjects[SUBJECT]
    newest = unpack(messages[-1].payload)
    found: list[TailBatch] = []
    read = [each for each in messages if each.sequence >= newest.outlined_from] if newest.outlined_from else []
    pieces = Pieces()
    for logged in read:
        contents = unpack(logged.payload)
        assert isinstance(contents, Contents)
        found += [*pieces.whole(contents.batches), *contents.outlines]
    return len(read), found


def outlined(shipped: Shipped, *stored: Stored) -> tuple[OutlinedJournal, ...]:
    return read_outlines(TAKEN, end_of(shipped)[1], stored)


def write(shipped: Shipped, numbers: range, *, key: str = "k", segment: int = 1) -> None:
    for number in numbers:
        shipped.tail.add(batch(number, key=key, segment=segment))
        shipped.send_all()


def test_of_a_long_call_the_last_messages_are_read_and_all_its_events_are_known() -> None:
    shipped = Shipped()
    write(shipped, range(1000), segment=4)
    read, _ = end_of(shipped)
    (journal,) = outlined(shipped)
    assert read <= 60, "events of 5 kB: every 48th message"
    assert (journal.key, journal.app_id, journal.segment, journal.number) == ("k", "app", 5, 1000)
    assert [each.number for each in journal.outline.told] == list(range(0, 1000, 7))
    assert journal.outline.last_us == 999


def test_all_that_are_written_are_read_and_one_that_is_over_does_not_hold_back_the_others() -> None:
    shipped = Shipped()
    write(shipped, range(5), key="over")
    for number in range(QUIET + 3 * EVERY):
        shipped.tail.add(batch(number, key="k"))
        shipped.tail.add(batch(number, key="l"))
        shipped.send_all()
    assert {each.key for each in outlined(shipped)} == {"k", "l"}
    assert end_of(shipped)[0] <= EVERY + 2


def test_a_long_outline_comes_more_seldom_and_one_that_is_too_long_does_not() -> None:
    shipped = Shipped()
    for number in range(0, 7 * 60, 7):  # events alone
        shipped.tail.add(batch(number // 7, size_bytes=500)._replace(has_event=True))
        shipped.send_all()
    sizes = [len(each.payload) for each in shipped.log.subjects[SUBJECT]]
    assert sum(sizes) < 2 * 60 * 600
    assert outlined(shipped)
    for number in range(60, 60 + MOST_BYTES // 500):
        shipped.tail.add(batch(7 * number, size_bytes=500)._replace(number=number))
        shipped.send_all()
    assert outlined(shipped) == ()


def test_behind_what_was_not_in_memory_and_is_in_the_bucket_alone_a_journal_is_joined_first() -> None:
    shipped = Shipped(limit_bytes=400)
    write(shipped, range(3))
    for number in range(3, 40):
        shipped.tail.add(batch(number))
    shipped.tail.stored("k", 1, 30)
    while (message := shipped.tail.next_message()) is not None:
        shipped.send(message)
    shipped.tail.read_back("k", [batch(number) for number in range(31, 40)])
    write(shipped, range(40, 45), segment=2)
    assert outlined(shipped) == ()


@pytest.mark.parametrize(
    ("first", "below", "goes_on"),
    [(0, 8, True), (0, 10, True), (8, 12, False)],
    ids=["has less", "has all of it", "has more than the tail"],
)
def test_what_the_bucket_has_is_below_where_a_call_goes_on(first: int, below: int, goes_on: bool) -> None:
    shipped = Shipped()
    write(shipped, range(10))
    found = outlined(shipped, Stored("k", 3, 1, first, below))
    assert [(each.segment, each.number) for each in found] == ([(4, 10)] if goes_on else [])


def test_what_an_earlier_owner_has_uploaded_and_does_not_count_is_passed_over() -> None:
    held = (*TAKEN.held[:-1], Held(epoch=2, node="b", shard=0, starts={"k": Start(2, 10)}, is_joined=True))
    owned = msgspec.structs.replace(TAKEN, held=(*held, Held(epoch=3, node="c", shard=0)))
    shipped = Shipped()
    write(shipped, range(10))
    items = [each._replace(epoch=2) for each in end_of(shipped)[1]]
    (journal,) = read_outlines(owned, items, [Stored("k", 7, 1, 10, 20), Stored("k", 1, 1, 0, 10)])
    assert (journal.segment, journal.number) == (2, 10)


def test_a_node_that_was_started_again_and_has_not_read_back_all_it_had_is_no_guide() -> None:
    held = Held(epoch=2, node="a", shard=0, starts={"k": Start(3, 30)}, is_joined=True)
    owned = msgspec.structs.replace(TAKEN, held=(TAKEN.held[0], held, Held(epoch=3, node="c", shard=0)))
    shipped = Shipped()
    for number in range(40):
        shipped.tail.add(batch(number, epoch=2))
        shipped.send_all()
        assert bool(read_outlines(owned, end_of(shipped)[1], [])) is (number >= 29)


def test_one_that_goes_on_by_its_outline_is_outlined_again_for_the_next() -> None:
    first = Shipped()
    write(first, range(30))
    (journal,) = outlined(first)
    second = Shipped()
    second.tail.goes_on("k", "s", 1, segment=2, number=30, copied=29, outline=journal.outline)
    write(second, range(30, 80), segment=2)
    (again,) = outlined(second)
    assert [each.number for each in again.outline.told] == list(range(0, 80, 7))
    assert (again.segment, again.number) == (3, 80)


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ({1, 2, 3, 4}, True),
        ({4, 5}, False),
        ({1, 2, 4}, False),
        ({1}, False),
        (set[int](), False),
        ({5, 6}, True),
    ],
    ids=[
        "all of it",
        "what we wrote alone",
        "what came before we died, and what we wrote",
        "what came before we died",
        "nothing",
        "nobody needed the first ones any more",
    ],
)
def test_a_journal_is_whole_after_a_restart_if_what_was_before_our_part_came(
    segments: set[int], expected: bool
) -> None:
    held = Held(epoch=2, node="b", shard=0, starts={"k": Start(4, 100)}, is_joined=True)
    owned = msgspec.structs.replace(TAKEN, held=(TAKEN.held[0], held))
    assert is_whole(owned, "k", segments) is expected
    assert is_whole(owned, "of our own", segments)
