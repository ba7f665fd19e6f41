"""``Nodes``: the boundary of a server that is one node of a cluster.

1. A session is whole in one node, which its entry names (``ownership``). All nodes watch all entries, so whose a
   session is, is looked up and not asked.
2. Of a session that nobody has, whoever only looks finds nothing. Who begins something raises Elsewhere: the connection
   is handed over, and waits while the session is claimed (``hand_overs``). Then it goes to whoever won, which may be
   this node: it is read again here, as if another had handed it over.
3. What goes to another node is relayed (``relay``), with what was read of it first and who its peer is. There it is
   taken as a connection that another worker hands over.
4. A node's number is made of its name, so that it is the same everywhere and after every start.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableSet, Sequence
from typing import Any

import structlog

from wavstream.cluster.door import Door, call
from wavstream.cluster.hand_overs import (
    NUMBER_BYTES,
    HandOvers,
    NodeUnavailable,
    PlaceFor,
    SessionPlace,
    TakeOver,
    number_of,
)
from wavstream.cluster.link import Answering, Link, Unanswered
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.owners import Owners
from wavstream.cluster.ownership import Owned
from wavstream.cluster.preamble import Header, Purpose, Verdict
from wavstream.workers.boundary import NOBODY, Answer, Elsewhere, RelayedPeer, TakeConnection, answers_of
from wavstream.workers.shared_counts import SharedCounts

WAIT_S = 5.0
"""For an answer, where whoever asks does not say."""

log = structlog.get_logger(__name__)


class Nodes:
    """One node's boundary. Lives on the event loop."""

    is_alone = False
    shared: SharedCounts | None = None

    def __init__(self, name: str) -> None:
        """Prepare the boundary of the node of this name; it has nobody to talk to before it has joined."""
        self.name = name
        self.index = number_of(name)
        self.hand_overs: HandOvers
        self._life: NodeLife
        self._owners: Owners
        self._key = b""
        self._door: Door | None = None
        self._links: dict[str, Link] = {}
        self._names: dict[int, str] = {self.index: name}
        self._answers: dict[str, Answer] = {}
        self._is_open = False
        self._on_refused: Callable[[str], None] = _ignore
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- its course --------------------------------------------------------------------------------------------

    async def listen(self, at: str, *, key: bytes) -> None:
        """Let other nodes call at ``host:port``; raise OperatorError. ``key``: ``preamble.key_of``."""
        self._key = key
        self._door = Door(self.name, key=key, listen=at, decide=self._decide, take=self._called)
        await self._door.open()

    def join(self, life: NodeLife, owners: Owners, *, wait_s: float) -> None:
        """Be one of these nodes; call it before they start. ``wait_s``: how long a connection waits for its place."""
        self._life, self._owners = life, owners
        self.hand_overs = HandOvers(self.name, life=life, owners=owners, key=self._key, wait_s=wait_s)
        life.on_alive(self._came)
        life.on_dead(self._went)
        life.on_standstill(owners.doubt)

    def takes_over_by(self, take_over: TakeOver) -> None:
        """Take sessions of dead nodes over by this function."""
        self.hand_overs.take_over = take_over

    def places_new_by(self, place_for: PlaceFor) -> None:
        """Ask this function where a new session is to go."""
        self.hand_overs.place_for = place_for

    def on_refused(self, callback: Callable[[str], None]) -> None:
        """Call this with a session of which something was to begin here and was refused."""
        self._on_refused = callback

    def counts_in(self, opened: MutableSet[Any]) -> None:
        """Count connections that wait or are relayed among those that are open."""
        self.hand_overs.opened = opened

    def open(self) -> None:
        """Take what others ask, tell and relay, from now on."""
        self._is_open = True

    async def close(self) -> None:
        """Take nothing any more, and let go of all that is relayed."""
        self._is_open = False
        if self._door is not None:
            await self._door.close()
        if hasattr(self, "hand_overs"):
            await self.hand_overs.close()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(link.close() for link in self._links.values()), return_exceptions=True)
        self._links.clear()

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
        """Raise Elsewhere unless the session is this node's, NodeUnavailable where it is refused (rule 2)."""
        self._check_sure(session_id)
        owned = self._owners.owner(session_id)
        # Of a session that is being taken over nobody knows yet what its journal has: who comes waits for that.
        if owned is not None and owned.node == self.name and owned.holder.is_joined and not self._life.has_left:
            return
        if self.hand_overs.is_refused(session_id):
            raise NodeUnavailable
        nobodys = owned is None or owned.node == self.name
        raise Elsewhere(SessionPlace(NOBODY if nobodys or owned is None else self._number(owned.node), session_id))

    def check_not_elsewhere(self, session_id: str) -> None:
        """Raise Elsewhere if another node has the session."""
        self._check_sure(session_id)
        owned = self._owners.owner(session_id)
        if owned is not None and owned.node != self.name:
            self.check_here(session_id)

    def refused(self, session_id: str) -> None:
        """Have its claim let go of, if it is of no other use."""
        self._on_refused(session_id)

    def _check_sure(self, session_id: str) -> None:
        self._life.notice_standstill()
        if self._owners.is_in_doubt(session_id):
            raise Elsewhere(SessionPlace(NOBODY, session_id))  # it is looked up, and comes here again

    def check_disk(self, session_id: str) -> None:
        """Raise Elsewhere if another node has the session, and with it the files that are not in the bucket yet."""
        self.check_not_elsewhere(session_id)

    def make_here(self, make: Callable[[], str]) -> str:
        """Return an id that ends with this node's number: of an UUID that is the part for the node that made it."""
        return make()[: -2 * NUMBER_BYTES] + f"{self.index:0{2 * NUMBER_BYTES}x}"

    def check_made_here(self, made: str) -> None:
        """Raise Elsewhere if the id ends with the number of another node that lives."""
        with contextlib.suppress(ValueError):
            number = int(made[-2 * NUMBER_BYTES :], 16)
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
        if not self._is_open:
            raise NodeUnavailable
        self.hand_overs.begin(worker, descriptor, received, is_answered=is_answered, peer=relayed)

    def takes(self, take: TakeConnection) -> None:
        """Hand connections to this function that other nodes relay, and those whose session was claimed."""
        self.hand_overs.take_connection = take

    def _decide(self, header: Header) -> Verdict:
        """Say whether a connection of another node is taken."""
        if not self._is_open:
            return Verdict.NO_ROOM
        owned = None if header.purpose is Purpose.QUESTIONS else self._owners.owner(header.session_id)
        if owned is not None and owned.node != self.name and self._life.is_alive(owned.node):
            return Verdict.NOT_MINE
        return Verdict.TAKEN

    def _called(self, sock: socket.socket, header: Header, received: bytes) -> None:
        """Take a connection of another node."""
        if header.purpose is Purpose.QUESTIONS:
            answering = Answering(header.sender, answers=self._answers)
            self._begin(answering.run(sock), f"questions of {header.sender}")
            return
        assert self.hand_overs.take_connection is not None
        peer = RelayedPeer(header.host, header.hops)
        self.hand_overs.take_connection(sock.detach(), received, is_answered=header.is_answered, relayed=peer)

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

    async def ask_dead(self, name: str, question: str, *, wait_s: float) -> bytes:
        """Return what a node answers that counts as dead, over a connection for this alone; raise NodeUnavailable."""
        link = Link(name, connect=lambda: self._call_to_ask(name), wait_s=wait_s)
        link.open()
        try:
            return await link.ask(question, b"", wait_s=wait_s)
        except Unanswered as error:
            raise NodeUnavailable from error
        finally:
            await link.close()

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> Mapping[int, bytes]:
        """Return what the others answer in time, by number."""
        return await answers_of({each: self.ask(each, question, body, wait_s=wait_s) for each in self.others})

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
            self._begin(link.close(), f"end of the link to {name}")
        self.hand_overs.node_died(name)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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


def _ignore(_session_id: str) -> None:
    pass
