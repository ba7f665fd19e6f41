"""A pool whose threads are held, so that the order in which apps get them can be seen."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator

import pytest

from tests.support.waiting import until
from wavstream.errors import LimitReached, TooSoon
from wavstream.turns.fair_pool import FairPool, Places

PLACES = Places(in_all=5, of_app=3, setting="limits.downloads", retry_after_s=7)


class Work:
    """Work that notes when it begins, and waits until it is let go."""

    def __init__(self, pool: FairPool) -> None:
        self.pool = pool
        self.begun: list[str] = []
        self.go_on = threading.Semaphore(0)
        self.tasks: list[asyncio.Task[str]] = []

    def ask(self, app_id: str, count: int = 1) -> None:
        for number in range(count):
            name = f"{app_id}{number}"
            self.tasks.append(asyncio.create_task(self.pool.run(app_id, functools.partial(self._do, name))))

    async def end(self, count: int) -> None:
        """Let so many end, one after the other, so that each is followed by one."""
        for _ in range(count):
            before = len(self.begun)
            self.go_on.release()
            await until(functools.partial(self._has_begun_more, before))

    def _has_begun_more(self, before: int) -> bool:
        return len(self.begun) > before

    def _do(self, name: str) -> str:
        self.begun.append(name)
        assert self.go_on.acquire(timeout=30)
        return name


@pytest.fixture
async def pool() -> AsyncIterator[FairPool]:
    pool = FairPool("test", threads=1, places=PLACES)
    yield pool
    await pool.stop()


async def test_another_apps_work_waits_for_one_turn_of_an_app_that_asks_for_a_thousand(pool: FairPool) -> None:
    work = Work(pool)
    work.ask("A", 1_000)
    await until(lambda: bool(work.begun))
    work.ask("B", 2)
    await asyncio.sleep(0)

    await work.end(5)

    assert work.begun == ["A0", "A1", "B0", "A2", "B1", "A3"]
    for task in work.tasks:
        task.cancel()
    work.go_on.release()
    await asyncio.gather(*work.tasks, return_exceptions=True)


async def test_one_app_never_has_the_last_thread() -> None:
    pool = FairPool("test", threads=3, threads_of_app=2, places=PLACES)
    work = Work(pool)
    work.ask("A", 4)
    await until(lambda: len(work.begun) == 2)
    work.ask("B", 2)
    await until(lambda: len(work.begun) == 3)

    work.go_on.release(10)

    assert await asyncio.gather(*work.tasks) == ["A0", "A1", "A2", "A3", "B0", "B1"]
    assert sorted(work.begun[:2]) == ["A0", "A1"]
    assert work.begun[2] == "B0"
    await pool.stop()


async def test_who_leaves_while_it_waits_gets_no_turn_and_who_leaves_later_gives_its_own_back(pool: FairPool) -> None:
    work = Work(pool)
    work.ask("A", 3)
    await until(lambda: bool(work.begun))
    running, waiting, last = work.tasks
    waiting.cancel()
    running.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    assert work.begun == ["A0"]  # its thread is still at it, so nobody else has a turn

    work.go_on.release(2)

    assert await last == "A2"
    assert work.begun == ["A0", "A2"]


async def test_an_error_is_for_who_asked_and_costs_nobody_else_a_turn(pool: FairPool) -> None:
    with pytest.raises(ZeroDivisionError):
        await pool.run("A", lambda: 1 // 0)
    assert await pool.run("A", lambda: 1) == 1


async def test_beyond_its_places_an_app_and_beyond_all_places_anybody_is_told_the_limit(pool: FairPool) -> None:
    taken = [pool.enter("A") for _ in range(3)]
    with pytest.raises(TooSoon, match=r"limits\.downloads_per_app is 3") as of_app:
        pool.enter("A")
    taken += [pool.enter("B"), pool.enter("B")]
    with pytest.raises(LimitReached, match=r"has 5 of these under way, and limits\.downloads") as in_all:
        pool.enter("C")

    assert (of_app.value.http_status, of_app.value.retry_after_s) == (429, 7)
    assert (in_all.value.http_status, in_all.value.retry_after_s) == (503, 7)
    taken[0].leave()
    taken[0].leave()
    assert pool.under_way == 4
    pool.enter("C").leave()
    for place in taken:
        place.leave()
    assert pool.under_way == 0
