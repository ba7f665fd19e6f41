"""One leg of a call, played to the server over a real WebSocket as a media server would.

Messages are due at fixed times from the start of the call, never a pause after the one before, so that an hour of
audio takes an hour. A leg that fell behind sends what it owes at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from wavstream.errors import Forbidden, LimitReached, NotFound, OperatorError, PeerError, Unauthenticated
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.quirks import PTIME_MS, Break, Dial, HangUp, Quirk, Send, steps
from wavstream.simulator.wire import SUBPROTOCOLS, WIRES, Wire

MAX_MESSAGES_A_SECOND = 400
"""Faster play makes larger messages instead: it is what a server's limit is there for."""
MAX_MESSAGE_BYTES = 524_288
"""Half of what the server accepts by default."""
_CLOSE_TIMEOUT_S = 60.0  # when played as fast as possible, the server still has to read what lies in the buffers


@dataclass(frozen=True, slots=True)
class Leg:
    """Who speaks, and what."""

    name: str
    samples: Samples = field(repr=False)
    """Shape ``(samples, channels)``, one or two channels."""
    rate_hz: int = 8_000
    codec: Codec = Codec.L16
    quirks: Sequence[Quirk] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    """More parameters of the stream, such as ``record`` or ``clock``; in the query, or where the dialect has them."""


@dataclass(frozen=True, slots=True)
class LegReport:
    """What one leg did."""

    leg: str
    samples_sent: int
    """Of each channel."""
    messages_sent: int
    dials: int
    """Connections made: one, and one for every time that it came back."""
    bytes_heard: int
    """Audio that the server sent."""
    joined_s: tuple[float, ...] = field(default=(), compare=False)
    """When each connection was there, in seconds of real time from the call's start."""


async def play_leg(
    leg: Leg,
    *,
    server: ServerAddress,
    session_id: str,
    dialect: str = "pcm",
    speed: float = 1.0,
    key: str | None = None,
    start_s: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> LegReport:
    """Play the leg from dialling to hanging up; raises PeerError when the server refuses or ends the stream.

    ``speed`` is call seconds in a second, ``math.inf`` for as fast as the server takes it; ``start_s`` is the event
    loop's time at which the call starts, given to make several legs one call; ``progress`` is told the position in
    samples after every message.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time() if start_s is None else start_s
    url = server.media_url(dialect, session_id, leg.name, _query(leg) if dialect == "pcm" else {})
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    line: _Line | None = None
    samples_sent = messages_sent = dials = bytes_heard = 0
    joined_s: list[float] = []
    try:
        for step in steps(
            len(leg.samples), rate_hz=leg.rate_hz, quirks=leg.quirks, message_samples=_message_samples(leg, speed)
        ):
            await asyncio.sleep(start_s + step.due_s / speed - loop.time())
            match step:
                case Dial():
                    line = _Line(await _dial(url, headers, SUBPROTOCOLS.get(dialect)), WIRES[dialect](leg))
                    await line.greet()
                    dials += 1
                    joined_s.append(loop.time() - start_s)
                case Send(first=first, end=end) if line is not None:
                    messages_sent += await line.play(first, leg.samples[first:end])
                    samples_sent += end - first
                    if progress is not None:
                        progress(end)
                case Break() if line is not None:
                    bytes_heard += await line.abort()
                    line = None
                case HangUp() if line is not None:
                    bytes_heard += await line.hang_up()
                    line = None
    finally:
        if line is not None:
            await line.abort()
    return LegReport(leg.name, samples_sent, messages_sent, dials, bytes_heard, tuple(joined_s))


async def play_call(
    legs: Sequence[Leg],
    *,
    server: ServerAddress,
    session_id: str,
    dialect: str = "pcm",
    speed: float = 1.0,
    key: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> list[LegReport]:
    """Play all legs of one call side by side; the first that fails ends the others and its error is raised."""
    start_s = asyncio.get_running_loop().time()

    def leg_progress(leg: Leg) -> Callable[[int], None] | None:
        return None if progress is None else lambda position: progress(leg.name, position)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    play_leg(
                        leg,
                        server=server,
                        session_id=session_id,
                        dialect=dialect,
                        speed=speed,
                        key=key,
                        start_s=start_s,
                        progress=leg_progress(leg),
                    )
                )
                for leg in legs
            ]
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        if isinstance(first, PeerError | OperatorError):
            raise first from None
        raise
    return [task.result() for task in tasks]


class _Line:
    """One connection: sends, and keeps reading what the server says."""

    def __init__(self, connection: ClientConnection, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire
        self._bytes_heard = 0
        self._listening = asyncio.create_task(self._listen())

    async def greet(self) -> None:
        """Say what comes before the audio; raises PeerError when the server has ended the stream."""
        await self._send(self._wire.greeting())

    async def play(self, first: int, samples: Samples) -> int:
        """Send audio and return the number of messages; raises PeerError when the server has ended the stream."""
        messages = self._wire.audio(first, samples)
        await self._send(messages)
        return len(messages)

    async def hang_up(self) -> int:
        """Close with 1000 and return the bytes heard; raises PeerError when the server had closed otherwise."""
        await self._send(self._wire.farewell())
        await self._connection.close(1000)
        await self._listening
        if self._connection.close_code != 1000:
            raise self._ended_by_server()
        return self._bytes_heard

    async def abort(self) -> int:
        """Break the connection with no closing handshake and return the bytes heard."""
        self._connection.transport.abort()
        await self._connection.wait_closed()
        await self._listening
        return self._bytes_heard

    async def _listen(self) -> None:
        try:
            async for message in self._connection:
                self._bytes_heard += len(self._wire.heard(message))
        except ConnectionClosed:
            return  # whoever sends next is told why

    async def _send(self, messages: Sequence[str | bytes]) -> None:
        try:
            for message in messages:
                await self._connection.send(message)
        except ConnectionClosed:
            raise self._ended_by_server() from None

    def _ended_by_server(self) -> PeerError:
        code, reason = self._connection.close_code, self._connection.close_reason
        said = f"closed the stream with {code}" + (f" ({reason})" if reason else "")
        return PeerError(f"the server {said if code not in (None, 1006) else 'broke the connection'}")


async def _dial(url: str, headers: Mapping[str, str], subprotocol: str | None) -> ClientConnection:
    bare_url = url.partition("?")[0]
    try:
        return await connect(
            url,
            additional_headers=headers,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,
            proxy=None,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
        )
    except InvalidStatus as refused:
        raise _refusal(bare_url, refused.response.status_code) from None
    except (InvalidHandshake, TimeoutError):
        raise OperatorError(f"{bare_url}: something answers there, but not a WebSocket server; check --url") from None
    except OSError as failed:
        reason = failed.strerror or str(failed)
        raise OperatorError(f"{bare_url}: cannot connect ({reason}); start the server or check --url") from None


def _refusal(url: str, status: int) -> PeerError:
    match status:
        case 401:
            return Unauthenticated(f"{url}: refused with 401; give the app's key with --key or WAVSTREAM_API_KEY")
        case 403:
            return Forbidden(f"{url}: refused with 403; the key may not stream into this session")
        case 404:
            return NotFound(f"{url}: refused with 404; check --dialect, and --url for a wrong path")
        case 429 | 503:
            return LimitReached(f"{url}: refused with {status}; the server is full, try again later", retry_after_s=1)
    return PeerError(f"{url}: refused with HTTP {status}")


def _query(leg: Leg) -> dict[str, str]:
    return {"codec": leg.codec, "rate": str(leg.rate_hz), "channels": str(leg.samples.shape[1]), **leg.query}


def _message_samples(leg: Leg, speed: float) -> int:
    """Whole ptimes in a message, so that neither the message rate nor its size passes what the server accepts."""
    ptime = leg.rate_hz * PTIME_MS // 1000
    most: int = MAX_MESSAGE_BYTES // (leg.codec.sample_bytes * leg.samples.shape[1]) // ptime
    wanted = speed * 1000 / PTIME_MS / MAX_MESSAGES_A_SECOND
    return ptime * min(most, max(1, math.ceil(min(wanted, most))))
