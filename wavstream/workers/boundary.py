"""The boundary between workers, or nodes: who has this session, hand this connection over, ask and tell the others.

1. A session is whole in one worker, which its id alone decides: ``owner``. Its app is no part of that, so whether a
   session is another app's (403, 404) is known where the session is, and a connection is handed over before its key is
   looked at: keys, quotas and limits are counted once, where the stream lives.
2. A worker that is asked for a session of another raises ``Elsewhere`` before it has changed anything. Whoever has the
   connection hands it over with all that was read of it; the other reads that as if it had accepted the connection.
   So a request is forwarded, and a stream handed over, by one and the same means, at no cost for each frame.
3. What concerns every worker is asked of all of them (``ask``), or told to them (``tell``).

4. Which of two processes has a session is a hash among workers (``neighbours``), and among the nodes of a cluster the
   entry of the one that it reached first (``cluster/nodes``). There a session may be nobody's: who only looks finds
   nothing, and who begins something raises Elsewhere, has it claimed, and gets the connection back or not.

Where there is one worker, everything is here: ``Alone``.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from wavstream.errors import LimitReached
from wavstream.workers.shared_counts import SharedCounts

RETRY_AFTER_S = 2
"""A worker that died is back by then."""
NOBODY = -1
"""In the place of a worker: nobody has the session (rule 4)."""


class Elsewhere(Exception):
    """The session is another worker's: hand it the connection. Raised before anything was changed."""

    def __init__(self, worker: int) -> None:
        super().__init__("nobody has the session" if worker == NOBODY else f"the session is worker {worker}'s")
        self.worker = worker

    @property
    def is_nobodys(self) -> bool:
        """Whether nobody has it yet: the connection goes to whoever claims it (rule 4)."""
        return self.worker == NOBODY


class WorkerUnavailable(LimitReached):
    """The worker that has the session is being started again."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"worker {worker}, which has the session, is being started again", retry_after_s=RETRY_AFTER_S)


def owner_of(session_id: str, workers: int) -> int:
    """Return the number, from 0, of the worker that has the session: the same in every process and every start."""
    if workers == 1:
        return 0
    digest = hashlib.blake2b(session_id.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % workers


class MovedMeanwhile(LimitReached):
    """The session was let go of here while a stream of it was opening."""

    def __init__(self) -> None:
        super().__init__("the session is not here any more: connect again", retry_after_s=RETRY_AFTER_S)


Answer = Callable[[bytes], Awaitable[bytes]]
"""What a worker answers to a question: bytes in, bytes out, both JSON unless the question says otherwise."""


class RelayedPeer(NamedTuple):
    """Who is behind a connection that another node relays."""

    host: str | None
    """Its address there; None: it came by a unix socket."""
    hops: int
    """Over how many nodes it came."""


async def answers_of(asked: Mapping[int, Awaitable[bytes]]) -> dict[int, bytes]:
    """Return what those who were asked answer, by number; without those who raise WorkerUnavailable."""
    found = await asyncio.gather(*asked.values(), return_exceptions=True)
    answers = {}
    for number, answer in zip(asked, found, strict=True):
        if isinstance(answer, bytes):
            answers[number] = answer
        elif not isinstance(answer, WorkerUnavailable):
            raise answer
    return answers


class TakeConnection(Protocol):
    """Takes a connection that another worker has handed over."""

    def __call__(
        self, descriptor: int, received: bytes, *, is_answered: bool, relayed: RelayedPeer | None = None
    ) -> None:
        """Take it as ``Boundary.hand_over`` was given it; the descriptor is the taker's to close."""
        ...


class Boundary(Protocol):
    """The workers of one server, or the nodes of a cluster, as one of them sees them."""

    index: int
    """The number of this worker, from 0; of a node, one made of its name."""
    shared: SharedCounts | None
    """What the workers count, in all; None: there is one, or nodes, each of which counts alone."""

    @property
    def is_alone(self) -> bool:
        """Whether there never are others."""
        ...

    @property
    def others(self) -> Sequence[int]:
        """The others that may have something, also those that do not answer now."""
        ...

    @property
    def does_what_is_done_once(self) -> bool:
        """Whether this one does what one does for all: retention, the clock of the catalog. Of nodes that changes."""
        ...

    def name_of(self, worker: int) -> int | str:
        """Return what people call it: the number of a worker, the name of a node."""
        ...

    def owner(self, session_id: str) -> int:
        """Return the number of the worker that has the session (rule 1); ``NOBODY``: none has."""
        ...

    def check_here(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this worker's (rule 2), also where nobody has it yet (rule 4)."""
        ...

    def refused(self, session_id: str) -> None:
        """Note that what was to begin of a session is refused here: another may have room for it (rule 4)."""
        ...

    def check_not_elsewhere(self, session_id: str) -> None:
        """Raise Elsewhere if another has the session: for what only looks, and finds nothing of nobody's."""
        ...

    def check_disk(self, session_id: str) -> None:
        """Raise Elsewhere if the files of a session's recordings lie on another node's disk: workers have one disk."""
        ...

    def make_here(self, make: Callable[[], str]) -> str:
        """Return an id, of those that ``make`` makes, for something that lives in this process alone."""
        ...

    def check_made_here(self, made: str) -> None:
        """Raise Elsewhere if another has made this id by ``make_here``."""
        ...

    def hand_over(
        self,
        worker: int,
        descriptor: int,
        received: bytes,
        *,
        is_answered: bool,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """Hand a connection to a worker, which has it from then on; the descriptor here is still to be closed.

        ``worker``: as ``Elsewhere`` says. ``received``: what was read of it, from the head of the request on that is to
        be answered. ``is_answered``: an upgrade was answered with 101, which the other must not do again. ``relayed``:
        as ``TakeConnection`` was told of this connection. Raise WorkerUnavailable.
        """
        ...

    def takes(self, take: TakeConnection) -> None:
        """Hand connections that come from others to this function, from now on; set before the server is ready."""
        ...

    def answers(self, question: str, answer: Answer) -> None:
        """Answer this question, or act on what is told by this name, from now on; set before the server is ready."""
        ...

    async def ask(self, worker: int, question: str, body: bytes = b"", *, wait_s: float | None = None) -> bytes:
        """Return what another worker answers; raise WorkerUnavailable if it does not in time.

        ``wait_s``: of its own, None: as long as usual.
        """
        ...

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> Mapping[int, bytes]:
        """Return what the others answer in time, by worker; one that is being started again is left out."""
        ...

    def tell(self, worker: int, what: str, body: bytes = b"") -> None:
        """Tell another worker; it hears it when it can, or never if it is being started again."""
        ...

    def tell_all(self, what: str, body: bytes = b"") -> None:
        """Tell all others."""
        ...


class Alone:
    """The boundary of a server that is one process: there is nothing behind it."""

    index = 0
    is_alone = True
    does_what_is_done_once = True
    others: Sequence[int] = ()
    shared: SharedCounts | None = None

    def name_of(self, worker: int) -> int | str:
        """Return its number."""
        return worker

    def owner(self, session_id: str) -> int:
        """Return 0."""
        return 0

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    def refused(self, session_id: str) -> None:
        """Return: there is no other."""

    def check_not_elsewhere(self, session_id: str) -> None:
        """Return: it is not."""

    def check_disk(self, session_id: str) -> None:
        """Return: there is one disk."""

    def make_here(self, make: Callable[[], str]) -> str:
        """Return what is made first."""
        return make()

    def check_made_here(self, made: str) -> None:
        """Return: it was."""

    def hand_over(
        self,
        worker: int,
        descriptor: int,
        received: bytes,
        *,
        is_answered: bool,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """Raise WorkerUnavailable: nothing is elsewhere."""
        raise WorkerUnavailable(worker)

    def takes(self, take: TakeConnection) -> None:
        """Return: nobody hands anything over."""

    def answers(self, question: str, answer: Answer) -> None:
        """Return: nobody asks."""

    async def ask(self, worker: int, question: str, body: bytes = b"", *, wait_s: float | None = None) -> bytes:
        """Raise WorkerUnavailable: there is no other."""
        raise WorkerUnavailable(worker)

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> Mapping[int, bytes]:
        """Return nothing: there is no other."""
        return {}

    def tell(self, worker: int, what: str, body: bytes = b"") -> None:
        """Return: there is no other."""

    def tell_all(self, what: str, body: bytes = b"") -> None:
        """Return: there is no other."""
