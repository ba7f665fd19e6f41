"""The database's own rules; what needs a second connection or a broken file is in ``tests/integration``."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from wavstream.catalog.database import retry_forever
from wavstream.errors import DependencyError

DATABASES = BOTH


async def test_what_fails_for_a_while_is_tried_until_it_works_and_told_once(database: FaultyDatabase) -> None:
    told: list[str] = []
    failures = [DependencyError("first"), DependencyError("second")]

    async def work() -> int:
        if failures:
            raise failures.pop(0)
        return await database.read(lambda connection: 7)

    assert await retry_forever(work, on_first_failure=lambda error: told.append(str(error)), delay_s=0) == 7
    assert told == ["first"]


async def test_another_failure_than_the_one_that_is_waited_out_is_raised() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await retry_forever(work, on_first_failure=print, delay_s=0)


async def test_reads_do_not_wait_for_each_other(database: FaultyDatabase) -> None:
    loop, first, second = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def say_and_wait(mine: asyncio.Event, other: asyncio.Event) -> bool:
        loop.call_soon_threadsafe(mine.set)
        return asyncio.run_coroutine_threadsafe(other.wait(), loop).result(timeout=60)

    both = await asyncio.gather(
        database.read(lambda connection: say_and_wait(first, second)),
        database.read(lambda connection: say_and_wait(second, first)),
    )
    assert all(both)
