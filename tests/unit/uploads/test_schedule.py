"""Which file is tried next, where, and how long one waits: rules without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wavstream.catalog.uploads import Upload
from wavstream.uploads.schedule import FAILURES, Door, Pace, Schedule, wait_s

NOW = datetime(2026, 12, 1, tzinfo=UTC)
FIRST, BACKUP = "s3://first", "s3://second"
AFTER = timedelta(minutes=10)


def an_upload(*, age: timedelta = timedelta(0), attempts: int = 0) -> Upload:
    return Upload("r1", "default", "default/r1.wav", NOW - age, NOW, attempts, None, ())


def a_schedule(*, backup: str | None = BACKUP) -> Schedule:
    return Schedule(FIRST, backup, backup_after=AFTER)


def closed(door: Door, now_s: float = 0.0) -> None:
    for _ in range(FAILURES):
        door.failed(now_s, is_lasting=False, chance=0)
    assert not door.is_open


# ---- waits -----------------------------------------------------------------------------------------------------------


@given(failed=some.integers(1, 10_000), chance=some.floats(0, 1))
def test_a_wait_is_within_its_bounds(failed: int, chance: float) -> None:
    waits = wait_s(failed, first_s=1, last_s=300, chance=chance)
    assert 0.5 <= waits <= 300


def test_each_wait_is_twice_the_one_before_up_to_the_last() -> None:
    waits = [wait_s(failed, first_s=1, last_s=300, chance=0) for failed in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_what_failed_together_is_not_tried_together_again() -> None:
    assert wait_s(5, first_s=1, last_s=300, chance=0.2) != wait_s(5, first_s=1, last_s=300, chance=0.8)


# ---- the door of a store ---------------------------------------------------------------------------------------------


def test_a_store_that_fails_now_and_then_stays_open() -> None:
    door = Door(Pace())
    for _ in range(10):
        for _ in range(FAILURES - 1):
            assert not door.failed(0, is_lasting=False, chance=0)
        assert not door.succeeded()
    assert door.is_open


def test_a_store_that_is_away_is_only_probed() -> None:
    door = Door(Pace())
    closed(door)

    assert not door.may_try(0.9)
    assert door.wait_s(0.4) == pytest.approx(0.6)
    assert door.may_try(1.0)
    door.begin()
    assert not door.may_try(1.0), "one try at a time"
    assert door.wait_s(1.0) is None, "whoever tries will tell"


def test_probes_of_a_store_become_ever_more_seldom_up_to_a_minute() -> None:
    door, now_s, waits = Door(Pace()), 0.0, []
    closed(door)
    for _ in range(9):
        wait = door.wait_s(now_s)
        assert wait is not None
        waits.append(wait)
        now_s += wait
        door.failed(now_s, is_lasting=False, chance=0)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_tries_that_were_under_way_when_the_door_was_closed_say_nothing_new() -> None:
    door = Door(Pace())
    closed(door)
    before = door.wait_s(0.0)
    for _ in range(8):
        assert not door.failed(0.5, is_lasting=False, chance=0)
    assert door.wait_s(0.0) == before


def test_what_waiting_will_not_mend_closes_the_door_at_once() -> None:
    door = Door(Pace())
    assert door.failed(0, is_lasting=True, chance=0)
    assert not door.is_open


def test_a_probe_that_succeeds_opens_the_door_for_all() -> None:
    door = Door(Pace())
    closed(door)
    assert door.succeeded()
    assert door.is_open
    assert door.may_try(0)
    assert not door.failed(0, is_lasting=False, chance=0), "it is counted from the beginning"


# ---- where a file goes -----------------------------------------------------------------------------------------------


def test_a_file_goes_to_the_first_store_and_to_no_other_while_it_is_young() -> None:
    assert a_schedule().stores_for(an_upload(age=AFTER / 2, attempts=9), NOW, 0) == (FIRST,)


def test_while_the_first_store_is_away_a_young_file_waits_for_it() -> None:
    schedule = a_schedule()
    closed(schedule.doors[FIRST])
    assert schedule.stores_for(an_upload(age=AFTER / 2), NOW, 0.5) == ()


def test_an_old_file_goes_to_the_backup_while_the_first_is_away() -> None:
    schedule = a_schedule()
    closed(schedule.doors[FIRST])
    assert schedule.stores_for(an_upload(age=AFTER), NOW, 0.5) == (BACKUP,)


def test_an_old_file_that_is_the_probe_goes_to_the_backup_if_the_first_does_not_take_it() -> None:
    schedule = a_schedule()
    closed(schedule.doors[FIRST])
    assert schedule.stores_for(an_upload(age=AFTER), NOW, 2.0) == (FIRST, BACKUP)


def test_a_file_that_the_first_store_alone_refuses_goes_to_the_backup_once_it_is_old() -> None:
    assert a_schedule().stores_for(an_upload(age=AFTER, attempts=3), NOW, 0) == (FIRST, BACKUP)


def test_an_old_file_of_before_a_long_stop_is_offered_to_the_first_store_before_the_backup() -> None:
    assert a_schedule().stores_for(an_upload(age=AFTER * 100), NOW, 0) == (FIRST,)


def test_without_a_backup_all_wait_for_the_first() -> None:
    schedule = a_schedule(backup=None)
    closed(schedule.doors[FIRST])
    assert schedule.stores_for(an_upload(age=AFTER * 100, attempts=5), NOW, 0.5) == ()


def test_the_next_probe_of_any_store_is_what_is_waited_for() -> None:
    schedule = a_schedule()
    assert schedule.probe_wait_s(0) is None
    closed(schedule.doors[BACKUP])
    assert schedule.probe_wait_s(0.25) == pytest.approx(0.75)


@given(attempts=some.integers(0, 100), chance=some.floats(0, 1))
def test_a_file_that_failed_is_tried_again_within_five_minutes(attempts: int, chance: float) -> None:
    next_at = a_schedule().next_at(an_upload(attempts=attempts), NOW, chance)
    assert timedelta(seconds=0.5) <= next_at - NOW <= timedelta(minutes=5)
