"""What lags say: a delay, or silence that was left out."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.timeline.clock import LagClock, Patience, floor_us, lag_us
from wavstream.rendering.timeline.frames import Frames

MS = 1000
S = 1000 * MS
DECIDED = Patience().decide_us


def arrivals(*spans: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals and lags, in microseconds, of frames of 20 ms: (first arrival, last one, lag) of each span, in ms."""
    at = [np.arange(first, last + 1, 20.0) for first, last, _ in spans]
    lag = [np.full(len(part), lag_ms) for part, (_, _, lag_ms) in zip(at, spans, strict=True)]
    return (np.concatenate(at) * MS).astype(np.int64), (np.concatenate(lag) * MS).astype(np.int64)


def a_clock() -> LagClock:
    clock = LagClock(Patience())
    clock.start(0)
    return clock


def lags(*lags_ms: float) -> np.ndarray:
    return (np.array(lags_ms) * MS).astype(np.int64)


def test_a_frame_of_20_ms_starts_where_it_arrived_and_a_longer_one_ends_where_it_would() -> None:
    def lag(ptime_ms: int) -> list[int]:
        start = np.zeros(1, np.int64)
        frames = Frames(np.array([1000 * MS]), start, start + 8 * ptime_ms, np.zeros(0, np.uint8))
        return [int(us) for us in lag_us(frames, 8000)]

    assert lag(20) == [1000 * MS]
    assert lag(200) == [820 * MS]


def test_the_floor_is_the_smallest_lag_that_lasts() -> None:
    assert floor_us(*arrivals((0, 1000, 5))) == 5 * MS
    # A link that was slow at first.
    assert floor_us(*arrivals((0, 1000, 500), (1020, 2000, 10))) == 10 * MS
    # A single frame below it was early by chance; a word was not.
    assert floor_us(*arrivals((0, 1000, 100), (1020, 1020, 10), (1040, 2000, 100))) == 100 * MS
    assert floor_us(*arrivals((0, 1000, 100), (1020, 1060, 10), (1080, 2000, 100))) == 10 * MS


def test_a_sender_that_never_comes_to_real_time_has_no_floor() -> None:
    at = np.arange(0, 1000, 20) * MS
    assert floor_us(at, -at * 9) is None
    assert floor_us(*arrivals((0, 20, 5))) is None


def test_a_frame_up_to_20_ms_behind_is_on_time_and_all_before_it_were_delayed() -> None:
    assert a_clock().due(lags(0, 20, 12)) == 3
    assert a_clock().due(lags(0, 500, 480, 20, 21)) == 4
    assert a_clock().due(lags(21, 40)) == 0


def test_what_is_behind_waits_for_as_long_as_the_file_can() -> None:
    clock = a_clock()
    assert clock.due(lags(0)) == 1
    at, lag = arrivals((1500, 3000, 1500))
    # What would lie 1.5 s back is decided 1.5 s sooner, before the file gets there.
    assert clock.decide(at, lag, now_us=DECIDED - 1, written_us=0, final=False) is None
    assert clock.decide(at, lag, now_us=DECIDED, written_us=0, final=False) == (0, 1500 * MS)
    assert clock.offset_us == 1500 * MS
    assert clock.due(lag) == len(lag)


def test_silence_is_as_long_as_the_smallest_lag_that_follows_it() -> None:
    clock = a_clock()
    clock.due(lags(0))
    # 1.2 s were left out and the link was slow at that moment: it is together again when the link is.
    at, lag = arrivals((1500, 2000, 1500), (2020, 4000, 1205))
    assert clock.decide(at, lag, now_us=40 * S, written_us=0, final=False) == (0, 1205 * MS)


def test_a_lag_that_grows_without_a_step_moves_nothing() -> None:
    clock = a_clock()
    at = np.arange(100) * 21 * MS + S
    lag = np.arange(1, 101) * MS
    assert clock.due(lag) == 20
    assert clock.decide(at[20:], lag[20:], now_us=60 * S, written_us=0, final=False) == (80, 0)
    assert clock.offset_us == 0


def test_a_lag_that_grew_until_its_audio_would_lie_in_the_past_moves() -> None:
    clock = a_clock()
    clock.due(lags(0))
    at, lag = arrivals((70_000, 71_000, 35_000))
    clock._last_us = int(lag[0])  # it grew to that, frame by frame
    assert clock.decide(at, lag, now_us=100 * S, written_us=40 * S, final=False) == (0, 35 * S)


@pytest.mark.parametrize(("fallen_ms", "is_delay"), [(3900, True), (2100, True), (1900, False), (300, False)])
def test_a_burst_with_which_the_track_ends_is_a_delay_if_it_takes_half_of_it_back(
    fallen_ms: float, is_delay: bool
) -> None:
    clock = a_clock()
    clock.due(lags(0))
    lag = np.linspace(4000 * MS, (4000 - fallen_ms) * MS, 200).astype(np.int64)
    at = np.full(200, 8000 * MS) + np.arange(200) * 100
    decided = clock.decide(at, lag, now_us=8100 * MS, written_us=0, final=True)
    # Else it is a word that was sent when it had been said, after silence.
    assert decided == ((200, 0) if is_delay else (0, (4000 - fallen_ms) * MS))


def test_a_word_that_came_in_a_burst_before_other_words_is_no_end_of_the_input() -> None:
    clock = a_clock()
    clock.due(lags(0))
    burst = np.linspace(5300 * MS, 5000 * MS, 15).astype(np.int64)
    at, lag = arrivals((9000, 9500, 7000))
    at = np.concatenate((np.full(15, 7000 * MS), at))
    assert clock.decide(at, np.concatenate((burst, lag)), now_us=9600 * MS, written_us=0, final=True) == (0, 5000 * MS)


def test_a_level_with_which_the_track_ends_was_silence() -> None:
    clock = a_clock()
    clock.due(lags(0))
    at, lag = arrivals((3000, 3500, 1500))
    assert clock.decide(at, lag, now_us=3600 * MS, written_us=0, final=True) == (0, 1500 * MS)


def test_a_file_that_cannot_wait_has_a_patience_of_its_own() -> None:
    patience = Patience.of(file_s=30, early_s=3)
    assert patience.decide_us == 28 * S
    patience.shorten()
    assert patience.is_early
    assert patience.hold_us == 3 * S
    assert patience.settle_us == 2 * S
    assert patience.decide_us == 2 * S
    short = Patience.of(file_s=1, early_s=3)
    short.shorten()
    assert short.hold_us == 1 * S
