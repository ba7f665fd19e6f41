"""A tail has every batch once and in order, and a journal is joined to what counts, whatever happens on the way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cluster.support import SUBJECT, Shipped, batch
from wavstream.cluster.engine import WrongSequence
from wavstream.cluster.joining import Hole, Stored, plan
from wavstream.cluster.outlines import read_outlines
from wavstream.cluster.ownership import Held, Owned, Start, hash_of
from wavstream.cluster.tail import Message
from wavstream.cluster.tail_message import Contents, Fence, Pieces, TailBatch, unpack

LIMIT_BYTES = 1200
KEYS = {"k": "s", "l": "s", "m": "t"}


class World:
    """One shard: what its journals have, what the bucket has, and messages that the network still carries."""

    def __init__(self) -> None:
        self.shipped = Shipped(max_payload_bytes=4096, limit_bytes=LIMIT_BYTES)
        self.written: defaultdict[str, list[TailBatch]] = defaultdict(list)
        self.bucket: dict[str, int] = {}
        self.segment: dict[str, int] = dict.fromkeys(KEYS, 1)
        self.late: list[Message] = []
        self.lost: dict[str, int] = {}
        """By key, how many messages its subject had when its session was another's."""

    def write(self, key: str, size_bytes: int) -> None:
        each = batch(
            len(self.written[key]), key=key, session=KEYS[key], segment=self.segment[key], size_bytes=size_bytes
        )
        self.written[key].append(each)
        if key not in self.lost:
            self.shipped.tail.add(each)

    def seal(self, key: str) -> None:
        if self.written[key] and self.written[key][-1].segment == self.segment[key]:
            self.segment[key] += 1

    def store(self, key: str) -> None:
        sealed = [each for each in self.written[key] if each.segment < self.segment[key]]
        if sealed and key not in self.lost:
            self.bucket[key] = sealed[-1].number
            self.shipped.tail.stored(key, sealed[-1].segment, sealed[-1].number)

    def publish(self, outcome: str) -> None:
        tail, log = self.shipped.tail, self.shipped.log
        if tail.is_refused:
            self.shipped.resolve()
        message = tail.next_message()
        if message is None:
            return
        if outcome == "taken":
            self.shipped.send(message)
            return
        if outcome == "answer lost" and message.after == log.last():
            log.write(*message)
        elif outcome == "late":
            self.late.append(message)
        tail.unknown()

    def deliver_late(self) -> None:
        while self.late:
            try:
                self.shipped.log.write(*self.late.pop())
            except WrongSequence:
                continue

    def read_back(self) -> None:
        for behind in self.shipped.tail.behind():
            self.shipped.tail.read_back(behind.key, self.written[behind.key][behind.number :])

    def take(self, session: str) -> None:
        self.shipped.log.fence(Fence(by="b", sessions={hash_of(session): 2}))
        for key, its in KEYS.items():
            if its == session:
                self.lost.setdefault(key, len(self.shipped.log.subjects[SUBJECT]))

    # ---- what must hold ------------------------------------------------------------------------------------------

    def check(self) -> None:
        read: defaultdict[str, list[int]] = defaultdict(list)
        pieces = Pieces()
        for place, logged in enumerate(self.shipped.log.subjects[SUBJECT]):
            contents = unpack(logged.payload)
            if not isinstance(contents, Contents):
                continue
            assert not any(place >= self.lost.get(each.key, place + 1) for each in contents.batches)
            for each in pieces.whole(contents.batches):
                assert each == self.written[each.key][each.number]
                read[each.key].append(each.number)
        for key in self.written:
            assert read[key] == sorted(set(read[key]))  # once, and in order
            through = self.shipped.tail.replicated_through(key)
            copied = set(read[key]) | set(range(self.bucket.get(key, -1) + 1))
            assert copied >= set(range(through + 1))
        largest = max((len(each.payload) for batches in self.written.values() for each in batches), default=0)
        assert 0 <= self.shipped.room.taken_bytes <= LIMIT_BYTES + 3 * largest + 500

    def check_marks(self) -> None:
        """Check that what the newest message calls stored is: a reader that begins behind it misses nothing."""
        messages = self.shipped.log.subjects[SUBJECT]
        if not messages:
            return
        newest = unpack(messages[-1].payload)
        for logged in messages:
            contents = unpack(logged.payload)
            if isinstance(contents, Contents) and logged.sequence <= newest.stored_through:
                for each in contents.batches:
                    assert each.number <= self.bucket.get(each.key, -1)

    def check_outlines(self) -> None:
        """Check that who reads the end of the tail knows all events of each journal that he finds, and its end."""
        messages = self.shipped.log.subjects[SUBJECT]
        newest = unpack(messages[-1].payload) if messages else None
        if newest is None or not newest.outlined_from:
            return
        items: list[TailBatch] = []
        pieces = Pieces()
        for logged in messages:
            contents = unpack(logged.payload)
            if isinstance(contents, Contents) and logged.sequence >= newest.outlined_from:
                items += [*pieces.whole(contents.batches), *contents.outlines]
        for session in {*KEYS.values()}:
            held = Held(epoch=1, node="a", shard=0, is_joined=True), Held(epoch=2, node="b", shard=0)
            for journal in read_outlines(Owned(session_id=session, app_id=None, held=held), items, ()):
                last = max(each.number for each in items if each.key == journal.key)
                assert journal.number == last + 1
                assert journal.segment > self.written[journal.key][last].segment
                told = [each.number for each in self.written[journal.key][: last + 1] if each.has_event]
                assert [each.number for each in journal.outline.told] == told

    def settle(self) -> None:
        """Go on until all is sent, now that the engine is well."""
        self.deliver_late()
        for _ in range(1000):
            self.read_back()
            self.publish("taken")
            if self.shipped.tail.is_idle and not self.shipped.tail.is_refused:
                break
        for key, batches in self.written.items():
            if key not in self.lost:
                assert self.shipped.tail.replicated_through(key) == len(batches) - 1


Step = Callable[[World], None]
KEY = st.sampled_from(sorted(KEYS))
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda key, size: lambda world: world.write(key, size), KEY, st.sampled_from([10, 10, 100, 5000])),
    st.builds(lambda key, size: lambda world: world.write(key, size), KEY, st.just(30)),
    st.builds(
        lambda outcome: lambda world: world.publish(outcome), st.sampled_from(["taken", "answer lost", "late", "never"])
    ),
    st.builds(lambda key: lambda world: world.seal(key), KEY),
    st.builds(lambda key: lambda world: world.store(key), KEY),
    st.just(World.deliver_late),
    st.just(World.read_back),
    st.builds(lambda session: lambda world: world.take(session), st.sampled_from(["s", "t", "of others"])),
)


@settings(max_examples=300)
@given(steps=st.lists(STEPS, min_size=15, max_size=60))
def test_a_tail_has_every_batch_once_and_in_order_whatever_the_engine_answers(steps: list[Step]) -> None:
    world = World()
    for step in steps:
        step(world)
        world.check()
        world.check_marks()
        world.check_outlines()
    world.settle()
    world.check()
    world.check_outlines()


@st.composite
def histories(draw: st.DrawFn) -> tuple[Owned, list[Stored], list[TailBatch], dict[int, int]]:
    """Draw a journal that several nodes had, each of which went on writing after it had lost it."""
    stored: list[Stored] = []
    tail: list[TailBatch] = []
    truth: dict[int, int] = {}
    """By number, the epoch in which the batch was written that counts."""
    held = [Held(epoch=1, node="n1", shard=0)]
    number = segment = 1
    number = 0
    for epoch in range(1, draw(st.integers(1, 4)) + 1):
        if epoch > 1:
            held.append(Held(epoch=epoch, node=f"n{epoch}", shard=0, starts={"k": Start(segment, number)}))
        begins = number
        for _ in range(draw(st.integers(0, 3))):
            size = draw(st.integers(1, 5))
            below = number + size
            truth.update(dict.fromkeys(range(number, below), epoch))
            lost_behind = draw(st.integers(0, 3))
            if draw(st.booleans()):
                stored.append(Stored("k", segment, epoch, number, below + lost_behind))
            kept = draw(st.sets(st.integers(number, below + lost_behind - 1)))
            tail.extend(batch(each, segment=segment, epoch=epoch) for each in sorted(kept))
            number, segment = below, segment + 1
        zombie = draw(st.integers(0, 4))
        tail.extend(batch(each, segment=segment, epoch=epoch) for each in range(number, number + zombie))
        if epoch > 1 and begins and draw(st.booleans()):
            first = draw(st.integers(0, begins - 1))
            stored.append(Stored("k", segment, epoch, first, begins))  # what it had joined, as its own
        segment += 1
    # The last of them is still writing: what it calls lost is not known to be.
    held.append(Held(epoch=held[-1].epoch + 1, node="taker", shard=0, starts={"k": Start(segment, number)}))
    return Owned(session_id="s", app_id=None, held=tuple(held)), stored, draw(st.permutations(tail)), truth


@settings(max_examples=300)
@given(history=histories())
def test_a_joined_journal_has_each_batch_that_counts_and_tells_the_rest(
    history: tuple[Owned, list[Stored], list[TailBatch], dict[int, int]],
) -> None:
    owned, stored, tail, truth = history
    joined = plan(owned, stored, tail)
    if not stored and not tail:
        assert joined.journals == ()
        return
    (journal,) = joined.journals
    has: set[int] = set()
    for piece in journal.pieces:
        numbers = range(piece.first, piece.below)
        has.update(numbers)
        for number in numbers:
            assert number in truth
            epoch = truth[number]
            if piece.stored is not None:
                # Its own epoch's, or one that it had joined.
                assert epoch == piece.stored.epoch or number < owned.held[piece.stored.epoch - 1].starts["k"].number
    for each in journal.batches:
        assert truth[each.number] == each.epoch
    assert [each.number for each in journal.batches] == sorted({each.number for each in journal.batches})
    counted = {each.number for each in tail if truth.get(each.number) == each.epoch}
    for segment in stored:
        limit = min((held.starts["k"].number for held in owned.held[segment.epoch :]), default=segment.below)
        counted |= set(range(segment.first, min(segment.below, limit)))
    assert has == counted
    missing = set(range(min(has), max(has))) - has if has else set()
    assert {number for hole in journal.holes for number in range(*hole)} == missing
    assert all(isinstance(hole, Hole) for hole in journal.holes)
    assert journal.start.number >= max(has, default=-1) + 1
    assert journal.start.segment > max((piece.segment for piece in journal.pieces), default=0)
