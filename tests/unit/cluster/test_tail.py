"""The tail of a shard: every batch once and in order, whatever the engine answers."""

from __future__ import annotations

from tests.unit.cluster.support import SUBJECT, CheckedLog, Shipped, batch
from wavstream.cluster.ownership import hash_of
from wavstream.cluster.tail import Behind, Copied, Message
from wavstream.cluster.tail_message import Contents, Fence, TailBatch, unpack


def next_of(shipped: Shipped) -> Message:
    message = shipped.tail.next_message()
    assert message is not None
    return message


def contents(message: Message) -> Contents:
    found = unpack(message.payload)
    assert isinstance(found, Contents)
    return found


def contents_of_last(shipped: Shipped) -> Contents:
    found = unpack(shipped.log.subjects[SUBJECT][-1].payload)
    assert isinstance(found, Contents)
    return found


def numbers(shipped: Shipped, key: str = "k") -> list[int]:
    return [each.number for each in shipped.log.batches() if each.key == key]


def test_what_comes_while_a_message_is_on_its_way_is_in_the_next() -> None:
    shipped = Shipped()
    shipped.tail.add(batch(0))
    first = next_of(shipped)
    shipped.tail.add(batch(1))
    shipped.tail.add(batch(0, key="other"))
    assert shipped.tail.next_message() is None
    assert shipped.tail.replicated_through("k") == -1
    assert shipped.tail.acked(shipped.log.write(*first)) == [Copied("k", 0)]
    second = next_of(shipped)
    assert second.after == shipped.log.last()
    assert [(each.key, each.number) for each in contents(second).batches] == [("k", 1), ("other", 0)]
    shipped.send(second)
    assert shipped.tail.replicated_through("k") == 1
    assert shipped.tail.is_idle


def test_a_message_without_answer_is_sent_again_as_it_was() -> None:
    shipped = Shipped()
    shipped.tail.add(batch(0))
    message = next_of(shipped)
    shipped.tail.unknown()
    shipped.tail.add(batch(1))
    assert next_of(shipped) == message
    shipped.send(message)
    shipped.send_all()
    assert numbers(shipped) == [0, 1]


def test_a_message_that_was_taken_without_an_answer_counts_and_is_not_there_twice() -> None:
    shipped = Shipped()
    shipped.tail.add(batch(0))
    message = next_of(shipped)
    shipped.log.write(*message)
    shipped.tail.unknown()
    assert not shipped.send(next_of(shipped))
    assert shipped.tail.next_message() is None
    assert shipped.resolve().copied == [Copied("k", 0)]
    shipped.tail.add(batch(1))
    shipped.send_all()
    assert numbers(shipped) == [0, 1]


def test_behind_a_fence_the_rest_of_the_shard_goes_on_without_the_session_that_was_taken() -> None:
    shipped = Shipped()
    for key, session in (("k", "s"), ("l", "t")):
        shipped.tail.add(batch(0, key=key, session=session))
    message = next_of(shipped)
    shipped.log.fence(Fence(by="b", sessions={hash_of("s"): 2}))
    assert not shipped.send(message)
    for key, session in (("k", "s"), ("l", "t")):
        shipped.tail.add(batch(1, key=key, session=session))
    resolved = shipped.resolve()
    assert [fence.by for fence in resolved.fences] == ["b"]
    assert resolved.copied == []
    shipped.send_all()
    assert numbers(shipped) == []
    assert numbers(shipped, "l") == [0, 1]
    assert shipped.room.taken_bytes == 0


def test_a_message_that_was_taken_before_the_fence_counts() -> None:
    shipped = Shipped()
    shipped.tail.add(batch(0))
    message = next_of(shipped)
    shipped.log.write(*message)
    shipped.tail.unknown()
    shipped.log.fence(Fence(by="b", sessions={hash_of("other"): 2}))
    assert not shipped.send(next_of(shipped))
    assert shipped.resolve().copied == [Copied("k", 0)]
    shipped.tail.add(batch(1))
    shipped.send_all()
    assert numbers(shipped) == [0, 1]


def test_one_who_took_his_session_back_is_not_held_up_by_the_fence_that_lost_it() -> None:
    shipped = Shipped()
    shipped.log.fence(Fence(by="b", sessions={hash_of("s"): 2}))
    shipped.tail.add(batch(7, epoch=3))
    shipped.send_all()
    shipped.log.fence(Fence(by="b", sessions={hash_of("s"): 2}))
    shipped.tail.add(batch(8, epoch=3))
    shipped.send_all()
    assert numbers(shipped) == [7, 8]


def test_a_batch_that_is_longer_than_a_message_goes_in_pieces_and_counts_when_all_are_there() -> None:
    shipped = Shipped(max_payload_bytes=4096)
    shipped.tail.add(batch(0))
    shipped.tail.add(batch(1, size_bytes=10_000))
    shipped.tail.add(batch(2))
    through = []
    while (message := shipped.tail.next_message()) is not None:
        assert len(message.payload) <= 4096
        shipped.send(message)
        through.append(shipped.tail.replicated_through("k"))
    assert through == [0, 0, 0, 2]
    assert shipped.log.batches() == [batch(0), batch(1, size_bytes=10_000), batch(2)]
    assert shipped.room.taken_bytes == 0


def test_a_piece_that_was_refused_by_a_fence_is_sent_again_in_its_place() -> None:
    shipped = Shipped(max_payload_bytes=4096)
    shipped.tail.add(batch(0, size_bytes=10_000))
    shipped.send(next_of(shipped))
    message = next_of(shipped)
    shipped.log.fence(Fence(by="b", sessions={hash_of("other"): 2}))
    shipped.send(message)
    shipped.send_all()
    assert shipped.log.batches() == [batch(0, size_bytes=10_000)]


def test_memory_has_a_bound_and_what_is_behind_it_is_read_back_in_order() -> None:
    shipped = Shipped(limit_bytes=1000)
    written = [batch(number, segment=1 + number // 40) for number in range(100)]
    message = None
    for each in written:
        shipped.tail.add(each)
        message = message or shipped.tail.next_message()
        assert shipped.room.taken_bytes <= 1000
    assert message is not None
    assert shipped.tail.behind() == []
    shipped.send(message)
    shipped.send_all()
    reads = 0
    while not shipped.tail.is_idle:
        (behind,) = shipped.tail.behind()
        assert behind.segment == written[behind.number].segment
        shipped.tail.read_back("k", written[behind.number :])
        shipped.send_all()
        reads += 1
    assert reads > 3
    assert shipped.log.batches() == written
    assert shipped.tail.replicated_through("k") == 99


def test_what_is_in_the_bucket_is_not_sent_and_not_read_back() -> None:
    shipped = Shipped(limit_bytes=1000)
    for number in range(100):
        shipped.tail.add(batch(number, segment=1 + number // 50))
    message = next_of(shipped)
    assert shipped.tail.stored("k", 1, 49) == Copied("k", 49)
    shipped.send(message)
    shipped.send_all()
    assert shipped.tail.behind() == [Behind("k", 1, 50)]
    shipped.tail.read_back("k", [batch(number, segment=2) for number in range(50, 100)])
    shipped.send_all()
    sent = numbers(shipped)
    assert sent[-1] >= 50
    assert not set(range(len(contents(message).batches), 50)) & set(sent)


def test_what_the_disk_does_not_give_back_is_no_copy_until_the_bucket_has_it() -> None:
    shipped = Shipped(limit_bytes=200)
    for number in range(10):
        shipped.tail.add(batch(number))
    shipped.send_all()
    (behind,) = shipped.tail.behind()
    shipped.tail.read_back("k", [batch(9)])
    shipped.send_all()
    assert shipped.tail.is_idle
    assert shipped.tail.replicated_through("k") == behind.number - 1
    shipped.tail.add(batch(10))
    shipped.send_all()
    assert shipped.tail.replicated_through("k") == behind.number - 1
    assert shipped.tail.stored("k", 1, 9) == Copied("k", 10)


def test_a_journal_that_cannot_be_read_back_does_not_hold_up_what_follows() -> None:
    shipped = Shipped(limit_bytes=200)
    for number in range(10):
        shipped.tail.add(batch(number))
    shipped.send_all()
    (behind,) = shipped.tail.behind()
    shipped.tail.not_to_be_read("k")
    shipped.tail.add(batch(10))
    shipped.send_all()
    assert numbers(shipped)[-1] == 10
    assert shipped.tail.replicated_through("k") == behind.number - 1


def test_a_journal_that_goes_on_reads_back_what_nobody_else_has() -> None:
    shipped = Shipped()
    shipped.tail.goes_on("k", "s", 2, segment=4, number=106, copied=100, outline=None)
    shipped.tail.add(batch(106, segment=5, epoch=2))
    assert shipped.tail.behind() == [Behind("k", 4, 101)]
    shipped.tail.read_back("k", [batch(number, segment=4, epoch=2) for number in range(90, 107)])
    shipped.send_all()
    assert numbers(shipped) == list(range(101, 107))
    assert shipped.tail.replicated_through("k") == 106


def test_a_copy_that_a_failed_sync_has_had_written_is_passed_over() -> None:
    shipped = Shipped()
    for number in (0, 1, 2, 1, 2, 3):
        shipped.tail.add(batch(number))
    shipped.send_all()
    assert numbers(shipped) == [0, 1, 2, 3]


def test_a_subject_whose_messages_have_all_expired_is_written_to_from_its_beginning() -> None:
    shipped = Shipped()
    shipped.tail.add(batch(0))
    shipped.send_all()
    shipped.log.subjects.clear()
    shipped.tail.add(batch(1))
    shipped.send_all()
    assert numbers(shipped) == [1]


class Marks:
    """What messages tell of what is stored."""

    def __init__(self, log: CheckedLog | None = None) -> None:
        self.shipped = Shipped(log=log)
        self.sequences: list[int] = []

    def send(self, *batches: TailBatch) -> int:
        """Send a message of these batches; return what it tells."""
        for each in batches:
            self.shipped.tail.add(each)
        message = next_of(self.shipped)
        self.shipped.send(message)
        self.sequences.append(self.shipped.log.last())
        return contents(message).stored_through


def test_each_message_tells_up_to_where_the_bucket_has_all() -> None:
    marks = Marks()
    assert marks.send(batch(0), batch(0, key="l", session="t")) == 0
    assert marks.send(batch(1, segment=2)) == 0
    marks.shipped.tail.stored("k", 1, 0)
    assert marks.send(batch(2, segment=2)) == 0
    marks.shipped.tail.stored("l", 1, 0)
    assert marks.send(batch(3, segment=2)) == marks.sequences[1] - 1
    marks.shipped.tail.closed("k")
    assert marks.send(batch(1, key="l", session="t", segment=2)) == marks.sequences[3]


def test_what_was_lost_to_another_stays_needed_until_the_session_is_over() -> None:
    marks = Marks()
    marks.send(batch(0), batch(0, key="l", session="t"))
    marks.shipped.tail.lost(hash_of("s"), 2)
    marks.shipped.tail.stored("l", 1, 0)
    assert marks.send(batch(1, key="l", session="t", segment=2)) == 0
    marks.shipped.tail.freed(hash_of("s"))
    assert marks.send(batch(2, key="l", session="t", segment=2)) == marks.sequences[0]


def test_what_an_earlier_process_wrote_stays_needed_until_it_has_expired() -> None:
    marks = Marks()
    marks.send(batch(0))
    marks.shipped.tail.stored("k", 1, 0)
    assert marks.send(batch(1, segment=2)) == marks.sequences[0]
    later = Marks(marks.shipped.log)
    tail = later.shipped.tail
    later.send(batch(0, key="m", session="u"))
    tail.stored("m", 1, 0)
    assert later.send(batch(1, key="m", session="u", segment=2)) == marks.sequences[0]
    tail.earlier_expired()
    assert later.send(batch(2, key="m", session="u", segment=2)) == later.sequences[0]


def test_what_the_disk_refuses_is_taken_before_it_is_written_and_once() -> None:
    shipped = Shipped()
    assert shipped.tail.add(batch(0))
    for number in (1, 2):
        assert shipped.tail.add(batch(number), is_written=False)
    shipped.send_all()
    assert shipped.tail.replicated_through("k") == 2
    for number in (1, 2, 3):
        assert shipped.tail.add(batch(number))
    shipped.send_all()
    assert numbers(shipped) == [0, 1, 2, 3]


def test_what_the_disk_refuses_comes_again_where_memory_has_no_room_and_is_never_read_back() -> None:
    shipped = Shipped(limit_bytes=100)
    assert shipped.tail.add(batch(0))
    assert not shipped.tail.add(batch(1, size_bytes=50), is_written=False)
    assert not shipped.tail.add(batch(2, size_bytes=1), is_written=False)  # in its order, or not at all
    shipped.send_all()
    assert shipped.tail.behind() == []
    assert shipped.tail.add(batch(1, size_bytes=50), is_written=False)
    shipped.send_all()
    assert numbers(shipped) == [0, 1]


def test_what_the_disk_refuses_waits_until_what_was_written_before_is_read_back() -> None:
    shipped = Shipped(limit_bytes=100)
    for number in range(3):
        assert shipped.tail.add(batch(number, size_bytes=50))
    assert not shipped.tail.add(batch(3, size_bytes=1), is_written=False)
    shipped.send_all()
    for number in (1, 2):
        assert shipped.tail.behind() == [Behind("k", 1, number)]
        shipped.tail.read_back("k", [batch(number, size_bytes=50)])
        shipped.send_all()
    assert shipped.tail.add(batch(3, size_bytes=1), is_written=False)
    shipped.send_all()
    assert numbers(shipped) == [0, 1, 2, 3]


def test_a_batch_that_was_written_to_a_later_segment_than_it_says_is_needed_until_the_bucket_has_that() -> None:
    shipped = Shipped()
    for number in range(2):
        assert shipped.tail.add(batch(number, segment=1))
    assert shipped.tail.add(batch(2, segment=1), is_written=False)
    shipped.send_all()
    shipped.tail.stored("k", 1, 1)  # a failed sync has had it written to segment 2
    shipped.tail.add(batch(3, segment=2))
    shipped.send_all()
    assert contents_of_last(shipped).stored_through == 0
    shipped.tail.stored("k", 2, 3)
    shipped.tail.add(batch(4, segment=3))
    shipped.send_all()
    assert contents_of_last(shipped).stored_through > 0
