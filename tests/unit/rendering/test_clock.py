"""When frames are placed, and when they move."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.timeline.clock import ArrivalClock, ContiguousClock, lag_us
from wavstream.rendering.timeline.frames import Frames

MS = 1000


def frames(*arrivals_ms: int, first: int = 0, ptime_ms: int = 20) -> Frames:
    """Frames of an 8 kHz sender that lacks nothing, from its frame number ``first`` on."""
    start = (np.arange(len(arrivals_ms)) + first) * 8 * ptime_ms
    arrival = np.array(arrivals_ms) * MS
    made = Frames(arrival, start, start + 8 * ptime_ms, np.zeros(0, np.uint8))
    made.lag_us = lag_us(made, 8000)
    return made


def a_clock() -> ContiguousClock:
    return ContiguousClock(reference_us=0, anchor_us=0, rate_hz=8000)


def test_a_frame_of_20_ms_starts_where_it_arrived_and_a_longer_one_ends_where_it_would() -> None:
    assert frames(1000).lag_us.tolist() == [1000 * MS]
    assert frames(1000, ptime_ms=200).lag_us.tolist() == [820 * MS]


def test_frames_up_to_100_ms_behind_are_on_time() -> None:
    assert a_clock().due(frames(0, 120, 60).lag_us) == 3
    assert a_clock().due(frames(0, 121, 141).lag_us) == 1


def test_frames_behind_are_due_once_a_later_one_is_on_time() -> None:
    assert a_clock().due(frames(0, 500, 500, 60, 700).lag_us) == 4


def test_a_delay_that_lasts_is_a_gap_after_a_second() -> None:
    clock = a_clock()
    kept = frames(1500, 1521, 1540)
    assert clock.move(kept, 0, now_us=2000 * MS, final=False) is None
    kept = frames(1500, 1521, 1540, 2030, 2050, first=0)
    kept.lag_us[3:] = [1505 * MS, 1500 * MS]
    assert clock.move(kept, 3, now_us=2499 * MS, final=False) is None
    assert clock.move(kept, 3, now_us=2500 * MS, final=False) == 1500 * MS
    assert clock.reference_us == clock.anchor_us == 1500 * MS
    assert clock.due(kept.lag_us) == 5


@pytest.mark.parametrize(("second_ms", "is_gap"), [(1476, True), (1474, False)])
def test_a_delay_that_shrinks_is_a_burst_and_waited_for(second_ms: int, is_gap: bool) -> None:
    clock = a_clock()
    clock.move(frames(1500), 0, now_us=2000 * MS, final=False)
    kept = frames(1500, 1500)
    kept.lag_us[1] = second_ms * MS
    assert (clock.move(kept, 1, now_us=2600 * MS, final=False) is not None) == is_gap


def test_what_is_behind_at_the_end_was_a_gap() -> None:
    assert a_clock().move(frames(1500, 1510), 0, now_us=1600 * MS, final=True) == 1490 * MS


def test_while_nothing_comes_nothing_is_decided() -> None:
    clock = a_clock()
    clock.move(frames(1500), 0, now_us=2000 * MS, final=False)
    assert clock.move(frames(1500), 1, now_us=9000 * MS, final=False) is None


def test_a_slew_moves_the_reference_to_the_sample() -> None:
    clock = a_clock()
    for _ in range(8000):
        clock.slew(-1)
    assert clock.reference_us == -1_000_000


def test_a_late_frame_of_suppressed_silence_starts_a_spurt_where_it_arrived() -> None:
    clock = ArrivalClock(reference_us=0, anchor_us=0)
    kept = frames(0, 20, 3040, 3060)
    assert clock.due(kept.lag_us) == 2
    _, later = kept.cut(2, 2)
    assert clock.due(later.lag_us) == 0
    assert clock.move(later, 0, now_us=3100 * MS, final=False) == 3000 * MS
    assert clock.due(later.lag_us) == 2
