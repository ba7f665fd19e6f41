"""Asterisk's REST interface (ARI), as one application: requests over HTTP, events over one WebSocket.

1. An application exists for Asterisk while its WebSocket is connected. Channels that enter one that is not there are
   hung up, so nothing is asked without it.
2. Asterisk gives a name to whoever connected with it last, and cuts off whoever had it. So each link has a name of its
   own: several workers, or the one before a restart, do not take it from each other.
3. A request waits for a connection, and then for its answer, no longer than ``answer_timeout_s``.
4. A channel enters the application by an event, which may come before the answer to the request that made it: so
   ``channel_entered`` is asked for before that request.

Sources: https://docs.asterisk.org/Latest_API/API_Documentation/Asterisk_REST_Interface/, and ``res/ari/`` of
asterisk/asterisk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
import structlog
from yarl import URL

from wavstream.errors import OpenerFailed, OperatorError
from wavstream.model.ids import new_id

RETRY_WAITS_S = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Waits between attempts to connect; the last is repeated."""
_MAX_ANSWER_BYTES = 16 * 1_048_576
"""A list of 10,000 channels; nothing else is longer than a few kB."""
_HEARTBEAT_S = 20.0
_SHOWN = 200

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What ARI answered to a request."""

    status: int
    body: Any
    """The JSON of the answer; None without any."""

    @property
    def reason(self) -> str:
        """The status and what ARI says of it."""
        said = self.body.get("message") if isinstance(self.body, dict) else None
        return f"{self.status} ({said[:_SHOWN]})" if isinstance(said, str) else str(self.status)


class ChannelGone(OpenerFailed):
    """A channel ended before it was in the application."""


class LinkListener(Protocol):
    """Is told what happens in the application."""

    def connected(self) -> None:
        """Look for what happened before: the application is there, for the first time or once more."""

    def entered(self, channel: str) -> None:
        """Take note of a channel that came into the application."""

    def ended(self, channel: str) -> None:
        """Take note of a channel that left the application, or is gone."""


class AriLink:
    """Keeps the application connected for as long as its async context lasts, and asks ARI."""

    def __init__(
        self,
        *,
        url: str,
        user: str,
        password: str,
        app: str = "wavstream",
        answer_timeout_s: float = 5.0,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
    ) -> None:
        """``url``: the base of ARI, such as ``http://10.0.0.5:8088/ari``. Raise OperatorError for a wrong user."""
        self._base = url.rstrip("/")
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            self._authorization = aiohttp.encode_basic_auth(user, password)
        except ValueError as error:
            raise OperatorError("opener.user: a user of ari.conf has no colon") from error
        self.app = f"{app}-{new_id()[:8]}"  # rule 2
        self.answer_timeout_s = answer_timeout_s
        self._listener: LinkListener | None = None
        self._retry_waits_s = retry_waits_s
        self._failure = ""
        """Why there is no connection, once an attempt has failed."""
        self._failures = 0
        self._entering: dict[str, asyncio.Future[None]] = {}
        """By channel, of those that are waited for."""

    async def __aenter__(self) -> Self:
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Pending while we try to connect; an exception while only the operator can help."""
        self._session = aiohttp.ClientSession(
            headers={"Authorization": self._authorization}, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._connecting = asyncio.create_task(self._keep_connected(), name="events of Asterisk")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._refuse(OpenerFailed("wavstream is stopping"))
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
        await self._session.close()

    def listen(self, listener: LinkListener) -> None:
        """Tell this one from now on."""
        self._listener = listener

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, and what to look at; None: there is one, or the first attempt is under way."""
        return f"{self._name} cannot be used ({self._failure}): look at it, and at [opener]" if self._failure else None

    async def ready(self) -> None:
        """Return when the application is there; raise OperatorError while it is not let in, else OpenerFailed."""
        try:
            async with asyncio.timeout(self.answer_timeout_s):
                await asyncio.shield(self._connected)
        except TimeoutError as error:
            raise OpenerFailed(f"{self._name} cannot be reached: {self._failure or 'no answer'}") from error

    async def ask(self, method: str, *path: str, **parameters: str) -> Answer:
        """Return ARI's answer, whatever it says; raise OperatorError while it does not let us in, or OpenerFailed.

        Each segment of the path may be any text.
        """
        try:
            await self.ready()
            async with asyncio.timeout(self.answer_timeout_s):
                return await self._ask(method, path, parameters)
        except TimeoutError as error:
            raise OpenerFailed(f"{self._name} has not answered within {self.answer_timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise OpenerFailed(f"{self._name} was lost before it had answered: {error}") from error

    @contextlib.contextmanager
    def channel_entered(self, channel: str) -> Iterator[asyncio.Future[None]]:
        """Yield what is done once this channel is in the application, or ChannelGone once it has ended (rule 4)."""
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._entering[channel] = entered
        try:
            yield entered
        finally:
            del self._entering[channel]
            entered.cancel()
            if not entered.cancelled():
                entered.exception()  # retrieved, else asyncio complains where nobody came to wait for it

    @property
    def _name(self) -> str:
        return f"Asterisk's ARI at {self._host}:{self._port}"

    async def _ask(self, method: str, path: Sequence[str], parameters: Mapping[str, str]) -> Answer:
        url = "/".join((self._base, *(quote(segment, safe="") for segment in path)))
        target = URL(f"{url}?{urlencode(parameters, quote_via=quote)}" if parameters else url, encoded=True)
        async with self._session.request(method, target, allow_redirects=False) as answer:
            self._check_allowed(answer.status)
            raw = bytearray()
            async for piece in answer.content.iter_any():
                raw += piece
                if len(raw) > _MAX_ANSWER_BYTES:
                    raise OpenerFailed(f"{self._name} answers more than {_MAX_ANSWER_BYTES} bytes")
        try:
            body = msgspec.json.decode(raw) if raw else None
        except (msgspec.DecodeError, RecursionError):
            body = None
        return Answer(answer.status, body)

    def _check_allowed(self, status: int) -> None:
        if status == 401:
            raise OperatorError(f"{self._name} does not take opener.user and opener.password: ari.conf has others")
        if status == 403:
            raise OperatorError(f"{self._name} lets opener.user only read: ari.conf needs read_only = no")

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._run_connection()
            # A TimeoutError is an OSError.
            except (OSError, aiohttp.ClientError, OperatorError, OpenerFailed) as error:
                self._set_disconnected(error)
            await asyncio.sleep(self._retry_waits_s[min(self._failures, len(self._retry_waits_s) - 1)])
            self._failures += 1

    async def _run_connection(self) -> None:
        """Connect and read events until the connection ends; raise what ended it."""
        try:
            async with asyncio.timeout(self.answer_timeout_s):
                socket = await self._session.ws_connect(
                    URL(f"{self._base}/events?{urlencode({'app': self.app})}", encoded=True), heartbeat=_HEARTBEAT_S
                )
        except aiohttp.WSServerHandshakeError as error:
            self._check_allowed(error.status)
            hint = ": opener.url has to end with ARI's path, mostly /ari" if error.status == 404 else ""
            raise OpenerFailed(f"it answered {error.status}{hint}") from error
        try:
            self._set_connected()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._take_event(message.data)
        finally:
            await socket.close()
        raise OpenerFailed("it has closed the connection")

    def _take_event(self, text: str) -> None:
        """Take an event; of those that we do not know there are many, and more with each version."""
        try:
            event = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return
        channel = event.get("channel") if isinstance(event, dict) else None
        name = channel.get("id") if isinstance(channel, dict) else None
        if not isinstance(name, str):
            return
        awaited = self._entering.get(name)
        is_awaited = awaited is not None and not awaited.done()
        match event.get("type"):
            case "StasisStart":
                if awaited is not None and is_awaited:
                    awaited.set_result(None)
                if self._listener is not None:
                    self._listener.entered(name)
            case "StasisEnd" | "ChannelDestroyed":
                if awaited is not None and is_awaited:
                    cause = event.get("cause_txt")
                    awaited.set_exception(ChannelGone(cause[:_SHOWN] if isinstance(cause, str) else "it was hung up"))
                if self._listener is not None:
                    self._listener.ended(name)

    def _set_connected(self) -> None:
        if self._connected.done():
            self._connected = asyncio.get_running_loop().create_future()
        self._connected.set_result(None)
        self._failure = ""
        self._failures = 0
        log.info("ari_connected", host=self._host, port=self._port, application=self.app)
        if self._listener is not None:
            self._listener.connected()

    def _set_disconnected(self, error: Exception) -> None:
        failure = str(error) or "no answer"
        if failure != self._failure:  # one line for each cause, not for each attempt
            log.warning("ari_unreachable", host=self._host, port=self._port, reason=failure)
        self._failure = failure
        if isinstance(error, OperatorError):
            self._refuse(error)
        elif self._connected.done():
            self._connected = asyncio.get_running_loop().create_future()

    def _refuse(self, error: Exception) -> None:
        """Fail the requests that wait for a connection, and those to come until there is one."""
        if self._connected.done():
            self._connected = asyncio.get_running_loop().create_future()
        self._connected.set_exception(error)
        self._connected.exception()  # retrieved, else asyncio complains where no request waits
