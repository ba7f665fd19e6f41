"""The engine of a cluster over a real NATS: what is answered holds, and what is not is there once at most."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from tests.support.cluster_engine import Told, a_name, connected, written
from tests.support.nats import NatsCluster, NatsServer
from tests.support.waiting import until
from wavstream.cluster.engine import EngineAway, Entry, EntryChanged, WrongSequence
from wavstream.cluster.jetstream import JetStream

pytestmark = pytest.mark.xdist_group("nats")
TAIL = "tail.a.3"


async def read(engine: JetStream, subject: str = TAIL, *, after: int = 0) -> list[bytes]:
    return [logged.payload async for logged in engine.log.read(subject, after=after)]


async def purge(engine: JetStream, stream: str) -> None:
    await engine.connection.request(f"$JS.API.STREAM.PURGE.{stream}")


async def test_a_message_behind_another_than_the_last_is_refused_and_is_not_there(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        first = await engine.log.publish(TAIL, b"one", after=0)
        second = await engine.log.publish(TAIL, b"two", after=first)
        for wrong in (0, first, second + 1):
            with pytest.raises(WrongSequence):
                await engine.log.publish(TAIL, b"of a node that was taken for dead", after=wrong)

        assert await engine.log.last(TAIL) == second
        assert await read(engine) == [b"one", b"two"]


async def test_a_fence_goes_behind_whatever_is_there_and_the_owner_is_refused_from_then_on(
    nats_server: NatsServer,
) -> None:
    name = a_name()
    async with connected(nats_server, name=name) as owner, connected(nats_server, name=name, node="b") as taker:
        last = await owner.log.publish(TAIL, b"of the owner", after=0)
        fence = await taker.log.publish(TAIL, b"a fence", after=None)

        with pytest.raises(WrongSequence):
            await owner.log.publish(TAIL, b"too late", after=last)

        assert await read(taker) == [b"of the owner", b"a fence"]
        assert await taker.log.last(TAIL) == fence


@pytest.mark.parametrize("servers", ["nats_server", "nats_cluster"])
async def test_the_same_message_written_again_is_there_once_and_is_answered_as_the_first(
    servers: str, request: pytest.FixtureRequest
) -> None:
    async with connected(request.getfixturevalue(servers)) as engine:
        first = await engine.log.publish(TAIL, b"one", after=0)
        second = await engine.log.publish(TAIL, b"two", after=first)

        assert await engine.log.publish(TAIL, b"two", after=first) == second
        with pytest.raises(WrongSequence):
            await engine.log.publish(TAIL, b"other", after=first)
        assert await read(engine) == [b"one", b"two"]


async def test_two_fences_that_read_alike_are_two(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        first = await engine.log.publish(TAIL, b"a fence", after=None)

        assert await engine.log.publish(TAIL, b"a fence", after=None) > first


async def test_a_subject_is_read_behind_a_sequence_to_its_last_message_and_others_are_not_in_it(
    nats_server: NatsServer,
) -> None:
    async with connected(nats_server) as engine:
        sequences = [0]
        for number in range(500):
            sequences.append(await engine.log.publish(TAIL, b"%d" % number * 1000, after=sequences[-1]))
            await engine.log.publish("tail.a.33", b"of another shard", after=None)

        whole, rest = await read(engine), await read(engine, after=sequences[400])

        assert whole == [b"%d" % number * 1000 for number in range(500)]
        assert rest == whole[400:]
        assert await read(engine, after=sequences[-1]) == await read(engine, "tail.b.3") == []


async def test_a_subject_that_was_idle_for_too_long_is_empty_and_goes_on_from_nothing(nats_server: NatsServer) -> None:
    async with connected(nats_server, name="idle") as engine:
        last = await engine.log.publish(TAIL, b"old", after=0)
        await purge(engine, "idle-tails")  # as max_age does, after minutes

        assert await engine.log.last(TAIL) == 0
        with pytest.raises(WrongSequence):
            await engine.log.publish(TAIL, b"new", after=last)
        await engine.log.publish(TAIL, b"new", after=0)
        assert await read(engine) == [b"new"]


async def test_a_message_as_long_as_it_says_is_taken(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        longest = b"x" * engine.log.max_payload_bytes

        await engine.log.publish(TAIL, longest, after=0)

        assert await read(engine) == [longest]


async def test_of_two_that_make_an_entry_one_does_and_who_changes_it_says_which_one_he_read(
    nats_server: NatsServer,
) -> None:
    name = a_name()
    async with connected(nats_server, name=name) as one, connected(nats_server, name=name) as other:
        tries = (one.table.put("session.x", b"one", after=0), other.table.put("session.x", b"other", after=0))
        made = await asyncio.gather(*tries, return_exceptions=True)
        (revision,) = [each for each in made if isinstance(each, int)]
        assert [type(each) for each in made if not isinstance(each, int)] == [EntryChanged]

        changed = await one.table.put("session.x", b"changed", after=revision)
        for table in (one.table, other.table):
            with pytest.raises(EntryChanged):
                await table.put("session.x", b"again", after=revision)
            with pytest.raises(EntryChanged):
                await table.delete("session.x", after=revision)
        assert await other.table.get("session.x") == Entry("session.x", b"changed", changed)


async def test_an_entry_that_is_deleted_is_none_and_can_be_made_again(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        assert await engine.table.get("session.x") == Entry("session.x", b"", 0)
        revision = await engine.table.put("session.x", b"one", after=0)
        await engine.table.delete("session.x", after=revision)
        await engine.table.delete("session.x", after=revision)  # the same again, after an answer that did not come
        assert await engine.table.get("session.x") == Entry("session.x", b"", 0)

        again = await engine.table.put("session.x", b"two", after=0)

        assert again > revision
        assert await engine.table.get("session.x") == Entry("session.x", b"two", again)


async def test_a_watch_tells_what_is_there_and_then_each_change_in_order(nats_server: NatsServer) -> None:
    name, told = a_name(), Told()
    async with connected(nats_server, name=name) as writer, connected(nats_server, name=name) as reader:
        gone = await writer.table.put("session.gone", b"-", after=0)
        await writer.table.delete("session.gone", after=gone)
        first = await writer.table.put("session.a", b"1", after=0)
        await writer.table.put("node.a", b"not asked for", after=0)

        await reader.table.watch("session.", told)
        assert told.all == [Entry("session.a", b"1", first)]

        second = await writer.table.put("session.a", b"2", after=first)
        await writer.table.delete("session.a", after=second)
        third = await writer.table.put("session.b", b"3", after=0)
        await told.becomes({"session.b": b"3"})
        assert told.all[1:] == [
            Entry("session.a", b"2", second),
            Entry("session.a", b"", 0),
            Entry("session.b", b"3", third),
        ]


async def test_a_watch_tells_nothing_that_is_older_than_what_was_answered_to_the_same_table(
    nats_server: NatsServer,
) -> None:
    told = Told()
    async with connected(nats_server) as engine:
        await engine.table.watch("session.", told)
        for number in range(20):
            revision = await engine.table.put("session.a", b"%d" % number, after=0)
            await engine.table.delete("session.a", after=revision)
        last = await engine.table.put("session.a", b"last", after=0)
        known = len(told.all)
        await told.becomes({"session.a": b"last"})

        assert all(entry == Entry("session.a", b"last", last) for entry in told.all[known:])

        await engine.table.delete("session.a", after=last)
        await told.becomes({})


async def test_a_server_that_is_started_again_has_all_and_the_watch_goes_on(nats_server: NatsServer) -> None:
    name, told = a_name(), Told()
    async with connected(nats_server, name=name) as engine:
        await engine.table.watch("session.", told)
        kept = await engine.table.put("session.kept", b"1", after=0)
        await engine.table.put("session.gone", b"1", after=0)
        last = await engine.log.publish(TAIL, b"one", after=0)
        await told.becomes({"session.kept": b"1", "session.gone": b"1"})

        nats_server.kill()
        with pytest.raises(EngineAway):
            await engine.log.publish(TAIL, b"two", after=last)
        assert engine.is_away
        nats_server.start()

        async with connected(nats_server, name=name, node="b") as other:
            # While it is not told of anything: it may not be connected yet.
            await other.table.delete("session.gone", after=(await other.table.get("session.gone")).revision)
            await other.table.put("session.new", b"1", after=0)
            await other.table.put("session.kept", b"2", after=kept)
        await told.becomes({"session.kept": b"2", "session.new": b"1"})
        await written(lambda: engine.log.publish(TAIL, b"two", after=last))
        assert await read(engine) == [b"one", b"two"]
        assert not engine.is_away


async def test_what_was_sent_to_a_server_that_stands_still_is_there_once_when_it_goes_on(
    nats_server: NatsServer,
) -> None:
    told = Told()
    async with connected(nats_server) as engine:
        await engine.table.watch("session.", told)
        last = await engine.log.publish(TAIL, b"one", after=0)
        revision = await engine.table.put("session.a", b"1", after=0)

        nats_server.freeze()
        try:
            tries = (
                engine.log.publish(TAIL, b"two", after=last),
                engine.table.put("session.a", b"2", after=revision),
                engine.table.get("session.a"),
                engine.log.last(TAIL),
                read(engine),
            )
            answers = await asyncio.gather(*tries, return_exceptions=True)
            assert [type(answer) for answer in answers] == [EngineAway] * len(tries)
            await until(lambda: not engine.connection.is_up)
        finally:
            nats_server.thaw()

        second = await written(lambda: engine.log.publish(TAIL, b"two", after=last))
        changed = await written(lambda: engine.table.put("session.a", b"2", after=revision))
        assert await read(engine) == [b"one", b"two"]
        assert (await engine.log.last(TAIL), (await engine.table.get("session.a")).revision) == (second, changed)
        await told.becomes({"session.a": b"2"})


async def test_what_nats_has_lost_is_told_as_deleted_and_made_anew(nats_server: NatsServer) -> None:
    told = Told()
    async with connected(nats_server) as engine:
        await engine.table.watch("session.", told)
        revision = 0
        for number in range(5):
            revision = await engine.table.put("session.a", b"%d" % number, after=revision)
        last = await engine.log.publish(TAIL, b"one", after=0)

        nats_server.lose_everything()
        nats_server.start()

        await told.becomes({})
        again = await written(lambda: engine.table.put("session.a", b"again", after=0))
        assert again < revision
        await told.becomes({"session.a": b"again"})
        with pytest.raises(WrongSequence):
            await written(lambda: engine.log.publish(TAIL, b"two", after=last))
        await engine.log.publish(TAIL, b"two", after=0)
        assert await read(engine) == [b"two"]


async def test_killing_the_leaders_under_writes_loses_nothing_that_was_answered_and_doubles_nothing(
    nats_cluster: NatsCluster,
) -> None:
    name, told = a_name(), Told()
    subjects = [f"tail.a.{shard}" for shard in range(4)]
    answered: dict[str, list[bytes]] = {subject: [] for subject in subjects}
    is_over = asyncio.Event()

    async def write(engine: JetStream, subject: str) -> None:
        last = number = 0
        while not is_over.is_set():
            payload = json.dumps([subject, number]).encode().ljust(20_000)
            last = await written(lambda: engine.log.publish(subject, payload, after=last))  # noqa: B023 - awaited here
            answered[subject].append(payload)
            number += 1

    async def change(engine: JetStream) -> None:
        revision = number = 0
        while not is_over.is_set():
            value = b"%d" % number
            revision = await written(lambda: engine.table.put("session.a", value, after=revision))  # noqa: B023
            number += 1
        await told.becomes({"session.a": b"%d" % (number - 1)})

    def count() -> int:
        return min(map(len, answered.values()))

    async with connected(nats_cluster, name=name) as engine, connected(nats_cluster, name=name, node="b") as other:
        await other.table.watch("session.", told)
        work = asyncio.gather(change(engine), *(write(engine, subject) for subject in subjects))
        for stream in (f"{name}-tails", f"KV_{name}"):
            before = count()
            await until(lambda: count() > before + 10 or work.done())  # noqa: B023 - awaited here
            leader = await nats_cluster.leader(stream)
            leader.kill()
            before = count()
            await until(lambda: count() > before + 10 or work.done())  # noqa: B023 - awaited here
            leader.start()
        is_over.set()
        await work

        for subject in subjects:
            assert await read(other, subject) == answered[subject]


async def test_a_leader_that_stands_still_doubles_nothing_when_it_goes_on(nats_cluster: NatsCluster) -> None:
    name = a_name()
    async with connected(nats_cluster, name=name) as engine:
        last = await engine.log.publish(TAIL, b"0", after=0)
        leader = await nats_cluster.leader(f"{name}-tails")

        async def write(payload: bytes, after: int) -> int:
            while True:
                # A leader that goes on may be asked what is last before it knows that it leads no more (``copier`` asks
                # again then, too).
                with suppress(WrongSequence):
                    return await written(lambda: engine.log.publish(TAIL, payload, after=after))

        leader.freeze()
        try:
            for number in range(1, 10):
                last = await write(b"%d" % number, last)
        finally:
            leader.thaw()
        for number in range(10, 20):
            last = await write(b"%d" % number, last)

        assert await read(engine) == [b"%d" % number for number in range(20)]


async def test_a_late_answer_to_a_ping_ends_nothing(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        client = engine.connection._client
        assert client is not None
        nats_server.freeze()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.rtt()
        finally:
            nats_server.thaw()

        assert await engine.log.last(TAIL) == 0
        assert engine.connection._client is client


async def test_a_nats_that_answers_looks_and_takes_no_writes_is_said_to_be_away_once(
    monkeypatch: pytest.MonkeyPatch, nats_server: NatsServer
) -> None:
    monkeypatch.setattr("wavstream.cluster.jetstream.SAID_AFTER_S", 0.0)
    async with connected(nats_server) as engine:
        request = engine.connection.request

        async def full(subject: str, *told: Any, **more: Any) -> Msg:
            if subject.startswith("$JS.API."):
                return await request(subject, *told, **more)
            raise EngineAway("NATS is away: it did not answer")

        monkeypatch.setattr(engine.connection, "request", full)
        with capture_logs() as logs:
            for _ in range(3):
                for _ in range(2):
                    with pytest.raises(EngineAway):
                        await engine.log.publish(TAIL, b"x", after=0)
                assert await engine.log.last(TAIL) == 0

    assert [line["event"] for line in logs] == ["cluster_engine_away", "cluster_engine_back"]
