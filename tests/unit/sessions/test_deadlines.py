"""When records, folds and windows are due."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.sessions import at
from wavstream.sessions.deadlines import CLOCKS_PER_FOLD, VISIT_US, FoldSchedule

VISIT_S = 0.15


def test_clock_records_are_due_at_every_third_visit() -> None:
    pulse = FoldSchedule(at(0))

    due = [number for number in range(1, 13) if pulse.clock_is_due(at(number * VISIT_S))]

    assert due == [3, 6, 9, 12]


def test_visits_that_come_unevenly_write_clock_records_half_a_second_apart_at_most() -> None:
    pulse = FoldSchedule(at(0))
    visits_s = [number * VISIT_S + (0.02 if number % 2 else -0.02) for number in range(1, 200)]

    written_s = [visit_s for visit_s in visits_s if pulse.clock_is_due(at(visit_s))]

    gaps_s = [later - earlier for earlier, later in pairwise(written_s)]
    assert max(gaps_s) <= 0.5
    assert min(gaps_s) >= 0.4


def test_a_late_visit_writes_one_clock_record_for_all_that_it_missed() -> None:
    pulse = FoldSchedule(at(0))

    assert [pulse.clock_is_due(at(5.0)), pulse.clock_is_due(at(5.15))] == [True, False]


def test_a_fold_is_due_with_every_few_clock_records() -> None:
    pulse = FoldSchedule(at(0))

    clocks = [number for number in range(1, 100) if pulse.clock_is_due(at(number * VISIT_S)) and pulse.fold_is_due]

    assert clocks == list(range(3 * CLOCKS_PER_FOLD, 100, 3 * CLOCKS_PER_FOLD))


def test_in_calm_time_there_are_two_clock_records_a_fold_and_as_many_folds() -> None:
    pulse = FoldSchedule(at(0))

    visits = range(1, 61)
    due = [visit for visit in visits if pulse.clock_is_due(at(visit * VISIT_S), is_calm=True) and pulse.fold_is_due]

    assert due == [12, 24, 36, 48, 60]


def test_what_is_not_calm_any_more_has_a_clock_record_at_the_next_visit() -> None:
    pulse = FoldSchedule(at(0))

    assert [pulse.clock_is_due(at(0.45), is_calm=calm) for calm in (True, False)] == [False, True]


def test_calm_calls_that_begin_at_once_take_turns() -> None:
    firsts = []
    for turn in range(7):
        pulse = FoldSchedule(at(0), turn)
        pulse.restart(at(0))
        firsts.append(next(visit for visit in range(1, 8) if pulse.clock_is_due(at(visit * VISIT_S), is_calm=True)))

    assert sorted(firsts[:6]) == [*range(1, 7)]
    assert firsts[6] == firsts[0]


def test_time_counts_from_a_restart() -> None:
    pulse = FoldSchedule(at(0))
    pulse.restart(at(10.0))

    assert not pulse.clock_is_due(at(10.3))
    assert pulse.clock_is_due(at(10.45))


def test_a_window_is_over_every_ten_seconds() -> None:
    pulse = FoldSchedule(at(0))

    assert [second for second in range(1, 31) if pulse.window_is_over(at(second))] == [10, 20, 30]


def test_what_may_end_a_recording_is_folded_at_once_and_when_it_is_written() -> None:
    pulse = FoldSchedule(0)
    pulse.hurry()
    assert [pulse.hurries() for _ in range(3)] == [True, True, False]


def test_calls_that_begin_at_once_take_turns() -> None:
    firsts = []
    for turn in range(4):
        pulse = FoldSchedule(at(0), turn)
        pulse.restart(at(0))
        firsts.append(next(number for number in range(1, 9) if pulse.clock_is_due(at(number * VISIT_S))))

    assert firsts == [3, 2, 1, 3]


@pytest.mark.parametrize("frame_ms", [10, 20, 30, 40, 60])
def test_of_ten_visits_one_comes_right_behind_a_frame_wherever_both_began(frame_ms: int) -> None:
    frame_us = frame_ms * 1000
    behind_us = sorted(visit * VISIT_US % frame_us for visit in range(10))
    gaps_us = [later - earlier for earlier, later in pairwise([*behind_us, behind_us[0] + frame_us])]
    assert max(gaps_us) <= frame_us / 6
