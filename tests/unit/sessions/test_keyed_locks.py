"""What concerns one key happens in turn, and nothing is kept of a key that nobody waits for."""

from __future__ import annotations

import asyncio

from tests.support.waiting import until
from wavstream.sessions.keyed_locks import KeyedLocks


async def test_work_on_one_key_is_done_in_turn_and_on_others_beside_it() -> None:
    locks = KeyedLocks()
    began: list[str] = []
    gates = {name: asyncio.Event() for name in ("first", "second", "other")}

    async def work(name: str, *key: str) -> None:
        async with locks.of(*key):
            began.append(name)
            await gates[name].wait()

    tasks = [
        asyncio.create_task(work(*each)) for each in (("first", "a", "1"), ("second", "a", "1"), ("other", "a", "2"))
    ]
    await until(lambda: len(began) == 2)
    before = list(began)
    gates["first"].set()
    await tasks[0]
    await until(lambda: len(began) == 3)
    gates["second"].set()
    gates["other"].set()
    await asyncio.gather(*tasks)

    assert before == ["first", "other"]
    assert began == ["first", "other", "second"]
    assert len(locks) == 0
