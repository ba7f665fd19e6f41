"""A media plane on a real loopback socket, with a sink that remembers, and a client that may break every rule."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from websockets.asyncio.client import connect
from websockets.utils import apply_mask

from tests.support.routes import ROUTES
from tests.support.waiting import until
from wavstream.access.app_cache import AppCache
from wavstream.access.audiohook_signature import HookUpgrade
from wavstream.access.authenticator import Authenticator, Caller
from wavstream.access.twilio_signature import SignedUpgrade
from wavstream.dialects.events import Event, Frame, StreamStarted, parts
from wavstream.errors import PeerError, Unauthenticated
from wavstream.media.endpoint import MediaEndpoint, MediaLimits
from wavstream.media.handshake import media_protocol
from wavstream.media.request import MediaCredentials
from wavstream.media.rounds import Rounds
from wavstream.media.routes import Routes
from wavstream.model.app import App
from wavstream.sessions.ports import StreamHandle
from wavstream.sessions.registry import Sessions

MASK = b"\x0a\x0b\x0c\x0d"
PATIENCE_S = 60
"""How long a test waits for what must happen before it fails."""


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = MASK) -> bytes:
    """Return a client's frame; an empty mask makes it an unmasked one."""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2)
    else:
        head += bytes([bit | 127]) + size.to_bytes(8)
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def text_frame(fields: object) -> bytes:
    return client_frame(1, json.dumps(fields).encode())


@dataclass
class RememberingSink:
    """Remembers what came; ``hear`` waits until it has heard enough."""

    started: StreamStarted
    handle: StreamHandle
    app_id: str
    raises: Exception | None = None
    frames: list[Frame] = field(default_factory=list)
    """Of each message."""
    whole: list[Frame] = field(default_factory=list)
    """As they came: messages that were read together are one."""
    events: list[Event] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    order: list[Event | bool] = field(default_factory=list)
    """Frames, events and ends as they came."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def frame(self, frame: Frame, arrival_us: int) -> None:
        if self.raises is not None:
            raise self.raises
        self.whole.append(frame)
        for message in parts(frame):
            self.frames.append(message)
            self.order.append(message)
            self.arrivals.append(arrival_us)
        self._news.set()

    def event(self, event: Event, arrival_us: int) -> None:
        self.events.append(event)
        self.order.append(event)
        self._news.set()

    def closed(self, clean: bool, arrival_us: int) -> None:
        self.ends.append(clean)
        self.order.append(clean)
        self._news.set()

    @property
    def frame_samples(self) -> int:
        return self.frames[-1].samples if self.frames else 0

    @property
    def audio(self) -> bytes:
        return b"".join(frame.payload for frame in self.frames)

    async def hear(self, enough: Callable[[RememberingSink], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not enough(self):
                self._news.clear()
                await self._news.wait()

    async def end(self) -> bool:
        """Whether the end was clean; fails if it came twice."""
        await self.hear(lambda sink: sink.ends)
        assert len(self.ends) == 1
        return self.ends[0]


class RememberingSessions:
    """Opens streams whose sinks remember."""

    def __init__(
        self,
        *,
        refuse: PeerError | None = None,
        at_open: Callable[[StreamHandle], None] = lambda handle: None,
        sink_raises: Exception | None = None,
    ) -> None:
        self.sinks: list[RememberingSink] = []
        self.written_now: list[tuple[str, str]] = []
        self.arrived = asyncio.Event()
        self.refuse = refuse
        self._at_open = at_open
        self.sink_raises = sink_raises

    def check_load(self, app_id: str, session_id: str | None) -> None:
        """There is always room."""

    def awaits(self, started: StreamStarted, *, app_id: str, handle: StreamHandle) -> bool:
        return False

    def write_now(self, app_id: str, session_id: str) -> None:
        self.written_now.append((app_id, session_id))

    def open_stream(self, started: StreamStarted, *, app_id: str, handle: StreamHandle, now_us: int) -> RememberingSink:
        if self.refuse is not None:
            raise self.refuse
        self.sinks.append(RememberingSink(started, handle, app_id, raises=self.sink_raises))
        self.arrived.set()
        self._at_open(handle)
        return self.sinks[-1]


class KeyCheck:
    """Asks a function of the test which app a key belongs to."""

    def __init__(self, check: Callable[[MediaCredentials], str | Awaitable[str]]) -> None:
        self._check = check

    def authenticate_stream(
        self,
        bearer: str | None,
        *,
        client_is_loopback: bool,
        app: str | None = None,
        session_id: str | None = None,
        signed: SignedUpgrade | None = None,
        hook: HookUpgrade | None = None,
        address: str | None = None,
    ) -> Caller | Awaitable[Caller]:
        found = self._check(
            MediaCredentials(
                app=app,
                token=bearer,
                session_id=session_id,
                signed=signed,
                hook=hook,
                address=address,
                client_is_loopback=client_is_loopback,
            )
        )
        return Caller(found, None) if isinstance(found, str) else self._called(found)

    async def _called(self, found: Awaitable[str]) -> Caller:
        return Caller(await found, None)


class NoApps:
    """Remembers which apps were read; there are none."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def get(self, app_id: str) -> App | None:
        self.read.append(app_id)
        return None


def endpoint_of(
    sessions: RememberingSessions,
    *,
    authenticate: Callable[[MediaCredentials], str | Awaitable[str]],
    limits: MediaLimits | None = None,
    apps: NoApps | None = None,
    routes: Routes = ROUTES,
) -> MediaEndpoint:
    """Return what the connections of a media plane with these parts share; each look at its clock takes 1 us."""
    now_us = iter(range(1_000_000, 10**9))
    limits = limits or MediaLimits(close_timeout_s=PATIENCE_S)
    return MediaEndpoint(
        routes=routes,
        authenticator=cast("Authenticator", KeyCheck(authenticate)),
        app_cache=cast("AppCache", apps or NoApps()),
        sessions=cast("Sessions", sessions),
        now_us=lambda: next(now_us),
        limits=limits,
        rounds=Rounds(limits.watch_interval_s),
    )


@dataclass
class MediaHarness:
    """A running media plane and the sinks of its streams in order of arrival."""

    endpoint: MediaEndpoint
    port: int
    server: uvicorn.Server
    sessions: RememberingSessions
    apps: NoApps
    peers: list[RawPeer] = field(default_factory=list)

    @property
    def sinks(self) -> list[RememberingSink]:
        return self.sessions.sinks

    def connect(self, path: str, **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, **options)

    async def sink(self, number: int = 0) -> RememberingSink:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.sinks) <= number:
                self.sessions.arrived.clear()
                await self.sessions.arrived.wait()
        return self.sinks[number]

    async def settled(self) -> None:
        """Wait until every connection is gone."""
        await until(lambda: not self.server.server_state.connections)

    async def dial(self, request: bytes) -> RawPeer:
        """Return a peer that has sent its request head and reads no answer yet."""
        self.peers.append(RawPeer(*await asyncio.open_connection("127.0.0.1", self.port)))
        self.peers[-1].send(request)
        return self.peers[-1]

    async def raw(self, path: str = "/media/pcm/s/a?rate=8000") -> RawPeer:
        """Return a peer after its upgrade that sends bytes as they are."""
        peer = await self.dial(upgrade(path))
        head = await peer.head()
        assert head.startswith("HTTP/1.1 101 "), head
        return peer

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of the answer to a request that is not upgraded."""
        return await (await self.dial(request)).answer()


@dataclass
class RawPeer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def head(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head, _, body = (await self.reader.read()).partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(status.split()[1]), headers, body

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame of the server."""
        async with asyncio.timeout(PATIENCE_S):
            head, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2))
            return head & 0x0F, await self.reader.readexactly(size)

    async def closing(self) -> tuple[int, str]:
        """Code and reason of the server's close frame; after it nothing may come but the end."""
        opcode, payload = await self.receive()
        while opcode != 8:
            opcode, payload = await self.receive()
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.read() == b""
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def gone(self) -> None:
        """Wait until the server has ended the socket."""
        async with asyncio.timeout(PATIENCE_S):
            await self.reader.read()


def upgrade(path: str, *, version: str = "13", key: str = "dGhlIHNhbXBsZSBub25jZQ==", extra: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n{extra}\r\n"
    ).encode()


def only_key_is_good(credentials: MediaCredentials) -> str:
    if credentials.token == "wrong":
        raise Unauthenticated("the key is not valid")
    return credentials.app or "default"


def end_period(plane: MediaHarness) -> None:
    """Let a minute pass for what is summed up in the log."""
    refusal_log = plane.endpoint.refusal_log
    refusal_log._ends = 0.0
    refusal_log.end_period()


async def plain_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing: these tests need nothing of the HTTP plane."""


@asynccontextmanager
async def media_plane(
    *,
    limits: MediaLimits | None = None,
    authenticate: Callable[[MediaCredentials], str | Awaitable[str]] = only_key_is_good,
    refuse: PeerError | None = None,
    at_open: Callable[[StreamHandle], None] = lambda handle: None,
    sink_raises: Exception | None = None,
    routes: Routes = ROUTES,
) -> AsyncIterator[MediaHarness]:
    """``refuse``: what opening a stream raises; ``at_open``: what the session does then; ``sink_raises``: on audio."""
    sessions, apps = RememberingSessions(refuse=refuse, at_open=at_open, sink_raises=sink_raises), NoApps()
    endpoint = endpoint_of(sessions, authenticate=authenticate, limits=limits, apps=apps, routes=routes)
    config = uvicorn.Config(plain_app, port=0, ws=media_protocol(endpoint), lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    plane = MediaHarness(endpoint, server.servers[0].sockets[0].getsockname()[1], server, sessions, apps)
    try:
        yield plane
    finally:
        for peer in plane.peers:
            peer.writer.close()
        # What uvicorn does at its end, without its fixed pause of 100 ms.
        server.servers[0].close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        await plane.settled()
