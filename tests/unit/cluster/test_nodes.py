"""Nodes of a cluster in one process, over real sockets: whose a session is, where a connection goes, what is asked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog.testing

from tests.support.nats import free_ports
from tests.support.waiting import until
from tests.support.workers import connection
from wavstream.cluster import preamble
from wavstream.cluster.door import Refused, call
from wavstream.cluster.hand_overs import _LOOK_S, MOST_HOPS, NodeUnavailable, SessionPlace, number_of
from wavstream.cluster.membership import NodeState
from wavstream.cluster.nodes import Nodes
from wavstream.cluster.ownership import Held, Owned
from wavstream.cluster.preamble import BadPreamble, Header, Purpose, Verdict
from wavstream.errors import LimitReached
from wavstream.workers.boundary import NOBODY, Elsewhere, RelayedPeer

KEY = preamble.key_of(b"k" * 32)


@dataclass
class World:
    """What all nodes see alike: who lives, and whose each session is."""

    addresses: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    owned: dict[str, str] = field(default_factory=dict)
    half_taken: set[str] = field(default_factory=set)
    """Sessions whose journal is not joined yet."""
    claims: list[tuple[str, str]] = field(default_factory=list)
    may_claim: asyncio.Event = field(default_factory=asyncio.Event)
    callbacks: list[tuple[str, Any, Any]] = field(default_factory=list)
    standing_still: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    """Nodes that go on just now, and have noticed nothing yet."""
    unheard: dict[str, str] = field(default_factory=dict)
    """Who has taken a session meanwhile, of which its owner has not heard."""

    def __post_init__(self) -> None:
        self.may_claim.set()

    def die(self, name: str) -> None:
        self.dead.add(name)
        for of, _, went in self.callbacks:
            if of != name:
                went(name)


class Life:
    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self._came: Any = None

    def on_alive(self, callback: Any) -> None:
        self._came = callback

    def on_standstill(self, callback: Any) -> None:
        self._stood_still = callback

    def notice_standstill(self) -> None:
        if self.name in self.world.standing_still:
            self.world.standing_still.discard(self.name)
            self._stood_still()

    def refused(self, name: str) -> None:
        self.world.refusing.add(name)

    def on_dead(self, callback: Any) -> None:
        self.world.callbacks.append((self.name, self._came, callback))

    @property
    def has_left(self) -> bool:
        return self.name in self.world.left

    @property
    def is_first(self) -> bool:
        return self.live()[:1] == (self.name,)

    def is_alive(self, name: str) -> bool:
        return name in self.world.addresses and name not in self.world.dead | self.world.left

    def live(self) -> tuple[str, ...]:
        return tuple(sorted(filter(self.is_alive, self.world.addresses)))

    def state_of(self, name: str) -> NodeState | None:
        address = self.world.addresses.get(name)
        return None if address is None else NodeState(name=name, installation="i", address=address)

    def states(self) -> tuple[NodeState, ...]:
        return tuple(filter(None, map(self.state_of, self.world.addresses)))


class Sessions:
    """The face of ``Owners``."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.in_doubt: set[str] = set()

    def doubt(self) -> None:
        self.in_doubt = {session_id for session_id, name in self.world.owned.items() if name == self.name}

    def is_in_doubt(self, session_id: str) -> bool:
        return session_id in self.in_doubt

    async def look_up(self, session_id: str) -> None:
        self.in_doubt.discard(session_id)
        self.world.owned.update(self.world.unheard)

    def owner(self, session_id: str) -> Owned | None:
        node = self.world.owned.get(session_id)
        return (
            None
            if node is None
            else Owned(
                session_id=session_id,
                app_id=None,
                held=(Held(epoch=1, node=node, shard=0, is_joined=session_id not in self.world.half_taken),),
            )
        )

    async def claim(self, session_id: str, _app_id: str | None) -> Owned:
        self.world.claims.append((self.name, session_id))
        await self.world.may_claim.wait()
        self.world.owned.setdefault(session_id, self.name)
        owned = self.owner(session_id)
        assert owned is not None
        return owned

    def of_node(self, name: str) -> Iterator[Owned]:
        return (owned for each in self.world.owned if (owned := self.owner(each)) is not None and owned.node == name)


@dataclass
class Taken:
    """What a node was given to read."""

    sock: socket.socket
    received: bytes
    is_answered: bool
    relayed: RelayedPeer | None


class Door:
    """Keeps what is handed over."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []

    def __call__(
        self, descriptor: int, received: bytes, *, is_answered: bool, relayed: RelayedPeer | None = None
    ) -> None:
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        self.taken.append(Taken(sock, received, is_answered, relayed))


@dataclass
class Some:
    """Some nodes."""

    world: World
    nodes: dict[str, Nodes]
    doors: dict[str, Door]

    def go(self, at: str, session_id: str, received: bytes = b"head", *, is_answered: bool = False) -> socket.socket:
        """Have a connection come to a node, for a session; return the peer's end."""
        peer, accepted = connection()
        peer.setblocking(False)
        with pytest.raises(Elsewhere) as raised:
            self.nodes[at].check_here(session_id)
        self.nodes[at].hand_over(raised.value.worker, accepted.fileno(), received, is_answered=is_answered)
        accepted.close()
        return peer

    async def taken(self, name: str) -> Taken:
        return (await until(lambda: self.doors[name].taken))[0]


@asynccontextmanager
async def nodes(*names: str, wait_s: float = 5.0, take_over: Any = None) -> AsyncIterator[Some]:
    world = World()
    some = Some(world, {}, {})
    for name, port in zip(names, free_ports(len(names)), strict=True):
        some.nodes[name] = node = Nodes(name)
        some.doors[name] = Door()
        await node.listen(f"127.0.0.1:{port}", key=KEY)
        world.addresses[name] = f"127.0.0.1:{port}"
        node.join(cast(Any, Life(name, world)), cast(Any, Sessions(name, world)), wait_s=wait_s)
        node.takes(some.doors[name])
        if take_over is not None:
            node.takes_over_by(take_over(name, world))
        node.open()
    for of, came, _ in world.callbacks:
        for name in names:
            if name != of:
                came(name)
    try:
        yield some
    finally:
        for node in some.nodes.values():
            await node.close()
        for door in some.doors.values():
            for each in door.taken:
                each.sock.close()


async def exchange(one: socket.socket, other: socket.socket) -> None:
    """Say something both ways, and hear it."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        for sender, reader, words in ((one, other, b"there"), (other, one, b"back")):
            await loop.sock_sendall(sender, words)
            assert await loop.sock_recv(reader, 100) == words


async def test_a_session_that_nobody_has_is_claimed_while_its_connection_waits_and_comes_back() -> None:
    async with nodes("a", "b") as some:
        some.world.may_claim.clear()
        peer = some.go("a", "call", b"GET /", is_answered=True)
        await until(lambda: some.world.claims)
        assert some.doors["a"].taken == []
        some.world.may_claim.set()
        taken = await some.taken("a")
        assert (taken.received, taken.is_answered, taken.relayed) == (b"GET /", True, None)
        some.nodes["a"].check_here("call")
        await exchange(peer, taken.sock)
        peer.close()


async def test_of_two_nodes_that_claim_at_once_one_wins_and_has_both_connections() -> None:
    async with nodes("a", "b") as some:
        some.world.may_claim.clear()
        peers = [some.go(name, "call", name.encode()) for name in "ab"]
        await until(lambda: len(some.world.claims) == 2)
        some.world.may_claim.set()
        await until(lambda: "call" in some.world.owned)
        winner = some.world.owned["call"]
        door = some.doors[winner]
        await until(lambda: len(door.taken) == 2)
        assert {each.received for each in door.taken} == {b"a", b"b"}
        for each in door.taken:
            await exchange(peers["ab".index(each.received.decode())], each.sock)
        for peer in peers:
            peer.close()


async def test_a_connection_for_another_node_goes_there_with_what_was_read_and_who_its_peer_is() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "b"
        received = os.urandom(1_500_000)
        peer = some.go("a", "call", received, is_answered=True)
        taken = await some.taken("b")
        assert taken.received == received
        assert (taken.is_answered, taken.relayed) == (True, RelayedPeer("127.0.0.1", 1))
        await exchange(peer, taken.sock)
        assert some.nodes["a"].hand_overs.relayed == 1
        assert len(some.nodes["a"].hand_overs.opened) == 1
        peer.close()
        assert await asyncio.get_running_loop().sock_recv(taken.sock, 1) == b""
        taken.sock.close()
        await until(lambda: not some.nodes["a"].hand_overs.opened)


@pytest.mark.parametrize("asks", ["check_here", "check_not_elsewhere"])
@pytest.mark.parametrize("owner", ["a", "b"])
async def test_a_node_that_has_stood_still_answers_nothing_of_a_session_before_it_has_looked_up_whose_it_is(
    asks: str, owner: str
) -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "a"
        getattr(some.nodes["a"], asks)("call")
        some.world.unheard["call"] = owner
        some.world.standing_still.add("a")
        with pytest.raises(Elsewhere):
            getattr(some.nodes["a"], asks)("call")
        peer = some.go("a", "call")
        taken = await some.taken(owner)
        getattr(some.nodes[owner], asks)("call")
        await exchange(peer, taken.sock)
        peer.close()


async def test_where_the_owner_dies_its_relays_end_so_that_peers_connect_again() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "b"
        peer = some.go("a", "call")
        taken = await some.taken("b")
        await exchange(peer, taken.sock)
        some.world.die("b")
        with suppress(ConnectionResetError):
            assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
        await until(lambda: not some.nodes["a"].hand_overs.opened)
        peer.close()


async def test_a_dead_owners_session_is_taken_over_and_its_connection_read_here() -> None:
    def take_over(name: str, world: World) -> Any:
        async def take(owned: Owned) -> None:
            assert owned.node == "b"
            world.owned[owned.session_id] = name

        return take

    async with nodes("a", "b", take_over=take_over) as some:
        some.world.owned["call"] = "b"
        some.world.die("b")
        peer = some.go("a", "call")
        taken = await some.taken("a")
        assert taken.received == b"head"
        peer.close()


async def test_a_session_whose_journal_is_not_joined_yet_is_taken_again_before_anything_comes_to_it() -> None:
    def take_over(name: str, world: World) -> Any:
        async def take(owned: Owned) -> None:
            assert owned.node == name
            world.half_taken.discard(owned.session_id)

        return take

    async with nodes("a", "b", take_over=take_over) as some:
        some.world.owned["call"] = "a"
        some.world.half_taken.add("call")
        peer = some.go("a", "call")
        taken = await some.taken("a")
        assert taken.received == b"head"
        assert not some.world.half_taken
        peer.close()


async def test_an_owner_that_takes_nothing_is_tried_for_a_while_and_then_the_connection_is_refused_here() -> None:
    async with nodes("a", "b", wait_s=0.3) as some:
        some.world.owned["call"] = "b"
        await some.nodes["b"].close()
        with structlog.testing.capture_logs() as logs:
            peer = some.go("a", "call")
            taken = await some.taken("a")
        assert taken.relayed is None
        with pytest.raises(NodeUnavailable) as raised:
            some.nodes["a"].check_here("call")
        assert isinstance(raised.value, LimitReached)
        assert raised.value.retry_after_s is not None
        assert {each["event"] for each in logs} >= {"node_not_reached", "node_unavailable"}
        assert some.world.refusing == {"b"}
        peer.close()


async def test_an_owner_that_is_back_in_time_gets_the_connection() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "b"
        some.nodes["b"]._is_open = False
        peer = some.go("a", "call")
        await until(lambda: some.nodes["a"].hand_overs.opened)
        some.nodes["b"].open()
        taken = await some.taken("b")
        await exchange(peer, taken.sock)
        peer.close()


async def test_where_nobody_listens_one_connection_calls_for_all_that_wait_and_all_come_when_somebody_does() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "b"
        await some.nodes["b"].close()
        peers = [some.go("a", "call")]
        with structlog.testing.capture_logs() as logs:
            await until(lambda: logs)
            peers += [some.go("a", "call") for _ in range(30)]
            begun_s = asyncio.get_running_loop().time()
            await until(lambda: len(logs) > 2)
            looks = (asyncio.get_running_loop().time() - begun_s) / _LOOK_S
        assert {each["event"] for each in logs} == {"node_not_reached"}
        assert len(logs) <= 2 + looks
        again = some.nodes["b"] = Nodes("b")
        await again.listen(some.world.addresses["b"], key=KEY)
        again.join(cast(Any, Life("b", some.world)), cast(Any, Sessions("b", some.world)), wait_s=5.0)
        again.takes(some.doors["b"])
        # It listens, and takes nothing yet.
        await until(lambda: "b" not in some.nodes["a"].hand_overs._not_called_until)
        again.open()
        await until(lambda: len(some.doors["b"].taken) == len(peers))
        for peer in peers:
            peer.close()


async def test_nodes_whose_tables_differ_do_not_send_a_connection_to_and_fro_for_ever() -> None:
    async with nodes("a", "b", wait_s=1.0) as some:
        some.world.owned["call"] = "b"
        peer, accepted = connection()
        place = SessionPlace(number_of("b"), "call")
        far = RelayedPeer("192.0.2.1", MOST_HOPS)
        some.nodes["a"].hand_over(place, accepted.fileno(), b"head", is_answered=False, relayed=far)
        accepted.close()
        taken = await some.taken("a")
        assert taken.relayed == far
        with pytest.raises(NodeUnavailable):
            some.nodes["a"].check_here("call")
        peer.close()


async def test_a_node_that_takes_nothing_new_has_another_claim() -> None:
    async with nodes("a", "b") as some:
        some.nodes["a"].places_new_by(lambda _session_id: "b")
        peer = some.go("a", "call")
        taken = await some.taken("b")
        assert some.world.claims == []
        assert taken.relayed is not None
        # There it raises Elsewhere again, and is claimed, whoever that node would send newcomers to.
        some.nodes["b"].places_new_by(lambda _session_id: "a")
        with pytest.raises(Elsewhere) as raised:
            some.nodes["b"].check_here("call")
        some.nodes["b"].hand_over(
            raised.value.worker, taken.sock.fileno(), taken.received, is_answered=False, relayed=taken.relayed
        )
        await until(lambda: len(some.doors["b"].taken) == 2)
        assert some.world.owned == {"call": "b"}
        peer.close()


async def test_a_node_that_has_left_sends_what_it_had_to_one_that_lives() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "a"
        some.world.left.add("a")
        peer = some.go("a", "call")
        taken = await some.taken("b")
        assert taken.received == b"head"
        peer.close()


async def test_a_node_without_the_key_of_the_others_is_refused_and_is_told_nothing() -> None:
    async with nodes("a") as some:
        header = Header(sender="x", to="a", purpose=Purpose.QUESTIONS)
        with pytest.raises(BadPreamble, match="another master key"):
            await call(some.world.addresses["a"], preamble.key_of(b"x" * 32), header)
        with structlog.testing.capture_logs() as logs:
            sock = socket.create_connection(("127.0.0.1", int(some.world.addresses["a"].rpartition(":")[2])))
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, preamble.call(os.urandom(16)))
            assert len(await loop.sock_recv(sock, 1_000)) == preamble.ANSWER_BYTES
            words = preamble.pack_header(b"x" * 32, header, called=os.urandom(16), caller=os.urandom(16))
            await loop.sock_sendall(sock, words)
            assert await loop.sock_recv(sock, 1) == b""
            sock.close()
        (refused,) = [each for each in logs if each["event"] == "node_call_refused"]
        assert refused["reason"] == "it has another master key"


async def test_a_connection_of_a_session_that_another_has_is_not_taken() -> None:
    async with nodes("a", "b") as some:
        some.world.owned["call"] = "b"
        header = Header(sender="b", to="a", purpose=Purpose.RELAY, session_id="call")
        with pytest.raises(Refused) as raised:
            await call(some.world.addresses["a"], KEY, header)
        assert raised.value.verdict is Verdict.NOT_MINE


@asynccontextmanager
async def verdict_lost_on(address: str) -> AsyncIterator[str]:
    """Yield an address that leads to this one, on a line of which the first connection breaks before the verdict."""
    host, _, port = address.rpartition(":")
    calls: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        is_first = len(calls) == 1
        of_node, to_node = await asyncio.open_connection(host, int(port))
        there = asyncio.create_task(copy(reader, to_node))
        try:
            if is_first:
                writer.write(await of_node.readexactly(preamble.ANSWER_BYTES))
                await of_node.readexactly(1)
            else:
                await copy(of_node, writer)
        finally:
            there.cancel()
            to_node.close()
            writer.close()

    server = await asyncio.start_server(called, "127.0.0.1", 0)
    try:
        name = server.sockets[0].getsockname()
        yield f"{name[0]}:{name[1]}"
    finally:
        server.close()


async def test_a_request_whose_verdict_is_lost_on_the_way_is_read_once() -> None:
    async with nodes("a", "b") as some, verdict_lost_on(some.world.addresses["b"]) as line:
        some.world.owned["call"] = "b"
        some.world.addresses["b"] = line
        peer = some.go("a", "call", b"POST /record/start")
        await exchange(peer, (await until(lambda: some.doors["b"].taken))[-1].sock)
        assert [each.received for each in some.doors["b"].taken] == [b"POST /record/start"]
        peer.close()


async def test_questions_are_answered_by_number_and_who_does_not_answer_is_left_out() -> None:
    async with nodes("a", "b", "c") as some:

        async def echo(body: bytes) -> bytes:
            return body[::-1]

        async def fails(_body: bytes) -> bytes:
            raise RuntimeError("no")

        for name in "bc":
            some.nodes[name].answers("echo", echo)
        some.nodes["b"].answers("fails", fails)
        a = some.nodes["a"]
        large = os.urandom(3_000_000)
        assert await a.ask(number_of("b"), "echo", large) == large[::-1]
        assert dict(await a.ask_all("echo", b"ab")) == {number_of("b"): b"ba", number_of("c"): b"ba"}
        with pytest.raises(NodeUnavailable):
            await a.ask(number_of("b"), "fails")
        await some.nodes["c"].close()
        assert dict(await a.ask_all("echo", b"ab", wait_s=0.2)) == {number_of("b"): b"ba"}
        assert [a.name_of(each) for each in a.others] == ["b", "c"]
        some.world.die("c")
        assert [a.name_of(each) for each in a.others] == ["b"]


async def test_a_node_that_counts_as_dead_is_asked_at_its_door_and_answers_if_it_is_there() -> None:
    async with nodes("a", "b") as some:

        async def has(_body: bytes) -> bytes:
            return b"call-1"

        some.nodes["b"].answers("has", has)
        some.world.die("b")
        a = some.nodes["a"]
        with pytest.raises(NodeUnavailable):
            await a.ask(number_of("b"), "has")
        assert await a.ask_dead("b", "has", wait_s=5.0) == b"call-1"
        await some.nodes["b"].close()
        with pytest.raises(NodeUnavailable):
            await a.ask_dead("b", "has", wait_s=0.2)


async def test_what_is_told_is_heard_by_all_in_its_order() -> None:
    async with nodes("a", "b", "c") as some:
        heard: dict[str, list[bytes]] = {"b": [], "c": []}

        def hears(name: str) -> Any:
            async def hear(body: bytes) -> bytes:
                heard[name].append(body)
                return b""

            return hear

        for name in "bc":
            some.nodes[name].answers("news", hears(name))
        told = [b"%d" % number for number in range(200)]
        for each in told:
            some.nodes["a"].tell_all("news", each)
        await until(lambda: heard == {"b": told, "c": told})


async def test_what_only_looks_finds_nothing_of_nobodys_and_goes_where_somebody_has_it() -> None:
    async with nodes("a", "b") as some:
        a = some.nodes["a"]
        a.check_not_elsewhere("call")
        assert a.owner("call") == NOBODY
        some.world.owned |= {"call": "b", "own": "a"}
        for check in (a.check_not_elsewhere, a.check_disk):
            check("own")
            with pytest.raises(Elsewhere) as raised:
                check("call")
            assert raised.value.worker == number_of("b") == a.owner("call")
        assert a.owner("own") == a.index


async def test_an_id_says_which_node_has_made_it() -> None:
    async with nodes("a", "b") as some:
        a, b = some.nodes["a"], some.nodes["b"]
        made = b.make_here(lambda: "3fa85f64-5717-4562-b3fc-2c963f66afa6")
        assert len(made) == 36
        b.check_made_here(made)
        with pytest.raises(Elsewhere) as raised:
            a.check_made_here(made)
        peer, accepted = connection()
        a.hand_over(raised.value.worker, accepted.fileno(), b"GET /run", is_answered=False)
        accepted.close()
        assert (await some.taken("b")).received == b"GET /run"
        a.check_made_here("not one of ours")
        peer.close()


async def test_what_is_refused_of_a_session_is_told_to_whoever_lets_go_of_claims() -> None:
    async with nodes("a") as some:
        told: list[str] = []
        some.nodes["a"].refused("nobody is told yet")
        some.nodes["a"].on_refused(told.append)
        some.nodes["a"].refused("call")
        assert told == ["call"]
