"""A client of nats-py, used for one connection (``nats_connection``), and what its errors say.

1. A request has a reply subject and a future of its own. That of nats-py makes a random name, a wait and a timer for
   each besides, where whoever asks has a timer already.
2. nats-py loses cancellations: ``_flush_pending`` takes them as an end like another, and so does ``wait_for`` of Python
   3.11 if the answer comes at the same moment. They are raised again, else whoever cancels waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from wavstream.cluster.nats_credentials import Shown

CONNECT_S = 3.0
RIGHT_LACKS = "permissions violation"
FAILURES = (nats.errors.Error, OSError, TimeoutError, ValueError)  # ValueError: what came is no JSON
_NOBODY = "503"


class NoTls(Exception):
    """The server offers no TLS, and ``tls://`` asks for it."""


class UsedOnce(Client):
    """A client of nats-py that is used once."""

    def __init__(self, told: Shown, *, wants_tls: bool) -> None:
        super().__init__()
        self._public_nkey = told.public_nkey  # nats-py sets it where it reads the seed itself, with a library more
        self._wants_tls = wants_tls
        self.is_up = False
        self.complaint = ""
        self.when_closed: Callable[[], None] | None = None
        self._answers = ""
        """Below which subject answers come; empty: nothing was asked yet."""
        self._asked: dict[str, asyncio.Future[Msg]] = {}
        self._count = 0

    @property
    def said(self) -> dict[str, Any]:
        """What the server said of itself."""
        return self._server_info

    async def ask(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> Msg:
        """Return the answer, whenever it comes; raise NoRespondersError, and the errors of ``publish`` (rule 1)."""
        if not self._answers:
            self._answers = self.new_inbox()
            with cancellations_kept():
                await self.subscribe(f"{self._answers}.*", cb=self._on_answer)
        self._count += 1
        reply = f"{self._answers}.{self._count}"
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[reply] = answer
        try:
            with cancellations_kept():  # else nothing would end the wait for the answer
                await self.publish(subject, payload, reply=reply, headers=headers)
            answered = await answer
        finally:
            del self._asked[reply]
        if answered.headers and answered.headers.get("Status") == _NOBODY:
            raise nats.errors.NoRespondersError
        return answered

    async def _on_answer(self, answered: Msg) -> None:
        answer = self._asked.get(answered.subject)
        if answer is not None and not answer.done():
            answer.set_result(answered)

    def complaint_of(self, subject: str) -> str:
        """Return what the server said last, where it is why nothing is answered to this subject."""
        said = self.complaint.lower()
        if RIGHT_LACKS not in said or not (subject.lower() in said or self._inbox_prefix.decode().lower() in said):
            return ""
        return f", and said {self.complaint}: give this user the rights of docs/cluster.md"

    async def on_error(self, error: Exception) -> None:
        """End the attempt to connect at its first error: nats-py would try on."""
        if not self.is_up:
            raise error
        self.complaint = words_of(error)

    async def on_closed(self) -> None:
        """Tell that it is closed."""
        if self.when_closed is not None:
            self.when_closed()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._wants_tls and not info.get("tls_required"):
            raise NoTls
        await super()._process_info(info, initial_connection)

    async def _process_pong(self) -> None:
        """Take the answer to a ping, also to one for which nobody waits any more: nats-py ends to read at that."""
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
        else:
            await super()._process_pong()

    def abort(self) -> None:
        """Cut the connection: ``close`` waits until a server that stands still has taken all."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def let_go(self) -> None:
        """End the tasks of the client."""
        with suppress(*FAILURES):
            async with asyncio.timeout(CONNECT_S):
                await self.close()


@contextmanager
def cancellations_kept() -> Iterator[None]:
    """Raise CancelledError behind what has lost one (rule 2), within a timeout its own too."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def words_of(error: BaseException) -> str:
    """Return what was said, in one line."""
    if isinstance(error, NoTls):
        return "it offers no TLS"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {CONNECT_S:g} s"
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(said.removeprefix("nats: ").strip("'\" ").split())


def lasting(error: BaseException) -> str | None:
    """Return what to do about an error that does not pass by itself; None: it may."""
    said = words_of(error).lower()
    if isinstance(error, NoTls):
        return "set up TLS there, or name it nats:// in WAVSTREAM_CLUSTER__NATS_URL"
    if "authorization violation" in said or "user authentication" in said or "account authentication" in said:
        return "look at WAVSTREAM_CLUSTER__USER and __PASSWORD, __TOKEN, __CREDENTIALS_FILE or __NKEY_FILE"
    if "certificate" in said or "ssl" in said or "tls" in said:
        return "look at WAVSTREAM_CLUSTER__TLS_CA, __TLS_CERT and __TLS_KEY, and name it tls:// in __NATS_URL"
    return None
