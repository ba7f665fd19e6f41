"""An Asterisk with ARI and ``chan_websocket``, as far as its clients and a media server can tell.

Answers and events are those of ``res/ari`` and ``chan_websocket.c``: an application is there while its WebSocket is; a
channel enters it by an event that comes before the answer to the request that made the channel; a channel that cannot
connect ends with an event, long after 200; a snoop channel ends with the channel that it listens to, and nothing else
does.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol

from tests.support.talking import RATE_HZ
from tests.support.waiting import until

CONNECT_TIMEOUT_S = 0.5
"""Asterisk's own."""
FRAME = RATE_HZ // 50
_OPTION = re.compile(r"([a-z])(?:\(([^()]*)\))?")


@dataclass
class Call:
    """A channel of a call, which has a party."""

    says: NDArray[np.int16]
    """What its party says, again and again; 8 kHz."""
    hears: NDArray[np.int16]
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """A section of ``websocket_client.conf``."""

    uri: str
    username: str = ""
    password: str = ""


@dataclass
class _Channel:
    app: str
    spied: str | None = None
    """The call that a snoop channel listens to."""
    spy: str = ""
    socket: ClientConnection | None = None
    is_in_app: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Asterisk:
    """Listens while its context lasts, and again after ``stop`` and ``start`` on the same port."""

    def __init__(self, calls: Mapping[str, Call], connections: Mapping[str, Connection] = {}) -> None:
        self.calls = dict(calls)
        self.connections = dict(connections)
        self.user, self.password = "recorder", "secret of ari.conf"
        self.is_read_only = False
        self.asked: list[str] = []
        """Method and path of every request."""
        self.uris: list[str] = []
        """That were connected to."""
        self.failing: dict[str, tuple[int, str]] = {}
        """Status and message by the end of a path, in place of what would happen."""
        self.made = 0
        """Bridges, also those that are gone."""
        self.late: dict[str, asyncio.Event] = {}
        """What a request waits for, by the start of its path; it is carried out then, be its client there or not."""
        self.silent = False
        """Whether requests are taken and never answered."""
        self.channels: dict[str, _Channel] = {}
        self.bridges: dict[str, list[str]] = {}
        self.apps: dict[str, web.WebSocketResponse] = {}
        self.subscribed: dict[str, set[str]] = {}
        """Apps by the channel of which they want to know."""
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._numbers = itertools.count(1)
        self._silence = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in list(self.channels):
            await self._destroy(name)
        await self.stop()

    async def start(self) -> None:
        """Listen; channels that were there are there."""

        @web.middleware
        async def let_in(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._let_in(request, handler)

        application = web.Application(middlewares=[let_in])
        application.add_routes(
            [
                web.get("/ari/events", self._events),
                web.get("/ari/channels", self._list_channels),
                web.get("/ari/bridges", self._list_bridges),
                web.get("/ari/channels/{id}/variable", self._variable),
                web.post("/ari/channels/externalMedia", self._external_media),
                web.post("/ari/channels/{id}/snoop/{snoop}", self._snoop),
                web.delete("/ari/channels/{id}", self._hang_up),
                web.post("/ari/bridges/{id}", self._bridge),
                web.post("/ari/bridges/{id}/addChannel", self._add_channel),
                web.delete("/ari/bridges/{id}", self._destroy_bridge),
                web.post("/ari/applications/{app}/subscription", self._subscribe),
            ]
        )
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        self._silence.set()
        for socket in list(self.apps.values()):
            await socket.close(code=1001)
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ari"

    async def connected(self) -> None:
        """Return when there is an application."""
        await until(lambda: self.apps)

    async def empty(self) -> None:
        """Return when nothing is left of what applications have made."""
        await until(lambda: not (self.channels or self.bridges))

    async def end_call(self, name: str) -> None:
        """Let the party hang up."""
        del self.calls[name]
        for each in [each for each, channel in self.channels.items() if channel.spied == name]:
            await self._destroy(each)

    # ---- requests --------------------------------------------------------------------------------------------------

    async def _let_in(self, request: web.Request, handler: Any) -> web.StreamResponse:
        key = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {key}":
            return _error(401, "Authentication required")
        if self.is_read_only and request.method != "GET":
            return _error(403, "Write access denied")
        if not request.path.endswith("/events"):
            self.asked.append(f"{request.method} {request.raw_path.partition('?')[0].removeprefix('/ari/')}")
            if self.silent:
                await self._silence.wait()
            for end, (status, message) in self.failing.items():
                if request.path.endswith(end):
                    return _error(status, message)
            for beginning, event in self.late.items():
                if request.method == "POST" and request.path.startswith(f"/ari/{beginning}"):
                    return await asyncio.shield(asyncio.create_task(_behind(event, handler(request))))
        return await handler(request)  # type: ignore[no-any-return]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        app = request.query["app"]
        self.apps[app] = socket
        async for _ in socket:
            pass
        self.apps.pop(app, None)
        return socket

    async def _list_channels(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": name} for name in (*self.calls, *self.channels)])

    async def _list_bridges(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": name, "channels": inside} for name, inside in self.bridges.items()])

    async def _variable(self, request: web.Request) -> web.Response:
        call = self.calls.get(request.match_info["id"])
        if call is None:
            return _error(404, "Provided channel was not found")
        value = call.variables.get(request.query["variable"])
        return _error(404, "Provided variable was not found") if value is None else web.json_response({"value": value})

    async def _snoop(self, request: web.Request) -> web.Response:
        name, snoop, query = request.match_info["id"], request.match_info["snoop"], request.query
        assert query["spy"] in ("in", "out", "both")
        if name not in self.calls:
            return _error(404, "Provided channel was not found")
        self.channels[snoop] = _Channel(app=query["app"], spied=name, spy=query["spy"])
        await self._enter(snoop)
        return web.json_response({"id": snoop, "name": f"Snoop/{name}-{next(self._numbers):08x}"})

    async def _external_media(self, request: web.Request) -> web.Response:
        query = request.query
        assert (query["transport"], query["encapsulation"], query["connection_type"]) == ("websocket", "none", "client")
        if query["format"] not in ("slin", "slin16"):
            return _error(400, f"Provided format ({query['format']}) was not found")
        found = self.connections.get(query["external_host"])
        if found is None:
            return _error(500, "Allocation failed")
        name = query["channelId"]
        if name in self.channels:
            return _error(409, "Channel with given unique ID already exists")
        options = dict(_OPTION.findall(query["transport_data"]))
        channel = self.channels[name] = _Channel(app=query["app"])
        channel.tasks.append(asyncio.create_task(self._dial(name, found, options, query["external_host"])))
        return web.json_response({"id": name, "name": f"WebSocket/{query['external_host']}/0x7f"})

    async def _hang_up(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.channels:
            return _error(404, "Channel not found")
        await self._destroy(name)
        return web.Response(status=204)

    async def _bridge(self, request: web.Request) -> web.Response:
        assert request.query["type"] == "mixing"
        if request.match_info["id"] in self.bridges:
            return _error(409, "Bridge with the same bridgeId already exists")
        self.bridges[request.match_info["id"]] = []
        self.made += 1
        return web.json_response({"id": request.match_info["id"]})

    async def _add_channel(self, request: web.Request) -> web.Response:
        name, added = request.match_info["id"], request.query["channel"].split(",")
        if name not in self.bridges:
            return _error(404, "Bridge not found")
        if any(each not in self.channels for each in added):
            return _error(400, "Channel not found")
        if any(not self.channels[each].is_in_app for each in added):
            return _error(422, "Channel not in Stasis application")
        self.bridges[name] += added
        snoop, media = (self.channels[each] for each in added)
        media.tasks.append(asyncio.create_task(self._pass_on(snoop, media)))
        return web.Response(status=204)

    async def _destroy_bridge(self, request: web.Request) -> web.Response:
        gone = self.bridges.pop(request.match_info["id"], None)
        return _error(404, "Bridge not found") if gone is None else web.Response(status=204)

    async def _subscribe(self, request: web.Request) -> web.Response:
        kind, _, name = request.query["eventSource"].partition(":")
        if kind != "channel" or name not in self.channels:
            return _error(422, "Event source does not exist")
        self.subscribed.setdefault(name, set()).add(request.match_info["app"])
        return web.json_response({"name": request.match_info["app"]})

    # ---- channels --------------------------------------------------------------------------------------------------

    async def _dial(self, name: str, found: Connection, options: Mapping[str, str], connection_id: str) -> None:
        uri = f"{found.uri}?{options['v'].replace(',', '&')}"
        self.uris.append(uri)
        key = base64.b64encode(f"{found.username}:{found.password}".encode()).decode()
        headers = {"Authorization": f"Basic {key}"} if found.username else {}
        channel = self.channels[name]
        try:
            channel.socket = await connect(
                uri,
                subprotocols=[Subprotocol("media")],
                additional_headers=headers,
                compression=None,
                ping_interval=None,
                open_timeout=CONNECT_TIMEOUT_S,
                proxy=None,
            )
        except (OSError, InvalidHandshake):
            await self._destroy(name, "No route to destination")
            return
        assert options["d"] == "in"
        start = {
            "event": "MEDIA_START",
            "connection_id": connection_id,
            "channel": f"WebSocket/{connection_id}/0x7f",
            "channel_id": name,
            "format": "slin",
            "optimal_frame_size": 2 * FRAME,
            "ptime": 20,
            "channel_variables": {},
        }
        plain = " ".join(f"{key}:{value}" for key, value in start.items() if key not in ("event", "channel_variables"))
        text = msgspec.json.encode(start).decode() if options.get("f") == "json" else f"MEDIA_START {plain}"
        await channel.socket.send(text)
        await self._enter(name)
        with suppress(Exception):
            async for _ in channel.socket:
                pass
        if name in self.channels:
            channel.tasks.clear()  # this one is among them
            await self._destroy(name)

    async def _pass_on(self, snoop: _Channel, media: _Channel) -> None:
        """Send what the snoop channel hears, in real time, for as long as the call lasts."""
        assert snoop.spied is not None
        assert media.socket is not None
        call = self.calls[snoop.spied]
        sound = {"in": call.says, "out": call.hears, "both": call.says // 2 + call.hears // 2}[snoop.spy]
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        with suppress(Exception):
            for number in itertools.count():
                await asyncio.sleep(start_s + (number + 1) / 50 - loop.time())
                at = number * FRAME % len(sound)
                await media.socket.send(sound[at : at + FRAME].tobytes())

    async def _enter(self, name: str) -> None:
        channel = self.channels[name]
        if channel.app not in self.apps:  # it is hung up at once
            await self._destroy(name)
            return
        channel.is_in_app = True
        self.subscribed.setdefault(name, set()).add(channel.app)
        await self._tell(name, "StasisStart")

    async def _destroy(self, name: str, cause: str = "Normal Clearing") -> None:
        channel = self.channels.pop(name)
        if channel.socket is not None:
            await channel.socket.close(1000)
        for task in channel.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        for inside in self.bridges.values():
            if name in inside:
                inside.remove(name)
        self.subscribed.setdefault(name, {channel.app})
        if channel.is_in_app:
            await self._tell(name, "StasisEnd")
        await self._tell(name, "ChannelDestroyed", cause_txt=cause)
        del self.subscribed[name]

    async def _tell(self, name: str, kind: str, **fields: str) -> None:
        for app in self.subscribed.get(name, ()):
            if (socket := self.apps.get(app)) is not None:
                await socket.send_json({"type": kind, "application": app, "channel": {"id": name}, **fields})


async def _behind(event: asyncio.Event, answer: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
    await event.wait()
    return await answer


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
