"""Which task goes first, whose recording is next, how long a turn is, and which are done at the end."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import until
from wavstream.journal.events import RecordingStopped
from wavstream.recorder.render_job import RenderJob
from wavstream.recorder.render_thread import NICER, Priority, RenderThread


@pytest.fixture
async def thread() -> AsyncIterator[RenderThread]:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0)
    yield thread
    await thread.stop()


def held(thread: RenderThread) -> threading.Event:
    """Keep the thread in a job until the event is set."""
    entered, release = threading.Event(), threading.Event()

    def job() -> None:
        entered.set()
        release.wait(30)

    thread.run(job, Priority.URGENT, app_id="shop")
    assert entered.wait(30)
    return release


async def test_urgent_jobs_overtake_due_ones_and_those_the_backlog(thread: RenderThread) -> None:
    ran: list[str] = []
    done = threading.Event()
    release = held(thread)

    for lane in (Priority.BACKLOG, Priority.DUE, Priority.URGENT):
        for number in (1, 2):
            thread.run(functools.partial(ran.append, f"{lane.name} {number}"), lane, app_id="shop")
    thread.run(done.set, Priority.BACKLOG, app_id="shop")
    waiting = thread.waiting
    release.set()

    assert done.wait(30)
    assert ran == ["URGENT 1", "URGENT 2", "DUE 1", "DUE 2", "BACKLOG 1", "BACKLOG 2"]
    assert (waiting, thread.waiting) == (7, 0)


async def test_what_is_behind_waits_while_it_is_held_and_nothing_else_does(thread: RenderThread) -> None:
    ran: list[str] = []
    due, behind = threading.Event(), threading.Event()
    thread.hold_backlog(600)
    thread.run(behind.set, Priority.BACKLOG, app_id="shop")
    for _ in range(40):  # one of sixteen turns would be for what is behind
        thread.run(functools.partial(ran.append, "due"), Priority.DUE, app_id="shop")
    thread.run(due.set, Priority.DUE, app_id="shop")
    assert due.wait(30)
    assert (len(ran), thread.waiting, behind.is_set()) == (40, 1, False)
    thread.hold_backlog(0)
    assert behind.wait(30)


async def test_what_is_behind_goes_on_by_itself_after_the_time(thread: RenderThread) -> None:
    behind = threading.Event()
    thread.hold_backlog(0.05)
    thread.run(behind.set, Priority.BACKLOG, app_id="shop")
    assert behind.wait(30)


async def test_a_stop_runs_what_is_urgent_and_drops_the_rest() -> None:
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0)
    ran: list[Priority] = []
    release = held(thread)
    for lane in Priority:
        thread.run(functools.partial(ran.append, lane), lane, app_id="shop")

    stopping = asyncio.create_task(thread.stop())
    await until(lambda: thread._is_stopping)
    release.set()
    await stopping

    assert ran == [Priority.URGENT]


async def test_a_task_that_raises_is_logged_and_costs_itself_only(thread: RenderThread) -> None:
    done = threading.Event()

    with capture_logs() as logs:
        thread.run(lambda: 1 // 0, Priority.DUE, app_id="shop")  # type: ignore[arg-type]
        thread.run(done.set, Priority.DUE, app_id="shop")
        assert done.wait(30)

    assert [(line["event"], line["log_level"]) for line in logs] == [("render_task_failed", "error")]


class Flood:
    """Jobs that note their turns, each of a time of its own; the thread is held until all of them wait."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns: list[str] = []
        self.done = threading.Event()
        self.expected = 0

    def clock(self) -> float:
        return self.now_s

    def note(self, name: str, slice_s: float) -> None:
        self.now_s += slice_s
        self.turns.append(name)
        if len(self.turns) == self.expected:
            self.done.set()

    def wait(self, expected: int, release: threading.Event) -> list[str]:
        self.expected = expected
        self.done.clear()
        release.set()
        assert self.done.wait(30)
        return self.turns[:expected]


class Job(RenderJob):
    """A job of so many slices."""

    def __init__(self, flood: Flood, app_id: str, name: str, *, slices: int = 1, slice_s: float = 1.0) -> None:
        self.app_id, self.recording_id, self.session_id = app_id, name, "call-77"
        self.stuck = self.broken = None
        self._flood, self._left, self._slice_s = flood, slices, slice_s

    def advance(self) -> bool:
        self._left -= 1
        self._flood.note(self.recording_id, self._slice_s)
        return self._left > 0

    @property
    def is_complete(self) -> bool:
        return not self._left

    def take_remarks(self) -> list[str]:
        return []

    def take_automatic_end(self) -> RecordingStopped | None:
        return None


@pytest.fixture
async def flood() -> Flood:
    return Flood()


@pytest.fixture
async def counted(flood: Flood) -> AsyncIterator[RenderThread]:
    """Make turns last for ten slices of a second, by a clock of the jobs' own."""
    thread = RenderThread(asyncio.get_running_loop(), retry_s=0.0, turn_s=10.0, clock=flood.clock)
    yield thread
    await thread.stop()


async def test_a_thousand_recordings_of_one_app_cost_anothers_every_second_turn(
    counted: RenderThread, flood: Flood
) -> None:
    release = held(counted)
    counted.fold_all([Job(flood, "A", f"A{number}") for number in range(1_000)], Priority.DUE)
    counted.fold_all([Job(flood, "B", f"B{number}") for number in range(2)], Priority.DUE)

    assert flood.wait(6, release) == ["A0", "B0", "A1", "B1", "A2", "A3"]


async def test_a_recording_waits_once_however_often_it_is_due(counted: RenderThread, flood: Flood) -> None:
    release, job = held(counted), Job(flood, "A", "A0", slices=2)
    for _ in range(100):
        counted.fold(job, Priority.DUE)
        counted.fold(job, Priority.BACKLOG)

    assert counted.waiting == 1
    assert flood.wait(2, release) == ["A0", "A0"]


async def test_a_turn_ends_with_its_time_and_the_rest_is_behind(counted: RenderThread, flood: Flood) -> None:
    release = held(counted)
    counted.fold(Job(flood, "A", "long", slices=20), Priority.DUE)
    counted.fold(Job(flood, "A", "slow", slices=3, slice_s=9.0), Priority.DUE)
    counted.fold(Job(flood, "A", "last"), Priority.DUE)

    assert flood.wait(24, release) == [*["long"] * 10, *["slow"] * 2, "last", *["long"] * 10, "slow"]


async def test_a_live_call_that_is_behind_waits_too_while_that_is_held_and_its_stop_does_not(
    counted: RenderThread, flood: Flood
) -> None:
    release = held(counted)
    counted.hold_backlog(600)
    behind = Job(flood, "shop", "behind")
    counted.fold(behind, Priority.BACKLOG)
    counted.fold_all((behind, Job(flood, "shop", "on time")), Priority.DUE)
    assert flood.wait(1, release) == ["on time"]
    release = held(counted)
    stopped = counted.fold_to_end(behind)
    assert flood.wait(2, release) == ["on time", "behind"]
    await stopped


async def test_stops_of_one_app_leave_each_fourth_turn_to_the_live_calls_of_another(
    counted: RenderThread, flood: Flood
) -> None:
    release = held(counted)
    stops = [counted.fold_to_end(Job(flood, "A", "stop")) for _ in range(12)]
    counted.fold_all([Job(flood, "B", "live") for _ in range(3)], Priority.DUE)

    # The turn in which the thread is held was a stop's as well.
    assert flood.wait(15, release)[:9] == ["stop"] * 3 + ["live"] + ["stop"] * 3 + ["live"] + ["stop"]
    await asyncio.gather(*stops)


async def test_a_stop_of_another_app_is_next_but_one_among_stops_of_calls_that_are_far_behind(
    counted: RenderThread, flood: Flood
) -> None:
    release = held(counted)
    stops = [counted.fold_to_end(Job(flood, "A", f"A{number}", slices=30, slice_s=10.0)) for number in range(3)]
    stops.append(counted.fold_to_end(Job(flood, "B", "B")))

    assert flood.wait(91, release)[:5] == ["A0", "B", "A1", "A2", "A0"]
    await asyncio.gather(*stops)


async def test_a_stop_takes_the_place_of_the_turn_that_its_recording_waits_for(
    counted: RenderThread, flood: Flood
) -> None:
    release, stopped = held(counted), Job(flood, "A", "A1")
    counted.fold_all([Job(flood, "A", "A0"), stopped], Priority.DUE)
    end = counted.fold_to_end(stopped)
    counted.fold(stopped, Priority.DUE)

    assert counted.waiting == 2
    assert flood.wait(2, release) == ["A1", "A0"]
    await end


async def test_news_for_the_loop_is_told_once_when_nothing_waits_any_more(counted: RenderThread, flood: Flood) -> None:
    release, told = held(counted), list[int]()
    counted.tell = lambda: told.append(len(flood.turns))
    for number in range(5):
        counted.run(counted.tell_soon, Priority.DUE, app_id="A")
        counted.fold(Job(flood, "A", f"A{number}", slice_s=0.0), Priority.DUE)
    counted.fold(Job(flood, "A", "end", slice_s=1.0), Priority.DUE)
    flood.wait(6, release)
    await until(lambda: bool(told))

    assert told == [6]


def priorities(found: list[int], over: threading.Event) -> None:
    found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    over.set()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere priorities are those of processes")
async def test_it_runs_behind_those_that_record(thread: RenderThread) -> None:
    found: list[int] = []
    over = threading.Event()
    thread.run(functools.partial(priorities, found, over), Priority.DUE, app_id="shop")
    assert over.wait(30)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert found == [min(before + NICER, 19)]


async def test_where_a_sandbox_refuses_a_priority_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    thread, over = RenderThread(asyncio.get_running_loop(), retry_s=0.0), threading.Event()
    thread.run(over.set, Priority.DUE, app_id="shop")
    assert over.wait(30)
    await thread.stop()
