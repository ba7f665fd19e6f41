"""The opener ``ari``: has Asterisk stream a channel, by its REST interface.

For each direction of the channel a *tap* is made: a snoop channel that hears the direction, a ``WebSocket`` channel
that connects to us, and a bridge that holds both. What Asterisk connects to is in its ``websocket_client.conf``; the
session, the leg and the track stand in the query, by ``v(...)`` of the dial string.

1. A tap's parts have ids of our own, ``wavstream-{which session}-{which opening}-{direction}`` and the part's name. So
   what a server before a restart has opened is found by the session, and what is late of one opening does not end the
   next one.
2. A tap that loses a channel is removed: the snoop channel ends with the call, and the other two would stay for ever.
   After a connection that was lost, and after a restart, it is looked what there is: of a tap whose snoop channel is
   gone the rest is removed, and the others are watched. The snoop channel is made first, so none is being made. One
   that has no ``WebSocket`` channel, and none after the time that an opening may take either, streams to nobody (its
   stream broke while nobody listened): it is removed as well.
3. A channel of a tap that is not known any more, which came behind the request to remove it, is removed.
4. A request that we gave up may be carried out after all, and of a bridge no event tells. So the taps of an opening
   that fails are removed more than once, unless there was no channel to listen to.
5. An id is never put into a path or a dial string but percent-encoded.

Sources: https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/, ``res/ari/resource_channels.c`` and
``channels/chan_websocket.c`` of asterisk/asterisk.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import structlog

from wavstream.errors import FieldError, InvalidFields, NotFound, OpenerFailed, OperatorError, WavstreamError
from wavstream.model.app import app_name
from wavstream.model.ids import new_id
from wavstream.sessions.openers.ari_link import Answer, AriLink, ChannelGone
from wavstream.sessions.openers.base import Mix, OpenRequest, channel_pattern, variable_name

WHOLE_ID = r"(?P<channel>.+)"
"""Finds the channel in a session id: the id is that of the channel."""
RETRY_WAITS_S = (1.0, 5.0, 30.0)
"""Waits between attempts to remove what nobody waits for."""
FORMATS: Mapping[int, str] = {8_000: "slin", 16_000: "slin16", 24_000: "slin24", 32_000: "slin32", 48_000: "slin48"}
"""Asterisk's names of 16-bit samples, by their rate in hertz."""
_LEG = "a"
_CHANNEL = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._:@+/;-]{1,149}")
"""Ids and names of channels; Asterisk takes an id of 149 characters at most."""
_CONNECTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TAP = re.compile(r"((wavstream-[0-9a-f]{16})-[0-9a-f]{8}-(?:in|out|both))(?:-snoop|-media)?")
_SPIES: Mapping[Mix, Mapping[str, str]] = {
    Mix.MONO: {"in": "inbound"},
    Mix.MIXED: {"both": "inbound"},
    Mix.STEREO: {"in": "inbound", "out": "outbound"},
}
"""Which directions are listened to, as Asterisk calls them, and the track that each is."""

log = structlog.get_logger(__name__)


class _Tap(NamedTuple):
    """The ids of one direction's parts."""

    which: str
    """Its session, as the ids have it."""
    bridge: str

    @property
    def snoop(self) -> str:
        return f"{self.bridge}-snoop"

    @property
    def media(self) -> str:
        return f"{self.bridge}-media"


class AriOpener:
    """Makes and removes the taps of channels; an async context manager, within that of its link."""

    def __init__(
        self,
        link: AriLink,
        *,
        connection: str = "wavstream",
        mix: Mix = Mix.STEREO,
        rate_hz: int = 8_000,
        channel: str = WHOLE_ID,
        owner_variable: str | None = None,
        gives_token: bool = False,
        retry_waits_s: Sequence[float] = RETRY_WAITS_S,
    ) -> None:
        """Stream channels whose ``owner_variable`` is the id of the app that asks; None: any channel.

        ``connection``: of ``websocket_client.conf``. ``gives_token``: whether the stream token stands in the query,
        and not a key in that connection. Raise OperatorError for a setting that cannot be.
        """
        if rate_hz not in FORMATS:
            raise OperatorError(f"opener.rate: Asterisk has no format of {rate_hz} Hz; it has: {_listed(FORMATS)}")
        if not _CONNECTION.fullmatch(connection):
            raise OperatorError(
                "opener.connection: names of websocket_client.conf have letters, digits and . _ - alone"
            )
        self._link = link
        self._link.listen(self)
        self._connection = connection
        self._spies = _SPIES[mix]
        self._format = FORMATS[rate_hz]
        self._channel = channel_pattern(channel)
        self._owner_variable = variable_name(owner_variable)
        self._gives_token = gives_token
        self._retry_waits_s = retry_waits_s
        self._taps: set[_Tap] = set()
        """Those that are there, as far as we know."""
        self._background: set[asyncio.Task[None]] = set()
        self._is_stopping = asyncio.Event()
        """Set: what waits for its next attempt makes it now."""

    @property
    def trouble(self) -> str | None:
        """Why ARI cannot be asked now; None: it can."""
        return self._link.trouble

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._is_stopping.set()
        if self._background:
            await asyncio.wait(self._background, timeout=self._link.answer_timeout_s)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def open(self, request: OpenRequest) -> None:
        """Make the taps, and return when all of them are heard."""
        channel = self._channel_of(request.session_id)
        await self._link.ready()
        await self._check_owner(channel, request.app_id)
        which = _which(request.app_id, request.session_id)
        opening = f"{which}-{new_id()[:8]}"
        taps = {_Tap(which, f"{opening}-{spy}"): spy for spy in self._spies}
        self._taps |= taps.keys()
        try:
            async with asyncio.timeout(self._link.answer_timeout_s), asyncio.TaskGroup() as group:
                for tap, spy in taps.items():
                    group.create_task(self._make(tap, spy, channel, request), name="tap of a channel")
        except BaseException as failed:
            has_channel = not isinstance(failed, BaseExceptionGroup) or failed.split(NotFound)[0] is None
            for tap in taps:
                self._remove_behind(tap, is_late=has_channel)
            if isinstance(failed, TimeoutError):
                raise OpenerFailed("Asterisk has not connected the channel to us in time") from failed
            if isinstance(failed, BaseExceptionGroup) and isinstance(failed.exceptions[0], WavstreamError):
                raise failed.exceptions[0] from None
            raise

    async def close(self, *, app_id: str, session_id: str) -> None:
        """Remove the taps; what is gone already, or was never there, is left as it is."""
        which = _which(app_name(app_id), session_id)
        known = [tap for tap in self._taps if tap.which == which]
        taps = known or [each for each in await self._found() if each.which == which]
        removed = await asyncio.gather(*[self._remove(tap) for tap in taps], return_exceptions=True)
        failed = [(tap, error) for tap, error in zip(taps, removed, strict=True) if isinstance(error, BaseException)]
        for tap, _ in failed:
            self._remove_behind(tap)  # nobody asks for this a second time, and it streams on
        if failed:
            raise failed[0][1]

    def connected(self) -> None:
        """Look what there is (rule 2)."""
        self._behind(self._look_in_the_end(frozenset(self._taps)))

    def entered(self, channel: str) -> None:
        """Remove what came too late (rule 3)."""
        tap = _tap_of(channel)
        if tap is not None and tap not in self._taps:
            self._remove_behind(tap)

    def ended(self, channel: str) -> None:
        """Remove the rest of a tap (rule 2)."""
        tap = _tap_of(channel)
        if tap is not None and tap in self._taps:
            self._remove_behind(tap)

    async def _check_owner(self, channel: str, app_id: str) -> None:
        if self._owner_variable is None:
            return
        answer = await self._link.ask("GET", "channels", channel, "variable", variable=self._owner_variable)
        owner = answer.body.get("value") if answer.status == HTTPStatus.OK and isinstance(answer.body, dict) else None
        if answer.status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            raise OpenerFailed(f"Asterisk does not tell whose the channel is: {answer.reason}")
        if owner != app_id:  # another app's, or nobody's: for this app there is no such channel
            raise NotFound("the media server has no channel of this session")

    async def _make(self, tap: _Tap, spy: str, channel: str, request: OpenRequest) -> None:
        """Make one tap; raise WavstreamError, and leave what there is of it to the caller."""
        link = self._link
        with link.channel_entered(tap.snoop) as snooping, link.channel_entered(tap.media) as connected:
            answer = await link.ask("POST", "channels", channel, "snoop", tap.snoop, spy=spy, app=link.app)
            if answer.status == HTTPStatus.NOT_FOUND:
                raise NotFound("the media server has no channel of this session")
            _check(answer, "did not make a channel that listens (snoop)")
            answer = await link.ask(
                "POST",
                "channels",
                "externalMedia",
                channelId=tap.media,
                app=link.app,
                external_host=self._connection,
                transport="websocket",
                encapsulation="none",
                connection_type="client",
                format=self._format,
                transport_data=self._dial_options(spy, request),
            )
            self._check_media(answer)
            _check(await link.ask("POST", "bridges", tap.bridge, type="mixing"), "did not make a bridge")
            try:
                await snooping
                await connected
            except ChannelGone as error:
                raise OpenerFailed(
                    f"Asterisk could not connect to us ({error}): websocket_client.conf has the address and the key of "
                    f"[{self._connection}]; both logs say which is wrong"
                ) from error
        answer = await link.ask("POST", "bridges", tap.bridge, "addChannel", channel=f"{tap.snoop},{tap.media}")
        _check(answer, "did not connect the channels")

    def _dial_options(self, spy: str, request: OpenRequest) -> str:
        """Return the options of the dial string; an option that a version does not have is passed over by it."""
        query = {"session_id": request.session_id, "leg": _LEG, "track": self._spies[spy]}
        if self._gives_token and request.stream_token is not None:
            query["token"] = request.stream_token
        values = ",".join(f"{name}={quote(value, safe='')}" for name, value in query.items())  # rule 5
        return f"f(json)d(in)v({values})"

    def _check_media(self, answer: Answer) -> None:
        if answer.status == HTTPStatus.NOT_IMPLEMENTED:
            raise OperatorError(
                f"Asterisk cannot stream to a WebSocket ({answer.reason}): that takes 20.16, 21.11, 22.6, 23.0 or later"
            )
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise OpenerFailed(
                f"Asterisk did not make the WebSocket channel, {answer.reason}: websocket_client.conf has no "
                f"[{self._connection}], or chan_websocket is not loaded; its log says which"
            )
        _check(answer, "did not make the WebSocket channel")

    def _channel_of(self, session_id: str) -> str:
        found = self._channel.fullmatch(session_id)
        channel = found["channel"] if found else None
        if channel is None or not _CHANNEL.fullmatch(channel):
            detail = "does not name a channel of Asterisk: the channel's id must be where the server expects it"
            raise InvalidFields((FieldError("/session_id", detail),))
        return channel

    def _remove_behind(self, tap: _Tap, *, is_late: bool = False) -> None:
        """Remove a tap; ``is_late``: parts of it may come when it has been removed (rule 4)."""
        self._taps.discard(tap)
        self._behind(self._remove_in_the_end(tap, is_late=is_late))

    async def _remove_in_the_end(self, tap: _Tap, *, is_late: bool) -> None:
        for wait_s in self._retry_waits_s:
            try:
                await self._remove(tap)
            except OpenerFailed:
                pass
            else:
                if not is_late or self._is_stopping.is_set():
                    return
            await self._wait(wait_s)
        await self._remove(tap)

    async def _look_in_the_end(self, known: frozenset[_Tap]) -> None:
        for wait_s in self._retry_waits_s:  # an Asterisk that has just begun may refuse for a while
            try:
                await self._look(known)
            except OpenerFailed:
                await self._wait(wait_s)
            else:
                return
        await self._look(known)

    async def _wait(self, wait_s: float) -> None:
        """Wait, unless the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._is_stopping.wait()

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._quietly(work), name="taps of Asterisk")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except WavstreamError as error:
            log.warning("ari_taps_left", reason=str(error))

    async def _remove(self, tap: _Tap) -> None:
        """Remove what there is of a tap: first the channel that streams, so that its stream ends as by a hang-up."""
        failed: list[Answer] = []
        for place, part in (("channels", tap.media), ("channels", tap.snoop), ("bridges", tap.bridge)):
            answer = await self._link.ask("DELETE", place, part)
            if answer.status != HTTPStatus.NOT_FOUND and not 200 <= answer.status < 300:
                failed.append(answer)
        if failed:
            raise OpenerFailed(f"Asterisk did not end a stream: {failed[0].reason}")
        self._taps.discard(tap)

    async def _look(self, known: frozenset[_Tap]) -> None:
        """Remove the rest of taps whose snoop channel is gone, and watch the others."""
        found = await self._found()
        self._taps -= known - found.keys()
        for tap, parts in found.items():
            if tap.snoop not in parts:
                self._remove_behind(tap)
            else:
                self._taps.add(tap)
                source = f"channel:{tap.snoop}"
                await self._link.ask("POST", "applications", self._link.app, "subscription", eventSource=source)
        silent = [tap for tap, parts in found.items() if tap.snoop in parts and tap.media not in parts]
        if silent:
            await self._wait(self._link.answer_timeout_s)
            if self._is_stopping.is_set():  # it may be one that another server is about to make
                return
            found = await self._found()
            for tap in silent:
                if tap in found and tap.media not in found[tap]:
                    self._remove_behind(tap)

    async def _found(self) -> Mapping[_Tap, set[str]]:
        """Return the taps that are there, whoever made them, and the parts of each; bridges first (rule 2)."""
        found: dict[_Tap, set[str]] = {}
        for place in ("bridges", "channels"):
            answer = await self._link.ask("GET", place)
            _check(answer, f"does not list its {place}")
            for each in answer.body if isinstance(answer.body, list) else ():
                part = each.get("id") if isinstance(each, dict) else None
                tap = _tap_of(part) if isinstance(part, str) else None
                if tap is not None:
                    found.setdefault(tap, set()).add(str(part))
        return found


def _tap_of(part: str) -> _Tap | None:
    """Return the tap that this is a part of."""
    found = _TAP.fullmatch(part)
    return None if found is None else _Tap(found[2], found[1])


def _which(app: str, session_id: str) -> str:
    """Return what the ids of a session's taps begin with."""
    digest = hashlib.blake2b(f"{app}\n{session_id}".encode(errors="surrogatepass"), digest_size=8)
    return f"wavstream-{digest.hexdigest()}"


def _check(answer: Answer, what: str) -> None:
    if not 200 <= answer.status < 300:
        raise OpenerFailed(f"Asterisk {what}: {answer.reason}")


def _listed(rates: Iterable[int]) -> str:
    return ", ".join(map(str, rates))
