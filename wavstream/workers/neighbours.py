"""``Workers``: the boundary of a server that is several processes, over their inboxes.

1. A question has a number of its own, from a place that no earlier process of this worker can have had: what its
   predecessor has asked is answered to nobody.
2. A question waits in the inbox of a worker that is being started again, as all does, and is answered if somebody still
   waits for it then.
3. What others ask, tell and hand over is taken from ``open`` on, when the server is there; until then it waits.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence

import structlog

from wavstream.workers.boundary import (
    Answer,
    Elsewhere,
    RelayedPeer,
    TakeConnection,
    WorkerUnavailable,
    answers_of,
    owner_of,
)
from wavstream.workers.inbox import WAIT_S, Inbox, Kind, Message, Outbound
from wavstream.workers.shared_counts import SharedCounts

log = structlog.get_logger(__name__)


class Workers:
    """One worker's boundary. Lives on the event loop."""

    is_alone = False

    def __init__(
        self,
        index: int,
        *,
        inbox: socket.socket,
        others: Sequence[socket.socket],
        shared: SharedCounts | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """``others`` are the sending ends of all inboxes, by worker, its own among them, which it does not use.

        ``shared``: what they count together; None: each counts alone.
        """
        self.index = index
        self.shared = shared
        self.count = len(others)
        self._wait_s = wait_s
        self._inbox = Inbox(inbox, self._take)
        self._outbound = {
            worker: Outbound(worker, sending, wait_s=wait_s) for worker, sending in enumerate(others) if worker != index
        }
        self._answers: dict[str, Answer] = {}
        self._take_connection: TakeConnection | None = None
        self._number = int.from_bytes(os.urandom(7))  # rule 1
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Take what others ask, tell and hand over, from now on (rule 3)."""
        self._inbox.open()

    async def close(self) -> None:
        """Take nothing any more; what comes waits for the next process of this worker."""
        self._inbox.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        for outbound in self._outbound.values():
            outbound.close()

    # ---- the boundary ------------------------------------------------------------------------------------------

    @property
    def others(self) -> Sequence[int]:
        """The numbers of the other workers."""
        return tuple(self._outbound)

    @property
    def does_what_is_done_once(self) -> bool:
        """Whether this is worker 0."""
        return self.index == 0

    def name_of(self, worker: int) -> int | str:
        """Return its number."""
        return worker

    def owner(self, session_id: str) -> int:
        """Return the number of the worker that has the session."""
        return owner_of(session_id, self.count)

    def check_here(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this worker's."""
        owner = owner_of(session_id, self.count)
        if owner != self.index:
            raise Elsewhere(owner)

    def refused(self, session_id: str) -> None:
        """Return: it is this worker's all the same."""

    def check_not_elsewhere(self, session_id: str) -> None:
        """Raise Elsewhere unless the session is this worker's: somebody has every session."""
        self.check_here(session_id)

    def check_disk(self, session_id: str) -> None:
        """Return: workers have one disk."""

    def make_here(self, make: Callable[[], str]) -> str:
        """Return the first id that is this worker's."""
        while self.owner(made := make()) != self.index:
            pass
        return made

    def check_made_here(self, made: str) -> None:
        """Raise Elsewhere if the id is another worker's."""
        self.check_here(made)

    def hand_over(
        self,
        worker: int,
        descriptor: int,
        received: bytes,
        *,
        is_answered: bool,
        relayed: RelayedPeer | None = None,
    ) -> None:
        """Hand a connection to a worker; raise WorkerUnavailable."""
        kind = Kind.ANSWERED_CONNECTION if is_answered else Kind.CONNECTION
        self._outbound[worker].send(Message(self.index, kind, body=received), descriptor)

    def takes(self, take: TakeConnection) -> None:
        """Hand connections that come from others to this function."""
        self._take_connection = take

    def answers(self, question: str, answer: Answer) -> None:
        """Answer this question, or act on what is told by this name, from now on."""
        self._answers[question] = answer

    async def ask(self, worker: int, question: str, body: bytes = b"", *, wait_s: float | None = None) -> bytes:
        """Return what another worker answers; raise WorkerUnavailable if it does not in time."""
        wait_s = self._wait_s if wait_s is None else min(wait_s, self._wait_s)
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        until_ns = time.monotonic_ns() + int(wait_s * 1e9)
        try:
            self._outbound[worker].send(Message(self.index, Kind.QUESTION, question, number, until_ns, body=body))
            async with asyncio.timeout(wait_s):
                return await answer
        except TimeoutError:
            raise WorkerUnavailable(worker) from None
        finally:
            del self._asked[number]

    async def ask_all(self, question: str, body: bytes = b"", *, wait_s: float | None = None) -> Mapping[int, bytes]:
        """Return what the others answer, by worker; one that is being started again is left out."""
        return await answers_of({each: self.ask(each, question, body, wait_s=wait_s) for each in self._outbound})

    def tell(self, worker: int, what: str, body: bytes = b"") -> None:
        """Tell another worker; it hears it when it can, or never if it is being started again."""
        try:
            self._outbound[worker].send(Message(self.index, Kind.TOLD, what, body=body))
        except WorkerUnavailable:
            log.warning("worker_not_told", to=worker, what=what)

    def tell_all(self, what: str, body: bytes = b"") -> None:
        """Tell all others."""
        for worker in self._outbound:
            self.tell(worker, what, body)

    # ---- what comes --------------------------------------------------------------------------------------------

    def _take(self, message: Message, descriptor: int | None) -> None:
        match message.kind:
            case Kind.CONNECTION | Kind.ANSWERED_CONNECTION:
                if descriptor is None:  # the kernel had none free for us: the connection has ended with it
                    log.warning("worker_connection_lost", sender=message.sender)
                elif self._take_connection is None:
                    os.close(descriptor)
                else:
                    is_answered = message.kind is Kind.ANSWERED_CONNECTION
                    self._take_connection(descriptor, message.body, is_answered=is_answered)
            case Kind.QUESTION:
                if not message.is_late:  # rule 2
                    self._begin(self._answer(message))
            case Kind.TOLD:
                self._begin(self._hear(message))
            case Kind.ANSWER | Kind.FAILURE:
                asked = self._asked.get(message.number)
                if asked is None or asked.done():  # it came too late
                    return
                if message.kind is Kind.ANSWER:
                    asked.set_result(message.body)
                else:
                    asked.set_exception(WorkerUnavailable(message.sender))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, question: Message) -> None:
        kind, body = Kind.FAILURE, b""
        try:
            kind, body = Kind.ANSWER, await self._answers[question.name](question.body)
        except Exception as error:  # noqa: BLE001  It is logged; whoever asked goes on without.
            _log_failure(question, error)
        answer = Message(self.index, kind, question.name, question.number, body=body)
        try:
            self._outbound[question.sender].send(answer)
        except WorkerUnavailable:
            log.warning("worker_not_told", to=question.sender, what=question.name)

    async def _hear(self, told: Message) -> None:
        try:
            await self._answers[told.name](told.body)
        except Exception as error:  # noqa: BLE001  It is logged; whoever told it does not wait.
            _log_failure(told, error)


def _log_failure(message: Message, error: Exception) -> None:
    log.error(
        "worker_question_failed",
        question=message.name,
        sender=message.sender,
        error=str(error),
        exc_info=error,
    )
