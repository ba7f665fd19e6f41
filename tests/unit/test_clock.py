"""The clocks of the core, and what is compared between them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from wavstream.clock import BootClocks, ClockJump, Clocks, UnixClock
from wavstream.model.times import unix_us, utc

S = 1_000_000
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


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


# ---- both clocks ---------------------------------------------------------------------------------------------------


class Machine:
    """A machine whose clocks a test sets, and the clocks of the server that runs on it."""

    def __init__(self) -> None:
        self.boot_id = "first"
        self.up_us = 0
        self.wall = datetime.fromisoformat("2026-11-01T10:00:00+00:00")
        self.held_up_us = 0
        """How long each reading of the time it is up takes."""
        self.run()

    def run(self, known: BootClocks | None = None, *, is_recording: bool = False) -> timedelta:
        """Start the server; return by how much its journal's clock is set otherwise than the wall clock."""
        self.journal = StandingClock(unix_us(self.wall))
        self.clocks = Clocks(self.journal, lambda: self.wall, steady_us=self.steady_us, boot_id=self.boot_id)
        return self.clocks.go_on(known, is_recording=is_recording)

    def steady_us(self) -> int:
        self.up_us += self.held_up_us
        return self.up_us

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.up_us += time // timedelta(microseconds=1)
        self.journal.us += time // timedelta(microseconds=1)

    def follow(self) -> timedelta:
        """Let the server's time follow the jump that it finds; return by how much."""
        jump = self.clocks.jump()
        if jump is None:
            return timedelta(0)
        self.clocks.follow(jump)
        return jump.by


class StandingClock(UnixClock):
    """The journal's clock, set by a test."""

    def __init__(self, us: int) -> None:
        super().__init__(us)
        self.us = us

    def set(self, unix_us: int) -> None:
        self.us = unix_us

    def now_us(self) -> int:
        return self.us


JUMPS = pytest.mark.parametrize("by", [3 * DAY, -4 * DAY, timedelta(hours=-1), timedelta(seconds=1)])


@JUMPS
def test_a_jump_is_followed_once_with_its_size(by: timedelta) -> None:
    machine = Machine()
    machine.passes(MINUTE)
    machine.wall += by
    machine.passes(MINUTE)
    assert [machine.follow() for _ in range(3)] == [by, timedelta(0), timedelta(0)]
    assert machine.clocks.now() == machine.wall


@JUMPS
def test_until_it_is_followed_a_jump_changes_nothing_that_the_server_says_of_time(by: timedelta) -> None:
    machine = Machine()
    started_at = machine.wall
    machine.passes(MINUTE)
    stopped = utc(machine.journal.us)
    machine.wall += by
    machine.passes(MINUTE)
    assert machine.clocks.now() == started_at + 2 * MINUTE
    assert machine.clocks.on_wall(stopped) == stopped
    assert machine.clocks.jump() == ClockJump(by, since=started_at, until=started_at + 2 * MINUTE)


@JUMPS
def test_what_ended_within_a_look_of_the_jump_counts_it_once(by: timedelta) -> None:
    machine = Machine()
    machine.passes(MINUTE)
    machine.wall += by
    kept_since = machine.clocks.on_wall(utc(machine.journal.us))  # it jumped already, nobody has looked
    assert kept_since + machine.follow() == machine.wall


def test_a_machine_that_slept_has_not_jumped() -> None:
    machine = Machine()
    machine.wall += 3 * DAY
    machine.up_us += 3 * DAY // timedelta(microseconds=1)
    assert machine.follow() == timedelta(0)


def test_small_steps_add_up_to_a_jump() -> None:
    machine = Machine()
    seen = []
    for _ in range(5):
        machine.wall += timedelta(seconds=0.4)
        seen.append(machine.follow().total_seconds())
    assert seen == [0, 0, 1.2, 0, 0]


@JUMPS
def test_what_was_stamped_before_a_jump_is_told_by_the_time_after_it(by: timedelta) -> None:
    machine = Machine()
    machine.passes(5 * MINUTE)
    stopped = utc(machine.journal.us)
    machine.wall += by
    machine.passes(MINUTE)
    assert machine.follow() == by
    expected = machine.wall - MINUTE
    assert abs(machine.clocks.on_wall(stopped) - expected) <= timedelta(seconds=1 if by == timedelta(seconds=1) else 0)


def test_where_both_clocks_agree_a_stamp_is_what_it_says_to_the_microsecond() -> None:
    machine = Machine()
    stopped = utc(machine.journal.us)
    machine.wall += timedelta(seconds=0.9)
    assert machine.clocks.on_wall(stopped) == stopped


def test_nothing_of_this_run_ended_before_it_when_its_clock_is_put_behind_an_earlier_journal() -> None:
    machine = Machine()
    machine.passes(5 * MINUTE)
    stopped = utc(machine.journal.us)
    machine.journal.us += 3 * DAY // timedelta(microseconds=1)
    assert machine.clocks.on_wall(stopped) == machine.wall - 5 * MINUTE


def test_what_an_earlier_run_left_unfinished_is_kept_from_now_whatever_the_machine_is_up() -> None:
    machine = Machine()
    died_at = machine.wall
    machine.passes(timedelta(hours=2))
    machine.run(machine.clocks.setting())
    assert machine.clocks.on_wall(died_at) == machine.wall


def test_a_process_that_stands_still_between_two_readings_has_seen_no_jump() -> None:
    machine = Machine()
    machine.held_up_us = 5 * S
    assert machine.clocks.jump() is None


def test_without_a_steady_clock_the_wall_clock_is_believed() -> None:
    machine = Machine()
    clocks = Clocks(machine.journal, lambda: machine.wall)
    machine.wall += DAY
    assert clocks.jump() is None
    assert clocks.setting() is None
    assert clocks.now() == machine.wall


# ---- over a restart ------------------------------------------------------------------------------------------------


@JUMPS
def test_a_jump_that_was_not_followed_or_came_while_no_server_ran_is_found_at_the_next_start(by: timedelta) -> None:
    machine = Machine()
    started_at = machine.wall
    machine.passes(5 * MINUTE)
    known = machine.clocks.setting()
    machine.wall += by
    machine.passes(5 * MINUTE)
    machine.run(known)
    assert machine.clocks.now() == started_at + 10 * MINUTE
    assert machine.clocks.jump() == ClockJump(by, since=started_at, until=started_at + 10 * MINUTE)


def test_a_jump_that_was_followed_is_none_for_the_next_run() -> None:
    machine = Machine()
    machine.wall += 3 * DAY
    machine.follow()
    machine.run(machine.clocks.setting())
    assert machine.clocks.jump() is None


@JUMPS
def test_what_another_start_of_the_machine_knew_is_of_no_use(by: timedelta) -> None:
    machine = Machine()
    known = machine.clocks.setting()
    machine.up_us, machine.boot_id = 0, "second"
    machine.wall += by
    assert machine.run(known, is_recording=True) == timedelta(0)
    assert machine.clocks.jump() is None
    assert machine.clocks.now() == utc(machine.journal.us) == machine.wall


@JUMPS
def test_recordings_that_go_on_were_away_for_as_long_as_the_machine_says(by: timedelta) -> None:
    machine = Machine()
    machine.passes(5 * MINUTE)
    last = utc(machine.journal.us)
    known = machine.clocks.setting()
    machine.wall += by
    machine.passes(MINUTE)
    assert machine.run(known, is_recording=True) == -by
    assert utc(machine.journal.us) == last + MINUTE


def test_with_nothing_to_go_on_with_the_clock_of_calls_is_set_anew() -> None:
    machine = Machine()
    known = machine.clocks.setting()
    machine.wall += 3 * DAY
    assert machine.run(known) == timedelta(0)
    assert utc(machine.journal.us) == machine.wall


@JUMPS
def test_a_worker_follows_the_jump_that_another_has_followed_and_then_they_agree(by: timedelta) -> None:
    first = Machine()
    second = Machine()
    assert second.clocks.behind(first.clocks.setting()) is None
    for machine in (first, second):
        machine.passes(MINUTE)
        machine.wall += by
    assert first.follow() == by
    jump = second.clocks.behind(first.clocks.setting())
    assert jump is not None
    assert jump.by == by
    second.clocks.follow(jump)
    assert second.clocks.now() == first.clocks.now()
    assert second.clocks.behind(first.clocks.setting()) is None


def test_a_worker_that_starts_later_goes_by_the_clocks_of_the_first() -> None:
    first = Machine()
    first.passes(MINUTE)
    first.wall += DAY  # not followed yet
    later = Machine()
    later.up_us, later.wall = first.up_us, first.wall
    later.run(first.clocks.setting(), is_recording=True)
    assert later.clocks.now() == first.clocks.now()
    assert later.journal.us == first.journal.us


def test_how_another_start_of_the_machine_was_set_tells_a_worker_nothing() -> None:
    first, second = Machine(), Machine()
    first.boot_id = "second"
    first.wall += DAY
    first.run()
    assert second.clocks.behind(first.clocks.setting()) is None
    assert second.clocks.behind(None) is None
