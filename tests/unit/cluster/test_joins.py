"""Many sessions that are taken at once: read together, each let in when its journal is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.support.waiting import until
from wavstream.cluster import joins as joins_module
from wavstream.cluster.joiner import Found, Joiner, Outlined
from wavstream.cluster.joining import Joined
from wavstream.cluster.joins import Joins
from wavstream.cluster.ownership import Held, Owned
from wavstream.errors import StoreError


class Slow(Joiner):
    """Joins a session when it is told to, and notes who was read together."""

    def __init__(self) -> None:
        self.together: list[list[str]] = []
        self.may_go: dict[str, asyncio.Event] = {}
        self.fails: set[str] = set()

    async def join(
        self,
        taken: Sequence[Owned],
        *,
        store_wait_s: float = 0.0,
        on_joined: Callable[[Found], None] = lambda _: None,
    ) -> list[Found]:
        self.together.append([owned.session_id for owned in taken])

        async def one(owned: Owned) -> Found:
            await self.may_go.setdefault(owned.session_id, asyncio.Event()).wait()
            if owned.session_id in self.fails:
                raise StoreError("the bucket is away")
            found = Found(owned, Joined(()), ())
            on_joined(found)
            return found

        results: list[Any] = await asyncio.gather(*map(one, taken), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    async def outline(self, taken: Sequence[Owned], *, on_outlined: Callable[[Owned, Outlined], None]) -> None:
        for owned in taken:
            on_outlined(owned, Outlined())

    def let(self, session_id: str) -> None:
        """Let a session be joined."""
        self.may_go.setdefault(session_id, asyncio.Event()).set()


def owned(session_id: str) -> Owned:
    return Owned(session_id=session_id, app_id="default", held=(Held(node="a", epoch=1, shard=0),))


async def test_who_is_joined_goes_on_and_does_not_wait_for_the_others() -> None:
    joiner = Slow()
    joins = Joins(joiner)
    tasks = {each: asyncio.create_task(joins.join(owned(each))) for each in ("one", "two", "three")}
    await until(lambda: joiner.together)
    joiner.let("two")
    assert (await tasks["two"]).owned.session_id == "two"
    assert not tasks["one"].done()
    joiner.let("one")
    joiner.let("three")
    await asyncio.gather(*tasks.values())
    assert joiner.together == [["one", "two", "three"]]
    await joins.stop()


async def test_one_that_fails_is_tried_again_alone_and_those_that_were_joined_are_not() -> None:
    joiner = Slow()
    joiner.fails.add("one")
    joins = Joins(joiner)
    tasks = {each: asyncio.create_task(joins.join(owned(each))) for each in ("one", "two")}
    for each in tasks:
        joiner.let(each)
    await tasks["two"]
    await until(lambda: len(joiner.together) >= 2)
    joiner.fails.clear()
    await tasks["one"]
    assert joiner.together[0] == ["one", "two"]
    assert {tuple(each) for each in joiner.together[1:]} == {("one",)}
    await joins.stop()


def taken_from(node: str, session_id: str) -> Owned:
    held = Held(node=node, epoch=1, shard=0), Held(node="own", epoch=2, shard=0)
    return Owned(session_id=session_id, app_id="default", held=held)


async def test_behind_those_of_one_tail_are_joined_after_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins_module, "BEHIND_S", 0.0)
    joiner = Slow()
    joins = Joins(joiner)
    asked = [("a", "one"), ("b", "two"), ("a", "three")]
    tasks = {each: asyncio.create_task(joins.join_behind(taken_from(node, each))) for node, each in asked}
    await until(lambda: joiner.together)
    joiner.let("two")
    joiner.let("one")
    await tasks["one"]
    assert joiner.together == [["one", "three"]]
    joiner.let("three")
    await asyncio.gather(*tasks.values())
    assert joiner.together == [["one", "three"], ["two"]]
    await joins.stop()


async def test_those_of_the_next_tail_do_not_wait_for_ever_for_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins_module, "BEHIND_S", 0.0)
    monkeypatch.setattr(joins_module, "TURN_S", 0.05)
    joiner = Slow()
    joiner.fails.add("one")
    joiner.let("one")
    joiner.let("two")
    joins = Joins(joiner)
    tasks = [
        asyncio.create_task(joins.join_behind(taken_from(node, each))) for node, each in (("a", "one"), ("b", "two"))
    ]
    assert (await tasks[1]).owned.session_id == "two"
    assert not tasks[0].done()
    joiner.fails.clear()
    await tasks[0]
    await joins.stop()


async def test_what_was_said_before_is_joined_when_no_outline_is_asked_for_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(joins_module, "BEHIND_S", 0.2)
    joiner = Slow()
    joiner.let("one")
    joins = Joins(joiner)
    began_s = asyncio.get_running_loop().time()
    await joins.outline(taken_from("a", "one"))
    await joins.join_behind(taken_from("a", "one"))
    assert asyncio.get_running_loop().time() - began_s >= 0.2
    await joins.stop()


async def test_what_was_said_before_is_joined_when_none_goes_on_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins_module, "BEHIND_S", 0.3)
    joiner = Slow()
    for each in ("one", "two"):
        joiner.let(each)
    joins = Joins(joiner)
    first = asyncio.create_task(joins.join_behind(taken_from("a", "one")))
    await asyncio.sleep(0.2)
    began_s = asyncio.get_running_loop().time()
    await joins.join_behind(taken_from("b", "two"))  # it has gone on just now
    assert asyncio.get_running_loop().time() - began_s >= 0.3
    assert joiner.together == [["one"], ["two"]]
    await first
    await joins.stop()
