"""The clocks of the core, and what is compared between them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from wavstream.clock import Clocks, Jumps, UnixClock
from wavstream.model.times import unix_us, utc

S = 1_000_000
DAY = timedelta(days=1)


def test_the_clock_goes_on_behind_a_journal_that_was_written_by_a_clock_ahead_of_it() -> None:
    clock = UnixClock()
    ahead_us = clock.now_us() + 3_600_000_000

    clock.not_before(ahead_us)

    assert clock.now_us() >= ahead_us


def test_a_journal_of_the_past_does_not_move_the_clock() -> None:
    clock = UnixClock()
    before_us = clock.now_us()

    clock.not_before(before_us - 3_600_000_000)

    assert before_us <= clock.now_us() < before_us + 3_600_000_000


# ---- jumps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_s", [259_200, -3600, 1])
def test_a_jump_is_told_once_with_its_size(by_s: int) -> None:
    jumps = Jumps(wall_us=1_000 * S, steady_us=50 * S)
    seen = [jumps.look(wall_us=(1_000 + s) * S, steady_us=(50 + s) * S) for s in range(3)]
    seen += [jumps.look(wall_us=(1_000 + s + by_s) * S, steady_us=(50 + s) * S) for s in range(3, 6)]
    assert seen == [0, 0, 0, by_s * S, 0, 0]


def test_a_machine_that_slept_has_not_jumped() -> None:
    jumps = Jumps(wall_us=1_000 * S, steady_us=50 * S)
    assert jumps.look(wall_us=1_000 * S + 259_200 * S, steady_us=50 * S + 259_200 * S) == 0


def test_small_steps_add_up_to_a_jump() -> None:
    jumps = Jumps(wall_us=0, steady_us=0)
    seen = [jumps.look(wall_us=s * S + s * 400_000, steady_us=s * S) for s in range(1, 6)]
    assert seen == [0, 0, 1_200_000, 0, 0]


# ---- both clocks ---------------------------------------------------------------------------------------------------


class Machine:
    """A machine whose clocks a test sets."""

    def __init__(self) -> None:
        self.up_us = 0
        self.wall = datetime.fromisoformat("2026-11-01T10:00:00+00:00")
        self.held_up_us = 0
        """How long each reading of the time it is up takes."""
        self.journal = StandingClock(unix_us(self.wall))
        self.clocks = Clocks(self.journal, lambda: self.wall, steady_us=self.steady_us)

    def steady_us(self) -> int:
        self.up_us += self.held_up_us
        return self.up_us

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.up_us += time // timedelta(microseconds=1)
        self.journal.us += time // timedelta(microseconds=1)


class StandingClock(UnixClock):
    """The journal's clock, set by a test."""

    def __init__(self, us: int) -> None:
        super().__init__(us)
        self.us = us

    def now_us(self) -> int:
        return self.us


@pytest.mark.parametrize("by", [3 * DAY, -4 * DAY, timedelta(hours=-1)])
def test_what_was_stamped_before_a_jump_is_told_by_the_wall_clock_as_it_is_set_now(by: timedelta) -> None:
    machine = Machine()
    machine.passes(timedelta(minutes=5))
    stopped = utc(machine.journal.us)
    machine.wall += by
    machine.passes(timedelta(minutes=1))
    assert machine.clocks.look() == by
    assert machine.clocks.on_wall(stopped) == machine.wall - timedelta(minutes=1)


def test_where_both_clocks_agree_a_stamp_is_what_it_says_to_the_microsecond() -> None:
    machine = Machine()
    stopped = utc(machine.journal.us)
    machine.wall += timedelta(seconds=0.9)
    assert machine.clocks.on_wall(stopped) == stopped


def test_what_an_earlier_run_stamped_with_a_clock_that_was_behind_is_kept_from_now() -> None:
    machine = Machine()
    assert machine.clocks.on_wall(machine.wall - 3 * DAY) == machine.wall


def test_the_start_of_the_run_is_told_as_the_clock_is_set_now() -> None:
    machine = Machine()
    began = machine.clocks.wall_since
    machine.passes(timedelta(minutes=5))
    machine.wall -= 4 * DAY
    machine.clocks.look()
    assert machine.clocks.wall_since == began - 4 * DAY


def test_what_earlier_runs_made_since_the_machine_was_started_goes_by_the_same_clock() -> None:
    machine = Machine()
    started_at = machine.wall
    machine.passes(timedelta(hours=2))
    later_run = Clocks(machine.journal, lambda: machine.wall, steady_us=machine.steady_us)
    assert (later_run.wall_since, utc(later_run.journal_since_us)) == (started_at, started_at)


def test_what_an_earlier_run_left_unfinished_is_kept_from_now_whatever_the_machine_is_up() -> None:
    machine = Machine()
    died_at = machine.wall
    machine.passes(timedelta(hours=2))
    later_run = Clocks(machine.journal, lambda: machine.wall, steady_us=machine.steady_us)
    assert later_run.on_wall(died_at) == machine.wall


def test_a_process_that_stands_still_between_two_readings_has_seen_no_jump() -> None:
    machine = Machine()
    machine.held_up_us = 5 * S
    assert machine.clocks.look() == timedelta(0)


def test_without_a_steady_clock_the_wall_clock_is_believed() -> None:
    machine = Machine()
    clocks = Clocks(machine.journal, lambda: machine.wall)
    machine.wall += DAY
    assert clocks.look() == timedelta(0)
