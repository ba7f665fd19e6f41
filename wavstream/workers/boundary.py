"""The boundary between workers: who has this session, hand this connection over, ask and tell the others.

1. A session is whole in one worker, which its id alone decides: ``owner``. Its app is no part of that, so whether a
   session is another app's (403, 404) is known where the session is, and a connection is handed over before its key is
   looked at: keys, quotas and limits are counted once, where the stream lives.
2. A worker that is asked for a session of another raises ``Elsewhere`` before it has changed anything. Whoever has the
   connection hands it over with all that was read of it; the other reads that as if it had accepted the connection.
   So a request is forwarded, and a stream handed over, by one and the same means, at no cost for each frame.
3. What concerns every worker is asked of all of them (``ask``), or told to them (``tell``).

Where there is one worker, everything is here: ``Alone``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from wavstream.errors import LimitReached
from wavstream.workers.shared_counts import SharedCounts

RETRY_AFTER_S = 2
"""A worker that died is back by then."""


class Elsewhere(Exception):
    """The session is another worker's: hand it the connection. Raised before anything was changed."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"the session is worker {worker}'s")
        self.worker = worker


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


Answer = Callable[[bytes], Awaitable[bytes]]
"""What a worker answers to a question: bytes in, bytes out, both JSON unless the question says otherwise."""


class TakeConnection(Protocol):
    """Takes a connection that another worker has handed over."""

    def __call__(self, descriptor: int, received: bytes, *, is_answered: bool) -> None:
        """Take it as ``Boundary.hand_over`` was given it; the descriptor is the taker's to close."""
        ...


class Boundary(Protocol):
    """The workers of one server, as one of them sees them."""

    index: int
    """The number of this worker, from 0. Worker 0 also does what is done once: webhooks, retention, the catalog."""
    count: int
    shared: SharedCounts | None
    """What the workers count, in all; None: there is one."""

    def owner(self, session_id: str) -> int:
        """Return the number of the worker that has the session (rule 1)."""
        ...

    def check_here(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this worker's (rule 2)."""
        ...

    def hand_over(self, worker: int, descriptor: int, received: bytes, *, is_answered: bool) -> None:
        """Hand a connection to a worker, which has it from then on; the descriptor here is still to be closed.

        ``received``: what was read of it, from the head of the request on that is to be answered. ``is_answered``: an
        upgrade was answered with 101, which the other must not do again. Raise WorkerUnavailable.
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
    count = 1
    shared: SharedCounts | None = None

    def owner(self, session_id: str) -> int:
        """Return 0."""
        return 0

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    def hand_over(self, worker: int, descriptor: int, received: bytes, *, is_answered: bool) -> None:
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
