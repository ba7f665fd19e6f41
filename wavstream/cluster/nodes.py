"""``Nodes``: the boundary of a server that is one node of a cluster.

1. A session is whole in one node, which its entry names (``ownership``). All nodes watch all entries, so whose a
   session is, is looked up and not asked.
2. Of a session that nobody has, whoever only looks finds nothing. Who begins something raises Elsewhere: the connection
   is handed over, and waits here while the session is claimed. Then it goes to whoever won, which may be this node: it
   is read again here, as if another had handed it over. A node that takes nothing new has another one claim it.
3. What goes to another node is relayed (``relay``), with what was read of it first and who its peer is. There it is
   taken as a connection that another worker hands over.
4. Where the owner is dead, or has left, its session is taken over first, and then the connection is read here. Where
   the owner is alive and does not take it, it is tried again until ``wait_s`` is over. Then the connection is read
   here, and ``check_here`` refuses it: in the shape of its API or its protocol, which only whoever reads it knows.
5. Over more than ``MOST_HOPS`` nodes nothing goes: two whose tables differ for a moment would send it to and fro.
6. A node's number is made of its name, so that it is the same everywhere and after every start.
7. A relay to a node that is dead ends at once: its peers connect again, and their sessions are taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableSet, Sequence
from typing import Any

import structlog

from wavstream.cluster.door import Door, Refused, call
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.link import Answering, Link, Unanswered
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, heir
from wavstream.cluster.preamble import BadPreamble, Header, Purpose, Verdict
from wavstream.cluster.relay import Relay
from wavstream.workers.boundary import (
    NOBODY,
    Answer,
    Elsewhere,
    RelayedPeer,
    TakeConnection,
    WorkerUnavailable,
)
from wavstream.workers.shared_counts import SharedCounts

WAIT_S = 5.0
"""For an answer, where whoever asks does not say."""
MOST_HOPS = 3
MOST_ON_THEIR_WAY = 4_096
"""Connections that wait for a claim or another node; each has a descriptor."""
REFUSED_S = 1.0
"""How long a session is refused whose owner took nothing (rule 4)."""
_LOOK_S = 0.1
_NUMBER_BYTES = 6

TakeOver = Callable[[Owned], Awaitable[None]]
"""Takes a session from a node that is dead, and returns when its streams may come; raises EntryChanged, EngineAway."""
PlaceFor = Callable[[str], str | None]
"""Says which other node a new session should go to, where this one takes none; None: it stays."""

log = structlog.get_logger(__name__)


class NodeUnavailable(WorkerUnavailable):
    """The node that has the session does not take the connection."""

    def __init__(self) -> None:
        super().__init__(NOBODY)
        self.args = ("the node that has the session does not answer: try again",)


class SessionPlace(int):
    """The number of a node, with the session for which it was looked up."""

    session_id: str

    def __new__(cls, number: int, session_id: str) -> SessionPlace:
        """Return the number as one that knows its session."""
        made = super().__new__(cls, number)
        made.session_id = session_id
        return made


def number_of(name: str) -> int:
    """Return the number of a node (rule 6)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=_NUMBER_BYTES).digest())


class Nodes:
    """One node's boundary. Lives on the event loop."""

    is_alone = False
    shared: SharedCounts | None = None

    def __init__(self, name: str, *, wait_s: float = WAIT_S) -> None:
        """Prepare the boundary of the node of this name; it has nobody to talk to before it has joined."""
        self.name = name
        self.index = number_of(name)
        self.opened: MutableSet[Any] = set()
        """Where relays are counted as connections that are open."""
        self.relayed = 0
        """Connections that were relayed to other nodes, since the start."""
        self.refused = 0
        """Connections that nobody took in time."""
        self._wait_s = wait_s
        self._life: NodeLife
        self._owners: Owners
        self._key = b""
        self._door: Door | None = None
        self._take_over: TakeOver | None = None
        self._place_for: PlaceFor = _nowhere
        self._links: dict[str, Link] = {}
        self._names: dict[int, str] = {self.index: name}
        self._relays: set[Relay] = set()
        self._answers: dict[str, Answer] = {}
        self._take_connection: TakeConnection | None = None
        self._is_open = False
        self._refused_until: dict[str, float] = {}
        """Sessions that are refused, and until when (rule 4)."""
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- its course --------------------------------------------------------------------------------------------

    async def listen(self, at: str, *, key: bytes) -> None:
        """Let other nodes call at ``host:port``; raise OperatorError. ``key``: ``preamble.key_of``."""
        self._key = key
        self._door = Door(self.name, key=key, listen=at, take=self._called)
        await self._door.open()

    def join(self, life: NodeLife, owners: Owners, *, wait_s: float) -> None:
        """Be one of these nodes; call it before they start. ``wait_s``: how long a connection waits for its place."""
        self._life, self._owners, self._wait_s = life, owners, wait_s
        life.on_alive(self._came)
        life.on_dead(self._went)

    def takes_over_by(self, take_over: TakeOver) -> None:
        """Take sessions of dead nodes over by this function."""
        self._take_over = take_over

    def places_new_by(self, place_for: PlaceFor) -> None:
        """Ask this function where a new session is to go."""
        self._place_for = place_for

    def open(self) -> None:
        """Take what others ask, tell and relay, from now on."""
        self._is_open = True

    async def close(self) -> None:
        """Take nothing any more, and let go of all that is relayed."""
        self._is_open = False
        if self._door is not None:
            await self._door.close()
        for relay in [*self._relays]:
            relay.abort()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(link.close() for link in self._links.values()), return_exceptions=True)
        self._links.clear()

    @property
    def relays(self) -> int:
        """How many connections are relayed to others now."""
        return len(self._relays)

    @property
    def strangers(self) -> int:
        """How many callers did not know the key, since the start."""
        return 0 if self._door is None else self._door.refused

    # ---- whose a session is ------------------------------------------------------------------------------------

    @property
    def others(self) -> Sequence[int]:
        """The numbers of the nodes that live, and of those that are dead and have sessions still."""
        known = {state.name for state in self._life.states()} | set(self._life.live())
        known.discard(self.name)
        return [self._number(name) for name in sorted(known) if self._life.is_alive(name) or self._has_some(name)]

    @property
    def does_what_is_done_once(self) -> bool:
        """Whether this is the live node with the lowest name."""
        return self._life.is_first

    def name_of(self, worker: int) -> int | str:
        """Return the node's name."""
        return self._names.get(worker, "unknown")

    def owner(self, session_id: str) -> int:
        """Return the number of the node that has the session, or ``NOBODY``."""
        owned = self._owners.owner(session_id)
        return NOBODY if owned is None else self._number(owned.node)

    def check_here(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this node's, NodeUnavailable where it is refused (rules 2 and 4)."""
        owned = self._owners.owner(session_id)
        if owned is not None and owned.node == self.name and not self._life.has_left:
            return
        if (until_s := self._refused_until.get(session_id)) is not None:
            if asyncio.get_running_loop().time() < until_s:
                raise NodeUnavailable
            del self._refused_until[session_id]
        nobodys = owned is None or owned.node == self.name
        raise Elsewhere(SessionPlace(NOBODY if nobodys or owned is None else self._number(owned.node), session_id))

    def check_not_elsewhere(self, session_id: str) -> None:
        """Raise Elsewhere if another node has the session."""
        owned = self._owners.owner(session_id)
        if owned is not None and owned.node != self.name:
            self.check_here(session_id)

    def check_disk(self, session_id: str) -> None:
        """Raise Elsewhere if another node has the session, and with it the files that are not in the bucket yet."""
        self.check_not_elsewhere(session_id)

    def make_here(self, make: Callable[[], str]) -> str:
        """Return an id that ends with this node's number: of an UUID that is the part for the node that made it."""
        return make()[: -2 * _NUMBER_BYTES] + f"{self.index:0{2 * _NUMBER_BYTES}x}"

    def check_made_here(self, made: str) -> None:
        """Raise Elsewhere if the id ends with the number of another node that lives."""
        with contextlib.suppress(ValueError):
            number = int(made[-2 * _NUMBER_BYTES :], 16)
            if number in self.others:
                raise Elsewhere(SessionPlace(number, made))

    # ---- connections -------------------------------------------------------------------------------------------

    def hand_over(
        self,
        worker: int,
        descriptor: int,
        received: bytes,
        *,
        is_answered: bool,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """Take a connection that goes to its session's node as soon as that is known; raise NodeUnavailable."""
        assert isinstance(worker, SessionPlace)
        if len(self._tasks) >= MOST_ON_THEIR_WAY or not self._is_open:
            raise NodeUnavailable
        try:
            sock = socket.socket(fileno=os.dup(descriptor))
        except OSError as error:
            raise NodeUnavailable from error
        sock.setblocking(False)
        on_its_way = _OnItsWay(sock, received, is_answered, relayed or RelayedPeer(_address(sock), 0))
        task = asyncio.get_running_loop().create_task(self._deliver(worker, on_its_way), name="hand-over")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def takes(self, take: TakeConnection) -> None:
        """Hand connections to this function that other nodes relay, and those whose session was claimed."""
        self._take_connection = take

    async def _deliver(self, place: SessionPlace, going: _OnItsWay) -> None:
        self.opened.add(going)
        try:
            if await self._find_place(place, going):
                return
            log.warning("node_unavailable", session_id=place.session_id, node=self._node_of(place.session_id))
            self.refused += 1
            self._refuse(place.session_id)
            self._take_here(going)
        except Exception:
            log.exception("hand_over_failed", session_id=place.session_id)
        finally:
            self.opened.discard(going)
            going.close()

    async def _find_place(self, place: SessionPlace, going: _OnItsWay) -> bool:
        """Give it to whoever has the session, once somebody has; return False if nobody takes it in time."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + self._wait_s
        while going.peer.hops < MOST_HOPS:  # rule 5
            name = self._maker(place)
            if name is None:
                with contextlib.suppress(EngineAway, EntryChanged):
                    name = await self._settle(place.session_id, going)
            if going.is_over:
                return True
            if name == self.name:
                self._take_here(going)
                return True
            if (name is not None and await self._relay(place.session_id, name, going)) or going.is_over:
                return True
            if loop.time() >= give_up_s:
                return False
            await asyncio.sleep(_LOOK_S)
        return False

    def _maker(self, place: SessionPlace) -> str | None:
        """Return the node that has made an id by ``make_here``; None: it is a session's."""
        if place == NOBODY or self._owners.owner(place.session_id) is not None:
            return None
        name = self._names.get(int(place))
        return name if name is not None and place.session_id.endswith(f"{number_of(name):012x}") else None

    async def _settle(self, session_id: str, going: _OnItsWay) -> str:
        """Return which node is to have the connection, now that one has the session (rules 2 and 4).

        Raise EngineAway, EntryChanged.
        """
        owned: Owned | None = self._owners.owner(session_id)
        if self._life.has_left and (owned is None or not self._life.is_alive(owned.node)):
            others = [name for name in self._life.live() if name != self.name]
            return heir(session_id, others) if others else self.name
        if owned is None:
            if going.peer.hops == 0 and (elsewhere := self._place_for(session_id)) is not None:
                return elsewhere
            owned = await self._owners.claim(session_id, None)
        if owned.node != self.name and not self._life.is_alive(owned.node) and self._take_over is not None:
            await self._take_over(owned)
            owned = self._owners.owner(session_id) or owned
        return owned.node

    def _take_here(self, going: _OnItsWay) -> None:
        assert self._take_connection is not None
        relayed = going.peer if going.peer.hops else None
        self.opened.discard(going)
        self._take_connection(going.detach(), going.received, is_answered=going.is_answered, relayed=relayed)

    async def _relay(self, session_id: str, name: str, going: _OnItsWay) -> bool:
        """Relay it to a node (rule 3); return False if that does not take it."""
        state = self._life.state_of(name)
        if state is None:
            return False
        header = Header(
            sender=self.name,
            to=name,
            purpose=Purpose.RELAY,
            session_id=session_id,
            host=going.peer.host,
            hops=going.peer.hops + 1,
            is_answered=going.is_answered,
            received_bytes=len(going.received),
        )
        try:
            owner = await call(state.address, self._key, header, going.received)
        except Refused:
            return False
        except (OSError, TimeoutError, BadPreamble) as error:
            log.info("node_not_reached", node=name, address=state.address, error=str(error) or type(error).__name__)
            return False
        if going.is_over:
            owner.close()
            return True
        relay = Relay(name, on_over=self._relay_over)
        self._relays.add(relay)
        self.opened.discard(going)
        self.opened.add(relay)
        try:
            await relay.begin(going.take(), owner)
        except OSError:  # its peer is gone
            self._relay_over(relay)
        self.relayed += 1
        return True

    def _relay_over(self, relay: Relay) -> None:
        self._relays.discard(relay)
        self.opened.discard(relay)

    def _refuse(self, session_id: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self._refused_until = {each: until_s for each, until_s in self._refused_until.items() if until_s > now_s}
        self._refused_until[session_id] = now_s + REFUSED_S

    # ---- what other nodes want ---------------------------------------------------------------------------------

    def _called(self, sock: socket.socket, header: Header, received: bytes) -> Verdict:
        """Take a connection of another node, or say why not."""
        if not self._is_open or self._take_connection is None:
            return Verdict.NO_ROOM
        loop = asyncio.get_running_loop()
        if header.purpose is Purpose.QUESTIONS:
            answering = Answering(header.sender, answers=self._answers)
            task = loop.create_task(answering.run(sock), name=f"questions of {header.sender}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return Verdict.TAKEN
        owned = self._owners.owner(header.session_id)
        if owned is not None and owned.node not in ("", self.name) and self._life.is_alive(owned.node):
            return Verdict.NOT_MINE
        peer = RelayedPeer(header.host, header.hops)
        descriptor = sock.detach()
        # In a later turn: what it writes has to come behind the verdict.
        loop.call_soon(self._take_relayed, descriptor, received, header.is_answered, peer)
        return Verdict.TAKEN

    def _take_relayed(self, descriptor: int, received: bytes, is_answered: bool, peer: RelayedPeer) -> None:
        assert self._take_connection is not None
        self._take_connection(descriptor, received, is_answered=is_answered, relayed=peer)

    # ---- questions and news ------------------------------------------------------------------------------------

    def answers(self, question: str, answer: Answer) -> None:
        """Answer this question, or act on what is told by this name, from now on."""
        self._answers[question] = answer

    async def ask(self, worker: int, question: str, body: bytes = b"", *, wait_s: float | None = None) -> bytes:
        """Return what another node answers; raise NodeUnavailable if it does not in time."""
        link = self._links.get(self._names.get(worker, ""))
        if link is None:
            raise NodeUnavailable
        try:
            return await link.ask(question, body, wait_s=min(WAIT_S, wait_s or WAIT_S))
        except Unanswered as error:
            raise NodeUnavailable from error

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> Mapping[int, bytes]:
        """Return what the others answer in time, by number."""
        others = self.others
        asking = (self.ask(each, question, body, wait_s=wait_s) for each in others)
        found = await asyncio.gather(*asking, return_exceptions=True)
        answers = {}
        for number, answer in zip(others, found, strict=True):
            if isinstance(answer, bytes):
                answers[number] = answer
            elif not isinstance(answer, NodeUnavailable):
                raise answer
        return answers

    def tell(self, worker: int, what: str, body: bytes = b"") -> None:
        """Tell another node; it hears it when it can, or never."""
        link = self._links.get(self._names.get(worker, ""))
        if link is None:
            return
        try:
            link.tell(what, body)
        except Unanswered:
            log.warning("node_not_told", node=link.name, what=what)

    def tell_all(self, what: str, body: bytes = b"") -> None:
        """Tell all others that live."""
        for name in [*self._links]:
            self.tell(self._number(name), what, body)

    # ---- who comes and goes ------------------------------------------------------------------------------------

    def _came(self, name: str) -> None:
        if name in self._links or name == self.name:
            return
        self._number(name)
        self._links[name] = link = Link(name, connect=lambda: self._call_to_ask(name), wait_s=WAIT_S)
        link.open()

    def _went(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            task = asyncio.get_running_loop().create_task(link.close())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for relay in [*self._relays]:
            if relay.node == name:  # rule 7
                relay.abort()

    async def _call_to_ask(self, name: str) -> socket.socket:
        state = self._life.state_of(name)
        if state is None:
            raise ConnectionRefusedError(f"nothing is known of node {name}")
        return await call(state.address, self._key, Header(sender=self.name, to=name, purpose=Purpose.QUESTIONS))

    def _number(self, name: str) -> int:
        number = number_of(name)
        self._names[number] = name
        return number

    def _has_some(self, name: str) -> bool:
        some: Iterable[Owned] = self._owners.of_node(name)
        return next(iter(some), None) is not None

    def _node_of(self, session_id: str) -> str | None:
        owned = self._owners.owner(session_id)
        return None if owned is None else owned.node


class _OnItsWay:
    """A connection that waits for its place; it counts as open meanwhile."""

    __slots__ = ("_sock", "is_answered", "peer", "received")

    def __init__(self, sock: socket.socket, received: bytes, is_answered: bool, peer: RelayedPeer) -> None:
        self._sock: socket.socket | None = sock
        self.received = received
        self.is_answered = is_answered
        self.peer = peer

    def take(self) -> socket.socket:
        """Return the socket, which is the caller's to close."""
        assert self._sock is not None
        sock, self._sock = self._sock, None
        return sock

    def detach(self) -> int:
        """Return the descriptor, which is the caller's to close."""
        return self.take().detach()

    @property
    def is_over(self) -> bool:
        """Whether it was closed, or somebody has taken it."""
        return self._sock is None

    def close(self) -> None:
        """Close it, unless somebody has taken it."""
        if self._sock is not None:
            self.take().close()

    def shutdown(self) -> None:
        """End it, since the server stops (uvicorn calls this)."""
        self.close()


def _address(sock: socket.socket) -> str | None:
    with contextlib.suppress(OSError):
        peer = sock.getpeername()
        return str(peer[0]) if isinstance(peer, tuple) else None
    return None


def _nowhere(_session_id: str) -> None:
    return None
