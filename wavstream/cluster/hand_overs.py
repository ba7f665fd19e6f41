"""Connections on their way to the node that has their session; they wait here until one has it, and takes them.

1. A session that nobody has is claimed. A node that takes nothing new has another one claim it, once: what is relayed
   here is claimed here.
2. Where the owner is dead, or has left, its session is taken over first, and then the connection is read here.
3. Where the owner is alive and does not take it, it is tried again until ``wait_s`` is over; one where nobody listens
   is dead sooner (``membership``, rule 5), and is called once in a while for all that wait for it: the 200 legs of a
   node that has died come within a second. Then the connection is read here, and is refused (``is_refused``): in the
   shape of its API or its protocol, which only whoever reads it knows.
4. Over more than ``MOST_HOPS`` nodes nothing goes: two whose tables differ for a moment would send it to and fro.
5. A relay to a node that is dead ends at once: its peers connect again, and their sessions are taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable, MutableSet
from typing import Any

import structlog

from wavstream.cluster.door import Refused, call
from wavstream.cluster.engine import EngineAway, EntryChanged
from wavstream.cluster.membership import NodeState
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned, heir
from wavstream.cluster.preamble import BadPreamble, Header, Purpose
from wavstream.cluster.relay import Relay
from wavstream.workers.boundary import NOBODY, RelayedPeer, TakeConnection, WorkerUnavailable

MOST_HOPS = 3
MOST_ON_THEIR_WAY = 4_096
"""Connections that wait for a claim or another node; each has a descriptor."""
REFUSED_S = 1.0
"""How long a session is refused whose owner took nothing (rule 3)."""
NUMBER_BYTES = 6
_LOOK_S = 0.1

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
    """Return the number of a node (rule 4 of ``nodes``)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=NUMBER_BYTES).digest())


class HandOvers:
    """All of one node. Lives on the event loop."""

    def __init__(self, name: str, *, life: NodeLife, owners: Owners, key: bytes, wait_s: float) -> None:
        """``key``: between nodes; ``wait_s``: how long a connection waits for its place."""
        self.name = name
        self.opened: MutableSet[Any] = set()
        """Where connections that wait or are relayed are counted as open."""
        self.relayed = 0
        """Connections that were relayed to other nodes, since the start."""
        self.refused = 0
        """Connections that nobody took in time."""
        self.take_over: TakeOver | None = None
        self.place_for: PlaceFor = _nowhere
        self.take_connection: TakeConnection | None = None
        self._life = life
        self._owners = owners
        self._key = key
        self._wait_s = wait_s
        self._relays: set[Relay] = set()
        self._refused_until: dict[str, float] = {}
        self._not_called_until: dict[str, float] = {}
        """By node at which nobody listens (rule 3)."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def relays(self) -> int:
        """How many are relayed to others now."""
        return len(self._relays)

    def begin(
        self, place: SessionPlace, descriptor: int, received: bytes, *, is_answered: bool, peer: RelayedPeer | None
    ) -> None:
        """Take a copy of the descriptor, and give it to whoever has the session; raise NodeUnavailable."""
        if len(self._tasks) >= MOST_ON_THEIR_WAY:
            raise NodeUnavailable
        try:
            sock = socket.socket(fileno=os.dup(descriptor))
        except OSError as error:
            raise NodeUnavailable from error
        sock.setblocking(False)
        going = _OnItsWay(sock, received, is_answered, peer or RelayedPeer(_address(sock), 0))
        task = asyncio.get_running_loop().create_task(self._deliver(place, going), name="hand-over")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def is_refused(self, session_id: str) -> bool:
        """Return whether nobody has taken a connection of the session a moment ago (rule 3)."""
        until_s = self._refused_until.get(session_id)
        return until_s is not None and asyncio.get_running_loop().time() < until_s

    def node_died(self, name: str) -> None:
        """End what is relayed to a node (rule 5)."""
        for relay in [*self._relays]:
            if relay.node == name:
                relay.abort()

    async def close(self) -> None:
        """Let go of everything."""
        for relay in [*self._relays]:
            relay.abort()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- one connection ----------------------------------------------------------------------------------------

    async def _deliver(self, place: SessionPlace, going: _OnItsWay) -> None:
        self.opened.add(going)
        try:
            if await self._find_place(place, going):
                return
            owned = self._owners.owner(place.session_id)
            log.warning("node_unavailable", session_id=place.session_id, node=None if owned is None else owned.node)
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
        while going.peer.hops < MOST_HOPS:  # rule 4
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
        if not place.session_id.endswith(f"{place:0{2 * NUMBER_BYTES}x}"):
            return None
        return next((name for name in self._life.live() if number_of(name) == place), None)

    async def _settle(self, session_id: str, going: _OnItsWay) -> str:
        """Return which node is to have the connection, now that one has the session (rules 1 and 2).

        Raise EngineAway, EntryChanged.
        """
        await self._owners.look_up(session_id)
        owned: Owned | None = self._owners.owner(session_id)
        if self._life.has_left and (owned is None or not self._life.is_alive(owned.node)):
            others = [name for name in self._life.live() if name != self.name]
            return heir(session_id, others) if others else self.name
        if owned is None:
            if going.peer.hops == 0 and (elsewhere := self.place_for(session_id)) is not None:
                return elsewhere
            owned = await self._owners.claim(session_id, None)
        is_half_taken = owned.node == self.name and not owned.holder.is_joined
        is_dead = owned.node != self.name and not self._life.is_alive(owned.node)
        if (is_dead or is_half_taken) and self.take_over is not None:
            await self.take_over(owned)
            owned = self._owners.owner(session_id) or owned
        return owned.node

    def _take_here(self, going: _OnItsWay) -> None:
        assert self.take_connection is not None
        relayed = going.peer if going.peer.hops else None
        self.opened.discard(going)
        self.take_connection(going.detach(), going.received, is_answered=going.is_answered, relayed=relayed)

    async def _relay(self, session_id: str, name: str, going: _OnItsWay) -> bool:
        """Relay it to a node; return False if that does not take it."""
        state, loop = self._life.state_of(name), asyncio.get_running_loop()
        if state is None:
            return False
        if (until_s := self._not_called_until.get(name)) is not None:
            if loop.time() < until_s:
                return False
            self._not_called_until[name] = loop.time() + _LOOK_S  # this one calls for all
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
        except (OSError, TimeoutError, BadPreamble, Refused) as error:
            self._note_called(state, error)
            return False
        self._note_called(state, None)
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

    def _note_called(self, state: NodeState, error: Exception | None) -> None:
        """Note what came of a call to a node: who else waits calls it at once, if anybody listens there (rule 3)."""
        if isinstance(error, ConnectionRefusedError):
            self._life.refused(state.name)
            self._not_called_until[state.name] = asyncio.get_running_loop().time() + _LOOK_S
        else:
            self._not_called_until.pop(state.name, None)
        if error is not None and not isinstance(error, Refused):
            what = str(error) or type(error).__name__
            log.info("node_not_reached", node=state.name, address=state.address, error=what)

    def _relay_over(self, relay: Relay) -> None:
        self._relays.discard(relay)
        self.opened.discard(relay)

    def _refuse(self, session_id: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self._refused_until = {each: until_s for each, until_s in self._refused_until.items() if until_s > now_s}
        self._refused_until[session_id] = now_s + REFUSED_S


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
