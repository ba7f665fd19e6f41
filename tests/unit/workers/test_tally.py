"""What is counted for each app and in all, of one worker and of several."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from wavstream.workers.shared_counts import SharedCounts
from wavstream.workers.tally import Meter, Tally, tally_of


class Full(Exception):
    pass


def at_most(most: int, tally: Tally | Meter, app_id: str = "shop", now: float = 0.0) -> bool:
    """Take one, unless all have as many; return whether there was room."""

    def check(used: int, used_by_all: int) -> None:
        if used_by_all >= most:
            raise Full

    try:
        if isinstance(tally, Tally):
            tally.take(app_id, check)
        else:
            tally.take(app_id, now, check)
    except Full:
        return False
    return True


@pytest.fixture
def tables() -> Iterator[list[SharedCounts]]:
    """Yield the table as three workers see it, whose clock is ``now``."""
    descriptor = SharedCounts.create(3, now_s=0.0)
    yield [SharedCounts(descriptor, worker, clock=lambda: clock[0]) for worker in range(3)]
    os.close(descriptor)


clock = [1_000.0]


def test_a_burst_is_seen_before_its_window_is_over() -> None:
    meter = Meter(4.0)
    meter.add("shop", 8_000, 0.0)
    assert meter.rate("shop", 0.1) == (2_000, 2_000)


def test_what_a_meter_has_seen_is_forgotten_after_a_pause() -> None:
    meter = Meter(4.0)
    meter.add("shop", 8_000, 0.0)
    assert meter.rate("shop", 8.0) == (0, 0)


def test_a_tally_forgets_apps_that_have_nothing() -> None:
    tally = Tally()
    for app_id in ("shop", "shop", "other"):
        tally.add(app_id)
    tally.remove("shop")
    assert (tally.of("shop"), tally.of("other"), tally.of("nobody"), tally.total) == (1, 1, 0, 2)
    tally.remove("other")
    tally.remove("shop")
    assert (tally.total, tally._of) == (0, {})


def test_what_is_refused_leaves_nothing_behind() -> None:
    tally = Tally()
    assert [at_most(2, tally) for _ in range(4)] == [True, True, False, False]
    assert (tally.of("shop"), tally.total) == (2, 2)
    tally.remove("shop")
    assert at_most(2, tally)


def test_all_workers_together_have_as_many_as_one_may(tables: list[SharedCounts]) -> None:
    tallies = [tally_of(each, "streams") for each in tables]
    taken = [at_most(5, tallies[turn % 3], f"app-{turn % 2}") for turn in range(9)]
    assert (taken, [each.own for each in tallies]) == ([True] * 5 + [False] * 4, [2, 2, 1])
    assert [(each.of("app-0"), each.of("app-1"), each.total) for each in tallies] == [(3, 2, 5)] * 3
    tallies[0].remove("app-0")
    assert [at_most(5, each) for each in tallies[1:]] == [True, False]


def test_one_thing_is_not_another(tables: list[SharedCounts]) -> None:
    tally_of(tables[0], "streams").add("shop")
    assert tally_of(tables[1], "sockets").of("shop") == 0


def test_requests_of_a_second_are_those_of_all_workers(tables: list[SharedCounts]) -> None:
    meters = [Meter(1.0, each.of("requests"), looks_back=False) for each in tables]
    assert [at_most(4, meters[turn % 3], now=clock[0]) for turn in range(6)] == [True] * 4 + [False] * 2
    clock[0] += 1.0
    assert [at_most(4, meters[2 - turn % 3], now=clock[0]) for turn in range(6)] == [True] * 4 + [False] * 2
    assert meters[0].rate("shop", clock[0]) == (4, 4)


def test_audio_of_all_workers_counts_until_the_window_after_it_is_over(tables: list[SharedCounts]) -> None:
    clock[0] = 2_000.0
    meters = [Meter(4.0, each.of("media"), unit=1024) for each in tables]
    for meter in meters[:2]:
        meter.add("shop", 40_960, clock[0])
    assert meters[2].rate("shop", clock[0]) == (20_480, 20_480)
    clock[0] = 2_007.9
    assert meters[2].rate("shop", clock[0]) == (20_480, 20_480)
    clock[0] = 2_008.0
    assert meters[2].rate("shop", clock[0]) == (0, 0)
