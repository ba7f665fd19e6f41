"""What waits in the kernel is in the journal before whatever was done later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.sessions import FRAME, Handle, LiveCall, at
from wavstream.dialects.events import Dtmf, Event, Frame, Mark, Paused, Resumed
from wavstream.journal.events import Digit, RecordingPaused, RecordingResumed, RecordingStopped, StreamClosed
from wavstream.sessions.session import SessionStream


@dataclass(slots=True)
class Waiting(Handle):
    """A socket on which something waits to be read."""

    said: list[Callable[[int], None]] = field(default_factory=list)
    waits_too_long: bool = False

    def drain(self, now_us: int) -> None:
        self.drained_us.append(now_us)
        said, self.said = self.said, []
        for each in said:
            each(now_us)

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
