"""The one connection to FreeSWITCH's event socket that all commands share.

1. A command is written at once, without waiting for the replies to earlier ones.
2. A command waits for a connection and for its reply no longer than ``answer_timeout_s`` in all.
3. If a connection ends before a reply, nobody knows whether the command was run: it fails, unless it may be run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from wavstream.errors import OpenerFailed, OperatorError
from wavstream.sessions.openers.event_socket import (
    AuthAccepted,
    AuthRejected,
    AuthRequested,
    Disconnected,
    EventSocket,
    Reply,
    api_command,
    auth_command,
)

RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Waits between attempts to connect; the last is repeated. Shorter than a command waits, so that one falls within."""
_READ_BYTES = 65_536
_KEEPALIVE_IDLE_S, _KEEPALIVE_INTERVAL_S, _KEEPALIVE_PROBES = 30, 10, 3

log = structlog.get_logger(__name__)


class ConnectionLost(OpenerFailed):
    """The connection ended before the reply came."""


class SwitchLink:
    """Keeps a connection to FreeSWITCH for as long as its async context lasts, and runs commands over it."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        password: str,
        user: str | None = None,
        answer_timeout_s: float = 5.0,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
    ) -> None:
        self._host = host
        self._port = port
        try:
            self._auth = auth_command(password, user)
        except ValueError as error:
            detail = "the password must be printable characters, the user user@domain"
            raise OperatorError(f"wrong setting of FreeSWITCH's event socket: {detail}") from error
        self._answer_timeout_s = answer_timeout_s
        self._retry_waits_s = retry_waits_s
        self._failure = ""
        """Why there is no connection, once an attempt has failed."""
        self._failures = 0
        """Failed attempts since the last connection."""

    async def __aenter__(self) -> Self:
        self._connection: asyncio.Future[_Connection] = asyncio.get_running_loop().create_future()
        """Pending while we try to connect; an exception while only the operator can help."""
        self._connecting = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        # Before the connection ends: a command that may be run twice would wait for the next one.
        self._refuse_commands(OpenerFailed("wavstream is stopping"))
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting

    async def api(self, command: str, *, repeatable: bool = False) -> str:
        """Run an API command and return FreeSWITCH's reply, whatever it says.

        Raise OperatorError while FreeSWITCH does not accept us, OpenerFailed without a connection or a reply,
        ValueError if the command is not one line.
        """
        line = api_command(command)
        connection: _Connection | None = None
        replies_before = 0
        try:
            async with asyncio.timeout(self._answer_timeout_s):  # rule 2
                while True:
                    connection = None
                    found = await asyncio.shield(self._connection)
                    if found.is_lost:  # between its future and this turn of the loop
                        continue
                    connection = found
                    replies_before = connection.replies
                    try:
                        return await connection.ask(line)
                    except ConnectionLost:
                        if not repeatable:  # rule 3
                            raise
        except TimeoutError as error:
            if connection is None:
                raise OpenerFailed(f"{self._name} cannot be reached: {self._failure or 'no answer'}") from error
            if connection.replies == replies_before:
                connection.abort()
            raise OpenerFailed(f"{self._name} has not answered within {self._answer_timeout_s:g} s") from error

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, and what to look at; None: there is one, or the first attempt is under way."""
        return f"{self._name} cannot be used ({self._failure}): look at it, and at [opener]" if self._failure else None

    @property
    def _name(self) -> str:
        return f"FreeSWITCH's event socket at {self._host}:{self._port}"

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._run_connection()
            # A TimeoutError is an OSError; a host that cannot be a name, such as "a..b", is a UnicodeError.
            except (OSError, UnicodeError, OperatorError, OpenerFailed) as error:
                self._set_disconnected(error)
            await asyncio.sleep(self._retry_waits_s[min(self._failures, len(self._retry_waits_s) - 1)])
            self._failures += 1

    async def _run_connection(self) -> None:
        """Connect and read until the connection ends; raise what ended it."""
        async with asyncio.timeout(self._answer_timeout_s):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        _keep_alive(writer.get_extra_info("socket"))
        connection = _Connection(writer)
        event_socket = EventSocket()
        try:
            async with asyncio.timeout(self._answer_timeout_s) as greeting:
                while data := await reader.read(_READ_BYTES):
                    for event in event_socket.feed(data):
                        match event:
                            case AuthRequested():
                                writer.write(self._auth)
                            case AuthAccepted():
                                greeting.reschedule(None)
                                self._set_connected(connection)
                            case AuthRejected(reason):
                                raise OperatorError(f"{self._name} refuses us: {reason}")
                            case Reply(text):
                                connection.replied(text)
                            case Disconnected(reason):
                                raise OpenerFailed(reason)
            raise OpenerFailed("it has closed the connection")
        finally:
            writer.close()
            connection.lost(ConnectionLost(f"{self._name} was lost before it had answered"))

    def _set_connected(self, connection: _Connection) -> None:
        if self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_result(connection)
        self._failure = ""
        self._failures = 0
        log.info("event_socket_connected", host=self._host, port=self._port)

    def _set_disconnected(self, error: Exception) -> None:
        failure = str(error) or "no answer"
        if failure != self._failure:  # one line for each cause, not for each attempt
            log.warning("event_socket_unreachable", host=self._host, port=self._port, reason=failure)
        self._failure = failure
        if isinstance(error, OperatorError):
            self._refuse_commands(error)
        elif self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()

    def _refuse_commands(self, error: Exception) -> None:
        """Fail the commands that wait for a connection, and those to come until there is one."""
        if self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_exception(error)
        self._connection.exception()  # retrieved, else asyncio complains where no command waits


class _Connection:
    """One connection, with the commands that wait for a reply on it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.replies = 0
        self.is_lost = False
        self._writer = writer
        self._waiting: deque[asyncio.Future[str]] = deque()

    def ask(self, line: bytes) -> asyncio.Future[str]:
        """Write a command and return the future of its reply, or of ConnectionLost."""
        reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        self._writer.write(line)
        return reply

    def replied(self, text: str) -> None:
        self.replies += 1
        if self._waiting:
            reply = self._waiting.popleft()
            if not reply.done():  # its command may have given up
                reply.set_result(text)

    def abort(self) -> None:
        self._writer.transport.abort()

    def lost(self, error: ConnectionLost) -> None:
        self.is_lost = True
        for reply in self._waiting:
            if not reply.done():
                reply.set_exception(error)


def _keep_alive(connected: socket.socket) -> None:
    """Make an idle connection whose peer is gone end within a minute, and not with the next command."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
