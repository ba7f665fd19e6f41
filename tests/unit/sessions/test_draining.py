"""What waits in the kernel is in the journal before whatever was done later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.sessions import FRAME, Handle, LiveCall, at
from wavstream.dialects.events import Dtmf, Event, Frame, Mark, Paused, Resumed
from wavstream.journal.events import Digit, RecordingPaused, RecordingResumed, RecordingStopped, StreamClosed
from wavstream.journal.records import EventRecord, items
from wavstream.sessions.session import SessionStream


@dataclass(slots=True)
class Waiting(Handle):
    """A socket on which something waits to be read."""

    said: list[Callable[[int], None]] = field(default_factory=list)
    waits_too_long: bool = False
    late_us: int = 0
    """How long after it was asked to the socket is read: something else has the core meanwhile."""

    def drain(self, now_us: int) -> int:
        self.drained_us.append(now_us)
        said, self.said = self.said, []
        if said:
            now_us += self.late_us
        for each in said:
            each(now_us)
        return now_us

    def is_stale(self, now_us: int) -> bool:
        return self.waits_too_long


def leg(call: LiveCall, name: str) -> tuple[SessionStream, Waiting]:
    handle = Waiting()
    return call.open(name, handle=handle), handle


def waits(stream: SessionStream, handle: Waiting, *events: Event) -> None:
    """Let a frame wait, and then events."""
    handle.said.append(lambda now_us: stream.frame(Frame(0, stream.position, 160, FRAME), now_us))
    for event in events:
        handle.said.append(lambda now_us, event=event: stream.event(event, now_us))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("event", "noted"), [(Dtmf("5"), Digit), (Paused(), RecordingPaused)], ids=["a digit", "a pause"]
)
async def test_what_other_legs_said_before_an_order_of_one_comes_before_it(event: Event, noted: type) -> None:
    call = LiveCall()
    (a, a_handle), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    waits(b, b_handle)
    waits(a, a_handle)
    a.event(event, at(1.0))
    rows = call.journal
    assert rows.index(("frame", 1, 0)) < next(place for place, row in enumerate(rows) if isinstance(row, noted))
    assert b_handle.drained_us == [at(1.0)]
    assert a_handle.drained_us == [], "it is being read"


async def test_a_resume_of_one_leg_comes_after_what_another_said_in_the_pause() -> None:
    call = LiveCall()
    (a, _), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    a.event(Paused(), at(1.0))
    waits(b, b_handle)
    a.event(Resumed(), at(2.0))
    rows = call.journal
    resumed = next(place for place, row in enumerate(rows) if isinstance(row, RecordingResumed))
    assert rows.index(("withheld", 1, 0, 160)) < resumed


async def test_a_mark_drains_nothing() -> None:
    call = LiveCall()
    (a, _), (_, b_handle) = leg(call, "a"), leg(call, "b")
    a.event(Mark("m"), at(1.0))
    assert b_handle.drained_us == []


async def test_an_order_that_is_read_by_a_drain_drains_nobody_who_is_being_read() -> None:
    """Two legs each press a key behind what they say: neither is read again in the middle of that."""
    call = LiveCall()
    (a, a_handle), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    waits(a, a_handle, Dtmf("1"))
    waits(b, b_handle, Dtmf("2"))
    call.session.draining.drain(at(1.0))
    assert [row for row in call.journal if isinstance(row, tuple | Digit)] == [
        ("frame", 0, 0),
        Digit(stream=1, digit="1"),
        ("frame", 1, 0),
        Digit(stream=2, digit="2"),
    ]
    assert (a_handle.drained_us, b_handle.drained_us) == ([at(1.0)], [at(1.0)])


async def test_a_leg_that_hangs_up_while_it_is_drained_ends_its_call_as_ever() -> None:
    call = LiveCall()
    a, a_handle = leg(call, "a")
    call.start()
    waits(a, a_handle)
    a_handle.said.append(lambda now_us: a.closed(True, now_us))
    call.session.draining.drain(at(1.0))
    rows = call.journal
    assert rows.index(("frame", 0, 0)) < rows.index(StreamClosed(stream=1, clean=True))
    assert [row.reason for row in rows if isinstance(row, RecordingStopped)] == ["hangup"]


async def test_what_an_older_stream_of_a_leg_said_last_is_heard_before_it_is_replaced() -> None:
    call = LiveCall()
    old, old_handle = leg(call, "a")
    call.start()
    waits(old, old_handle)
    leg(call, "a")
    rows = call.journal
    assert rows.index(("frame", 0, 0)) < rows.index(StreamClosed(stream=1, clean=False))
    assert old_handle.closed


async def test_a_visit_reads_what_is_stale_into_the_batch_that_it_submits() -> None:
    call = LiveCall()
    (a, a_handle), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    waits(a, a_handle)
    waits(b, b_handle)
    a_handle.waits_too_long = True
    call.session.tick(at(1.0))
    assert ("frame", 0, 0) in call.journal
    assert b_handle.drained_us == []


async def test_a_visit_reads_everything_while_somebody_listens() -> None:
    call = LiveCall()
    _, a_handle = leg(call, "a")
    recording = call.live(call.start())
    call.session.tick(at(1.0))
    assert a_handle.drained_us == []

    class Followed:
        is_followed = True

    recording.job = Followed()  # type: ignore[assignment]
    call.session.tick(at(1.15))
    assert a_handle.drained_us == [at(1.15)]


async def test_many_orders_of_one_read_drain_the_others_once() -> None:
    call = LiveCall()
    (a, _), (_, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    for _ in range(64):
        a.event(Dtmf("5"), at(1.0))
    a.event(Dtmf("6"), at(1.02))
    assert b_handle.drained_us == [at(1.0), at(1.02)]


async def test_what_is_read_later_than_a_visit_began_has_the_time_of_its_read_and_so_has_what_follows() -> None:
    call = LiveCall()
    (a, a_handle), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    for stream, handle in ((a, a_handle), (b, b_handle)):
        waits(stream, handle)
        handle.waits_too_long, handle.late_us = True, 30_000
    call.session.tick(at(1.0))
    assert (a_handle.drained_us, b_handle.drained_us) == ([at(1.0)], [at(1.03)])
    assert [row for row in call.journal if isinstance(row, tuple) and row[0] == "clock"][-1] == ("clock", 1.06)


async def test_an_order_has_the_time_of_what_was_read_before_it() -> None:
    call = LiveCall()
    (a, _), (b, b_handle) = leg(call, "a"), leg(call, "b")
    call.start()
    waits(b, b_handle)
    b_handle.late_us = 30_000
    for digit in "56":  # of the same read
        a.event(Dtmf(digit), at(1.0))
    (journal,) = call.writer.journals
    journal.flush()
    records = [item for entry in journal.queue if isinstance(entry, tuple) for item in items(entry[1])]
    digits = [item for item in records if isinstance(item, EventRecord) and isinstance(item.event, Digit)]
    assert [item.arrival_us for item in digits] == [at(1.03)] * 2
