"""Who is looked at in which turn, and that one timer is enough for all."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from tests.support.waiting import WAIT_S
from wavstream.media.rounds import TURNS, Rounds, RoundSchedule


class Watched:
    """Something that is looked at, and the turns in which it was."""

    def __init__(self, turns: list[int], fails: bool = False) -> None:
        self._turns = turns
        self._fails = fails
        self.looks: list[int] = []

    def look(self) -> None:
        self.looks.append(self._turns[0])
        if self._fails:
            raise RuntimeError("a look that fails")


def served(schedule: RoundSchedule, turns: list[int], number: int) -> None:
    for _ in range(number):
        turns[0] += 1
        schedule.serve()


def test_who_joins_is_looked_at_once_in_each_round_and_never_sooner() -> None:
    turns, schedule = [0], RoundSchedule()
    served(schedule, turns, 7)
    watched = Watched(turns)
    schedule.join(watched.look)
    served(schedule, turns, 3 * TURNS + 1)
    first = 7 + TURNS + 1
    assert watched.looks == [first, first + TURNS, first + 2 * TURNS]


def test_a_thousand_that_join_at_once_come_in_several_turns_each_once_a_round() -> None:
    turns, schedule = [0], RoundSchedule()
    all_watched = [Watched(turns) for _ in range(1_000)]
    for watched in all_watched:
        schedule.join(watched.look)
    served(schedule, turns, 6 * TURNS)
    in_turn = [sum(watched.looks.count(turn) for watched in all_watched) for turn in range(6 * TURNS + 1)]
    assert max(in_turn) <= 101
    for watched in all_watched:
        assert watched.looks[0] <= TURNS + 1 + TURNS // 2
        assert {later - sooner for sooner, later in zip(watched.looks, watched.looks[1:], strict=False)} == {TURNS}


def test_who_left_is_not_looked_at_also_where_it_was_due_and_costs_nobody_its_turn() -> None:
    turns, schedule = [0], RoundSchedule()
    all_watched = [Watched(turns) for _ in range(100)]
    for watched in all_watched:
        schedule.join(watched.look)
    *gone, last = all_watched
    for watched in gone:
        schedule.leave(watched.look)
    served(schedule, turns, TURNS + 1)
    assert last.looks == [TURNS + 1]
    assert not any(watched.looks for watched in gone)


def test_one_that_leaves_within_the_look_of_another_is_not_looked_at() -> None:
    turns, schedule = [0], RoundSchedule()
    second = Watched(turns)
    schedule.join(lambda: schedule.leave(second.look))
    schedule.join(second.look)
    served(schedule, turns, 3 * TURNS)
    assert second.looks == []


def test_a_look_that_fails_costs_the_others_one_turn_and_is_made_again() -> None:
    turns, schedule = [0], RoundSchedule()
    failing, other = Watched(turns, fails=True), Watched(turns)
    schedule.join(failing.look)
    schedule.join(other.look)
    served(schedule, turns, TURNS)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            served(schedule, turns, 1)
        served(schedule, turns, TURNS - 1)
    assert failing.looks == [TURNS + 1, 2 * TURNS + 1]
    assert other.looks == [TURNS + 2, 2 * TURNS + 2]


def test_when_the_last_has_left_nothing_is_kept_of_it() -> None:
    turns, schedule = [0], RoundSchedule()
    watched = Watched(turns)
    schedule.join(watched.look)
    schedule.leave(watched.look)
    schedule.leave(watched.look)  # without effect
    assert schedule.is_empty
    served(schedule, turns, 2 * TURNS)
    schedule.join(watched.look)
    served(schedule, turns, TURNS + 1)
    assert watched.looks == [3 * TURNS + 1]


def timers_of(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """Return the timers that are armed from now on, one more each time."""
    loop = asyncio.get_running_loop()
    armed: list[asyncio.TimerHandle] = []
    call_at = loop.call_at

    def remembering(*args: object) -> asyncio.TimerHandle:
        armed.append(call_at(*args))  # type: ignore[arg-type]
        return armed[-1]

    monkeypatch.setattr(loop, "call_at", remembering)
    return armed


async def test_one_timer_looks_at_all_and_rests_while_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    armed = timers_of(monkeypatch)
    rounds = Rounds(0.02)
    looked = [asyncio.Event() for _ in range(50)]
    for event in looked:
        rounds.join(event.set)
    assert len(armed) == 1
    for event in looked:
        async with asyncio.timeout(WAIT_S):
            await event.wait()
    for event in looked:
        rounds.leave(event.set)
    assert armed[-1].cancelled()
    number = len(armed)
    rounds.join(looked[0].set)  # it runs again
    assert len(armed) == number + 1
    rounds.leave(looked[0].set)


async def test_a_loop_that_stood_still_looks_at_nobody_twice_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    armed = timers_of(monkeypatch)
    rounds = Rounds(0.1)
    turns: list[int] = []
    third = asyncio.Event()

    def look() -> None:
        turns.append(len(armed))
        if len(turns) == 1:
            stands_until_s = time.monotonic() + 0.5  # five rounds
            while time.monotonic() < stands_until_s:
                pass
        elif len(turns) == 3:
            third.set()

    rounds.join(look)
    async with asyncio.timeout(WAIT_S):
        await third.wait()
    rounds.leave(look)
    assert [later - sooner for sooner, later in itertools.pairwise(turns)] == [TURNS, TURNS]
