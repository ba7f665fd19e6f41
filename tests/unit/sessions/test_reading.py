"""Time in which nothing is read is told from time in which nothing comes."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.sessions import TIMING, LiveCall, at
from wavstream.dialects.events import Dtmf
from wavstream.journal.events import Digit, RecordingStopped, StreamClosed
from wavstream.journal.records import ClockRecord, EventRecord, items
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.sessions.deadlines import VISIT_US
from wavstream.sessions.reading import LATE_US, ReadingTime

S = 1_000_000
TICK_US = 15_000


class Ticking:
    """A reading time and its ticks."""

    def __init__(self) -> None:
        self.reading = ReadingTime()
        self.now_us = 100 * S
        self.reading.tick(self.now_us)

    def tick(self, *, late_us: int = 0, times: int = 1) -> None:
        for _ in range(times):
            self.now_us += TICK_US + late_us
            self.reading.tick(self.now_us, late_us=late_us)


@pytest.mark.parametrize("late_us", [0, 1_000, 20_000, LATE_US - 1])
def test_a_loop_that_is_late_as_loops_are_reads_all_the_time(late_us: int) -> None:
    ticking = Ticking()
    ticking.tick(late_us=late_us, times=100)
    assert ticking.reading.unread_us == 0
    assert ticking.reading.caught_up.is_set()


@pytest.mark.parametrize("late_s", [LATE_US / S, 1, 5, 3600])
def test_a_loop_that_stood_still_has_not_read_for_as_long_as_it_is_late(late_s: float) -> None:
    ticking = Ticking()
    ticking.tick(times=10)
    ticking.tick(late_us=int(late_s * S))
    assert ticking.reading.unread_us == int(late_s * S)
    assert not ticking.reading.caught_up.is_set()
    ticking.tick(times=10)
    assert ticking.reading.unread_us == int(late_s * S)
    assert ticking.reading.caught_up.is_set()


def test_a_pause_of_reading_counts_from_the_tick_before_it_to_the_tick_after_it() -> None:
    ticking = Ticking()
    ticking.reading.pause(True)
    assert not ticking.reading.caught_up.is_set()
    ticking.tick(times=10)
    assert ticking.reading.unread_us == 10 * TICK_US
    ticking.reading.pause(False)
    assert not ticking.reading.caught_up.is_set()
    ticking.tick()
    assert ticking.reading.unread_us == 11 * TICK_US
    ticking.tick(times=10)
    assert ticking.reading.unread_us == 11 * TICK_US
    assert ticking.reading.caught_up.is_set()


def test_a_loop_that_stands_still_in_a_pause_counts_once() -> None:
    ticking = Ticking()
    ticking.reading.pause(True)
    ticking.tick(late_us=2 * S)
    assert ticking.reading.unread_us == 2 * S + TICK_US


def test_a_pause_shorter_than_a_tick_is_seen() -> None:
    ticking = Ticking()
    ticking.reading.pause(True)
    ticking.reading.pause(False)
    ticking.tick()
    assert ticking.reading.unread_us == TICK_US


def clocks(call: LiveCall) -> list[ClockRecord]:
    (journal,) = call.writer.journals
    journal.flush()
    batches = [entry[1] for entry in journal.queue if isinstance(entry, tuple)]
    return [item for batch in batches for item in items(batch) if isinstance(item, ClockRecord)]


async def test_the_clock_record_tells_what_was_not_read_since_the_one_before() -> None:
    call = LiveCall(timing=TIMING)
    call.open("a")
    call.start(0.0, RecordingOptions(max_length_s=600))
    call.session.tick(at(0.5), unread_us=0)
    call.session.tick(at(0.65), unread_us=100_000)
    call.session.tick(at(1.0), unread_us=150_000)
    call.session.tick(at(6.5), unread_us=5_150_000)
    call.session.tick(at(7.0), unread_us=5_150_000)
    assert [clock.unread_us for clock in clocks(call)] == [0, 150_000, 5_000_000, 0]


async def test_unread_time_is_told_at_once_though_nobody_waits() -> None:
    call = LiveCall(timing=TIMING)
    call.open("a")
    call.start(0.0)
    call.session.tick(at(0.5), unread_us=0)
    call.session.tick(at(1.0), unread_us=0)
    call.session.tick(at(1.5), unread_us=400_000)
    call.session.tick(at(2.0), unread_us=400_000)
    assert [clock.unread_us for clock in clocks(call)] == [0, 400_000]


async def test_a_lost_leg_is_waited_for_so_much_longer() -> None:
    call = LiveCall(timing=TIMING)
    wait_s = TIMING.reconnect_wait_us / S
    stream = call.open("a")
    call.start(0.0)
    stream.closed(False, at(5.0))
    call.session.tick(at(5.0 + wait_s + 40.0), unread_us=41 * S)
    assert call.recorder.ends == []
    call.session.tick(at(5.0 + wait_s + 41.5), unread_us=41 * S)
    await asyncio.sleep(0)
    assert call.recorder.ends == [EndReason.DISCONNECTED]


async def test_a_start_waits_so_much_longer_for_its_stream() -> None:
    call = LiveCall(timing=TIMING)
    wait_s = TIMING.start_wait_us / S
    call.start(0.0)
    call.session.tick(at(wait_s + 29.0), unread_us=30 * S)
    assert call.session.recordings.waiting
    call.session.tick(at(wait_s + 30.5), unread_us=30 * S)
    assert not call.session.recordings.waiting


async def test_the_end_of_a_stream_tells_at_once_that_the_loop_stood_still() -> None:
    call = LiveCall(timing=TIMING)
    stream = call.open("a")
    call.open("b")
    call.start(0.0)
    call.session.tick(at(0.5))
    stream.closed(True, at(6.5))
    assert [clock.unread_us for clock in clocks(call)] == [0, 6_000_000 - VISIT_US]
    # The tick that comes with the same six seconds tells only what is left of them.
    call.session.tick(at(6.5), unread_us=6_050_000 - VISIT_US)
    assert [clock.unread_us for clock in clocks(call)] == [0, 6_000_000 - VISIT_US, 50_000]


# ---- how late was read what was read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("late_us", [0, 1_000, 7_000])
def test_a_loop_that_is_on_time_reads_on_time(late_us: int) -> None:
    ticking = Ticking()
    assert ticking.reading.late_us(ticking.now_us) == 0
    ticking.tick(late_us=late_us, times=1000)
    assert ticking.reading.late_us(ticking.now_us + TICK_US) == 0


def test_what_came_after_the_sockets_were_looked_at_is_read_in_the_next_turn() -> None:
    ticking = Ticking()
    ticking.tick(times=10)
    ticking.tick(late_us=100_000)
    # It came right after the tick before the last one, and is read late in this turn.
    assert ticking.reading.late_us(ticking.now_us + 80_000) == TICK_US + 100_000 + 80_000


def test_one_late_turn_is_told_of_for_some_seconds_and_not_for_long() -> None:
    ticking = Ticking()
    ticking.tick(times=10)
    ticking.tick(late_us=100_000)
    ticking.tick(times=300)
    assert ticking.reading.late_us(ticking.now_us) == 2 * TICK_US + 100_000
    ticking.tick(times=700)
    assert ticking.reading.late_us(ticking.now_us) == 0


def test_what_is_longer_is_told_as_unread_time() -> None:
    ticking = Ticking()
    ticking.tick(times=10)
    ticking.tick(late_us=3600 * S)
    assert ticking.reading.late_us(ticking.now_us) == 2 * LATE_US


async def test_whatever_ends_a_track_says_how_late_it_may_have_been_read() -> None:
    call = LiveCall(timing=TIMING)
    call.session.notes.late_us = lambda now_us: (now_us - at(0.0)) // 10
    first = call.open("a")
    call.open("b")
    recording_id = call.start(0.0)
    first.event(Dtmf("1"), at(1.0))
    first.closed(True, at(2.0))
    call.session.recordings.stop(call.live(recording_id), EndReason.STOPPED, at(3.0))
    (journal,) = call.writer.journals
    journal.flush()
    batches = [entry[1] for entry in journal.queue if isinstance(entry, tuple)]
    noted = [item.event for batch in batches for item in items(batch) if isinstance(item, EventRecord)]
    told = [event.late_us for event in noted if isinstance(event, Digit | StreamClosed | RecordingStopped)]
    assert told == [100_000, 200_000, 300_000]
