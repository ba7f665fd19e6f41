"""The one connection to FreeSWITCH's event socket that all commands share.

Commands are written as they are asked, without waiting for the answers to those before. A command waits for a
connection, and for its answer, no longer than ``answer_timeout_s`` together. One whose answer was lost with the
connection has been run or has not: it fails, unless it may be run twice.
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

from wavstream.errors import DependencyError, OperatorError
from wavstream.sessions.openers.event_socket import (
    Accepted,
    Answer,
    Ended,
    EventSocket,
    PasswordWanted,
    Refused,
    api_command,
    auth_command,
)

RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Between attempts to connect; the last for all others. Shorter than a command waits, so that it sees one of them."""
_READ_BYTES = 65_536
_KEEPALIVE_IDLE_S, _KEEPALIVE_INTERVAL_S, _KEEPALIVE_PROBES = 30, 10, 3

log = structlog.get_logger()


class ConnectionLost(DependencyError):
    """The connection ended before the answer came."""


class SwitchLink:
    """An async context manager: within it, it is connected as far as FreeSWITCH lets it be."""

    def __init__(
        self, *, host: str, port: int, password: str, user: str | None = None,
        answer_timeout_s: float = 5.0, retry_waits_s: Sequence[float] = RETRY_WAITS_S,
    ) -> None:  # fmt: skip
        self._host = host
        self._port = port
        try:
            self._auth = auth_command(password, user)
        except ValueError as error:
            detail = "the password must be printable characters, the user user@domain"
            raise OperatorError(f"wrong setting of FreeSWITCH's event socket: {detail}") from error
        self._answer_timeout_s = answer_timeout_s
        self._retry_waits_s = retry_waits_s
        self._trouble = ""
        """Why there is no connection, once an attempt has failed."""
        self._failures = 0
        """Attempts since the last connection."""

    async def __aenter__(self) -> Self:
        self._connection: asyncio.Future[_Connection] = asyncio.get_running_loop().create_future()
        """Pending while we try, an exception while only the operator can help."""
        self._keeping = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        # First, since a command that may be run twice looks for the next connection when it loses this one.
        self._refuse_commands(DependencyError("wavstream is stopping"))
        self._keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeping

    async def api(self, command: str, *, repeatable: bool = False) -> str:
        """Run an API command; gives FreeSWITCH's answer, whatever it says.

        Raises OperatorError while we are not let in, DependencyError without connection or answer, ValueError for a
        command that is not one line.
        """
        line = api_command(command)
        connection: _Connection | None = None
        answers_before = 0
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                while True:
                    connection = None
                    found = await asyncio.shield(self._connection)
                    if found.is_lost:  # since it woke us
                        continue
                    connection = found
                    answers_before = connection.answers
                    try:
                        return await connection.ask(line)
                    except ConnectionLost:
                        if not repeatable:
                            raise
        except TimeoutError as error:
            if connection is None:
                raise DependencyError(f"{self._name} cannot be reached: {self._trouble or 'no answer'}") from error
            if connection.answers == answers_before:
                connection.abort()
            raise DependencyError(f"{self._name} has not answered within {self._answer_timeout_s:g} s") from error

    @property
    def _name(self) -> str:
        return f"FreeSWITCH's event socket at {self._host}:{self._port}"

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._converse()
            # A TimeoutError is an OSError; a host that cannot be a name, such as "a..b", is a UnicodeError.
            except (OSError, UnicodeError, OperatorError, DependencyError) as error:
                self._down(error)
            await asyncio.sleep(self._retry_waits_s[min(self._failures, len(self._retry_waits_s) - 1)])
            self._failures += 1

    async def _converse(self) -> None:
        """One connection, to its end; raises what ended it."""
        async with asyncio.timeout(self._answer_timeout_s):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        _keep_alive(writer.get_extra_info("socket"))
        connection = _Connection(writer)
        event_socket = EventSocket()
        try:
            async with asyncio.timeout(self._answer_timeout_s) as greeting:
                while data := await reader.read(_READ_BYTES):
                    for happening in event_socket.feed(data):
                        match happening:
                            case PasswordWanted():
                                writer.write(self._auth)
                            case Accepted():
                                greeting.reschedule(None)
                                self._up(connection)
                            case Refused(reason):
                                raise OperatorError(f"{self._name} refuses us: {reason}")
                            case Answer(text):
                                connection.answered(text)
                            case Ended(reason):
                                raise DependencyError(reason)
            raise DependencyError("it has closed the connection")
        finally:
            writer.close()
            connection.lost(ConnectionLost(f"{self._name} was lost before it had answered"))

    def _up(self, connection: _Connection) -> None:
        if self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_result(connection)
        self._trouble = ""
        self._failures = 0
        log.info("event_socket_connected", host=self._host, port=self._port)

    def _down(self, error: Exception) -> None:
        trouble = str(error) or "no answer"
        if trouble != self._trouble:
            log.warning("event_socket_unreachable", host=self._host, port=self._port, reason=trouble)
        self._trouble = trouble
        if isinstance(error, OperatorError):
            self._refuse_commands(error)
        elif self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()

    def _refuse_commands(self, error: Exception) -> None:
        """Those that wait for a connection, and those to come, until there is one."""
        if self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_exception(error)
        self._connection.exception()  # else asyncio complains where no command waits


class _Connection:
    """Commands on their way over one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.answers = 0
        self.is_lost = False
        self._writer = writer
        self._waiting: deque[asyncio.Future[str]] = deque()

    def ask(self, line: bytes) -> asyncio.Future[str]:
        """Write a command; gives its answer, or ConnectionLost."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._writer.write(line)
        return answer

    def answered(self, text: str) -> None:
        self.answers += 1
        if self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():  # its command may have given up
                answer.set_result(text)

    def abort(self) -> None:
        self._writer.transport.abort()

    def lost(self, error: ConnectionLost) -> None:
        self.is_lost = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)


def _keep_alive(connected: socket.socket) -> None:
    """An idle connection whose peer is gone ends within a minute, and not with the next command."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
