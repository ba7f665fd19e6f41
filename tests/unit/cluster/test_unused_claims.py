"""Claims of which nothing is left here are let go of; those of which what was to begin is refused, at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.memory_engine import MemoryTable
from tests.support.waiting import until
from wavstream.cluster import unused_claims
from wavstream.cluster.owners import Owners
from wavstream.cluster.unused_claims import UnusedClaims
from wavstream.errors import DependencyError


class Here:
    """What a node has of its sessions."""

    def __init__(self, owners: Owners) -> None:
        self.owners = owners
        self.used: set[str] = set()
        self.rows: set[str] = set()
        self.catalog_is_away = False
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.claims = UnusedClaims(owners, node="a", look_s=0.01)

    async def has_rows(self, session_id: str) -> bool:
        self.asked.append(session_id)
        await self.may_answer.wait()
        if self.catalog_is_away:
            raise DependencyError("the catalog does not answer")
        return session_id in self.rows

    async def clear(self, _session_id: str) -> bool:
        return True


@asynccontextmanager
async def node() -> AsyncIterator[Here]:
    owners = Owners(MemoryTable(), node="a", shards=4, claim_wait_s=0)
    await owners.start()
    here = Here(owners)
    run = here.claims.run(lambda: here.used, has_rows=here.has_rows, clear=here.clear)
    running = asyncio.create_task(run)
    yield here
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await owners.stop()


async def test_the_claim_of_a_call_that_was_refused_is_let_go_of_at_once_and_one_that_is_on_its_way_stays() -> None:
    async with node() as here:
        await here.owners.claim("refused", None)
        await here.owners.claim("on its way", None)
        here.claims.refused("refused")
        await until(lambda: not here.owners.is_own("refused"))
        assert here.owners.is_own("on its way")


async def test_a_session_that_lives_or_waits_for_the_bucket_stays_where_another_start_of_it_is_refused() -> None:
    async with node() as here:
        for each in ("lives", "has a file", "new"):
            await here.owners.claim(each, None)
        here.used, here.rows = {"lives"}, {"has a file"}
        for each in ("lives", "has a file", "new"):
            here.claims.refused(each)
        await until(lambda: not here.owners.is_own("new"))
        await until(lambda: "has a file" in here.asked)
        assert here.owners.is_own("lives")
        assert here.owners.is_own("has a file")


async def test_what_begins_while_the_catalog_is_asked_stays() -> None:
    async with node() as here:
        await here.owners.claim("call", None)
        await here.owners.claim("other", None)
        here.may_answer.clear()
        here.claims.refused("call")
        await until(lambda: here.asked)
        here.used = {"call"}
        here.may_answer.set()
        here.claims.refused("other")
        await until(lambda: not here.owners.is_own("other"))
        assert here.owners.is_own("call")


async def test_what_could_not_be_looked_up_is_let_go_of_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused_claims, "UNUSED_S", 0.0)
    async with node() as here:
        here.catalog_is_away = True
        await here.owners.claim("call", None)
        here.claims.refused("call")
        await until(lambda: here.asked)
        assert here.owners.is_own("call")
        here.catalog_is_away = False
        await until(lambda: not here.owners.is_own("call"))
