"""Whose a session is, over a real NATS: one node has it, all know which, and who loses it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from tests.support.cluster_engine import a_name, owning, written
from tests.support.nats import NatsCluster, NatsServer
from tests.support.waiting import until
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, Start

pytestmark = pytest.mark.xdist_group("nats")
SESSION = "call 77/ä"


def all_of(owners: Owners) -> dict[str, Owned]:
    return {owned.session_id: owned for node in "abc" for owned in owners.of_node(node)}


async def test_of_nodes_that_claim_a_session_at_once_one_has_it_and_all_know_which(nats_server: NatsServer) -> None:
    name = a_name()
    async with owning(nats_server, "a", name=name) as one, owning(nats_server, "b", name=name) as other:
        sessions = [f"call-{number}" for number in range(50)]
        claims = await asyncio.gather(*(each.claim(session, "shop") for session in sessions for each in (one, other)))

        for number, session in enumerate(sessions):
            first, second = claims[2 * number : 2 * number + 2]
            assert first == second == one.owner(session) == other.owner(session)
            assert (first.session_id, first.app_id, first.epoch) == (session, "shop", 1)
            assert one.is_own(session) is (first.node == "a")
        assert all_of(one) == all_of(other) == {owned.session_id: owned for owned in claims}
        async with owning(nats_server, "c", name=name) as third:
            assert third.counts() == one.counts()
            assert all_of(third) == all_of(one)


async def test_a_session_is_taken_by_one_who_raises_its_epoch_and_who_had_it_is_told(nats_server: NatsServer) -> None:
    name, lost = a_name(), list[Owned]()
    async with (
        owning(nats_server, "a", name=name) as first,
        owning(nats_server, "b", name=name) as second,
        owning(nats_server, "c", name=name) as third,
    ):
        first.on_lost(lost.append)
        had = await first.claim(SESSION, "shop")
        await until(lambda: second.owner(SESSION) == third.owner(SESSION) == had)

        tries = await asyncio.gather(second.take(had), third.take(had), return_exceptions=True)
        (taken,) = [each for each in tries if isinstance(each, Owned)]
        assert [type(each) for each in tries if not isinstance(each, Owned)] == [EntryChanged]
        assert (taken.epoch, taken.session_id, taken.app_id) == (2, SESSION, "shop")
        await until(lambda: lost == [taken])
        assert not first.is_own(SESSION)
        for beaten in (first, second, third):
            with pytest.raises(EntryChanged):
                await beaten.take(had)

        taker = second if taken.node == "b" else third
        joined = await taker.note_joined(SESSION, {"k": Start(3, 70)}, {1: (5, 9)})
        stored = await taker.note_stored(SESSION)
        await until(lambda: first.owner(SESSION) == stored)
        assert joined.holder.starts == {"k": Start(3, 70)}
        with pytest.raises(EntryChanged):
            await first.note_stored(SESSION)


async def test_a_session_that_is_over_is_nobodys_and_can_be_claimed_by_another(nats_server: NatsServer) -> None:
    name = a_name()
    async with owning(nats_server, "a", name=name) as one, owning(nats_server, "b", name=name) as other:
        await one.claim(SESSION, None)
        await until(lambda: other.owner(SESSION) is not None)
        await other.release(SESSION)  # it is not its own
        assert other.owner(SESSION) is not None

        await one.release(SESSION)
        await one.release(SESSION)
        await until(lambda: other.owner(SESSION) is None)

        assert (await other.claim(SESSION, None)).node == "b"
        await until(lambda: (owned := one.owner(SESSION)) is not None and owned.node == "b")


async def test_while_nats_is_away_a_new_session_is_ours_and_what_we_have_stays_ours(nats_server: NatsServer) -> None:
    name, lost = a_name(), list[Owned]()
    async with (
        owning(nats_server, "a", name=name, claim_wait_s=0.1) as one,
        owning(nats_server, "b", name=name, claim_wait_s=0.1) as other,
    ):
        for owners in (one, other):
            owners.on_lost(lost.append)
        known = await one.claim("known", None)
        nats_server.kill()
        assert await one.claim("known", None) == known
        mine, beaten = await asyncio.gather(one.claim("mine", None), one.claim("both", None))
        theirs = await other.claim("both", None)
        assert (mine.node, beaten.node, theirs.node) == ("a", "a", "b")
        assert one.is_own("mine")
        assert (one.unwritten, {each.session_id for each in one.of_node("a")}) == (2, {"known", "mine", "both"})
        nats_server.start()

        await until(lambda: other.owner("mine") == mine)
        await until(lambda: (first := one.owner("both")) is not None and first == other.owner("both"))
        await until(lambda: one.unwritten == other.unwritten == 0)
        winner = one.owner("both")
        await until(lambda: lost == [winner])  # told to the one who has it not
        assert one.is_own("both") is not other.is_own("both")


async def test_a_session_that_ends_while_nats_is_away_goes_from_the_table_when_it_is_back(
    nats_server: NatsServer,
) -> None:
    name = a_name()
    async with (
        owning(nats_server, "a", name=name, claim_wait_s=0) as one,
        owning(nats_server, "b", name=name) as other,
    ):
        await one.claim("known", None)
        await until(lambda: other.owner("known") is not None)
        nats_server.kill()
        await one.claim("short", None)
        with pytest.raises(EngineAway):
            await one.release("known")
        await one.release("short")
        nats_server.start()

        async def is_released() -> bool:
            with suppress(EngineAway):
                await one.release("known")
            return one.owner("known") is None

        await until(is_released)

        await until(lambda: other.owner("known") is None)
        assert (await written(lambda: other.claim("short", None))).node == "b"


async def test_entries_that_nats_has_lost_are_made_again_by_who_has_the_sessions(nats_server: NatsServer) -> None:
    name = a_name()
    async with owning(nats_server, "a", name=name) as one, owning(nats_server, "b", name=name) as other:
        had = [await one.claim(f"call-{number}", None) for number in range(5)]
        taken = await one.take(had[0])
        theirs = await other.claim("theirs", None)
        await until(lambda: other.owner("call-4") is not None and other.owner("call-0") == taken)
        with capture_logs() as logs:
            nats_server.lose_everything()
            nats_server.start()
            await until(lambda: sum(entry["event"] == "session_entry_gone" for entry in logs) == 6)
            await until(lambda: one.unwritten == other.unwritten == 0)

        expected = {owned.session_id: owned for owned in (*had[1:], taken, theirs)}
        await until(lambda: all_of(one) == all_of(other) == expected)
        assert not any(entry["event"] == "session_lost" for entry in logs)


async def test_claims_and_take_overs_go_on_over_the_death_of_a_server(nats_cluster: NatsCluster) -> None:
    name = a_name()
    async with (
        owning(nats_cluster, "a", name=name, claim_wait_s=60) as one,
        owning(nats_cluster, "b", name=name, claim_wait_s=60) as other,
    ):
        await one.claim("before", None)
        leader = await nats_cluster.leader(f"KV_{name}")
        leader.kill()
        try:
            claimed = await asyncio.gather(*(each.claim(f"call-{n}", None) for n in range(10) for each in (one, other)))
            await until(lambda: other.owner("before") is not None)
            before = other.owner("before")
            assert before is not None
            taken = await written(lambda: other.take(before))
        finally:
            leader.start()

        assert taken.node == "b"
        assert claimed[::2] == claimed[1::2]
        await until(lambda: one.owner("before") == taken)
        assert one.unwritten == other.unwritten == 0
