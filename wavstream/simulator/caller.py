"""One leg of a call, played to the server over a real WebSocket as a media server would play it.

Every message is due at a fixed time from the start of the call, not at a pause after the message before, so an hour of
audio takes an hour. A leg that is late sends everything that is due at once. What a quirk does to a message is done
behind the vendor that made and numbered it.
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
from wavstream.simulator.quirks import Joined, LateOpening, Quirk
from wavstream.simulator.refusals import said
from wavstream.simulator.steps import Break, Dial, HangUp, Make, Send, steps
from wavstream.simulator.vendors.base import PTIME_MS, AnyCodec, Message, Peer, StreamDescription
from wavstream.simulator.vendors.registry import PEERS

MAX_MESSAGES_A_SECOND = 400
"""Faster play makes larger messages instead, to stay within the server's limit of the message rate."""
MAX_MESSAGE_BYTES = 524_288
"""Half of what the server accepts by default."""
ANSWER_TIMEOUT_S = 5.0
"""How long a vendor waits for the answer to its opening; AudioHook's own limit."""
_CLOSE_TIMEOUT_S = 60.0  # after play as fast as possible, the server has yet to read what is in the buffers


@dataclass(frozen=True, slots=True)
class Leg:
    """A party of the call: its name, its audio and its faults."""

    name: str
    samples: Samples = field(repr=False)
    """Shape ``(samples, channels)``, one or two channels."""
    rate_hz: int = 8_000
    codec: AnyCodec = Codec.L16
    quirks: Sequence[Quirk] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    """More parameters of the stream, such as ``record`` or ``clock``; in the query, or where the dialect has them."""
    seed: int = 0
    """Of what its quirks leave to chance; another leg of the same seed has other luck."""

    def description(
        self, session_id: str, *, call_s: float = 0.0, drops: int = 0, away_s: float = 0.0
    ) -> StreamDescription:
        """Return what a connection of it carries that is made at this moment of the call."""
        return StreamDescription(
            session_id=session_id,
            leg=self.name,
            codec=self.codec,
            rate_hz=self.rate_hz,
            channels=self.samples.shape[1],
            parameters=self.query,
            call_s=call_s,
            drops=drops,
            away_s=away_s,
        )


@dataclass(frozen=True, slots=True)
class LegReport:
    """The counts of one leg that was played."""

    leg: str
    samples_sent: int
    """Samples of each channel."""
    messages_sent: int
    dials: int
    """Connections made: one, and one for every time that the leg came back."""
    bytes_received: int
    """Bytes of audio that the server sent."""
    samples_lost: int = 0
    """Samples of each channel that were made into messages and never sent."""
    joined_s: tuple[float, ...] = field(default=(), compare=False)
    """When each connection was open, in seconds of real time from the call's start."""


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
    """Play the leg from dialling to hanging up; raise PeerError if the server refuses or ends the stream.

    ``speed`` is call seconds in a second, ``math.inf`` for as fast as the server takes it. ``start_s`` is the event
    loop's time at which the call starts, given to play several legs as one call. ``progress`` is called with the
    position in samples after every message.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time() if start_s is None else start_s
    kind = PEERS[dialect]
    connection: _Connection | None = None
    unsent: dict[int, int] = {}
    samples_sent = messages_sent = bytes_received = 0
    broken_s = 0.0
    joined_s: list[float] = []
    try:
        for step in steps(
            len(leg.samples),
            rate_hz=leg.rate_hz,
            quirks=leg.quirks,
            message_samples=_message_samples(leg, speed),
            backlog_s=kind.backlog_s,
            seed=f"{leg.seed} {leg.name}",
        ):
            await asyncio.sleep(start_s + step.due_s / speed - loop.time())
            match step:
                case Dial():
                    drops = len(joined_s)
                    away_s = step.due_s - broken_s if drops else 0.0
                    peer = kind(leg.description(session_id, call_s=step.due_s, drops=drops, away_s=away_s))
                    url = server.media_url(dialect, session_id, leg.name, peer.query())
                    socket = await _dial(url, peer.with_key(key or None, url, peer.headers()), peer.subprotocol)
                    connection = _Connection(socket, peer, leg.quirks)
                    await connection.open()
                    joined_s.append(loop.time() - start_s)
                case Make(first=first, end=end) if connection is not None:
                    connection.make(first, leg.samples[first:end])
                    unsent[first] = end - first
                case Send(first=first, end=end) if connection is not None:
                    messages_sent += await connection.play(first, leg.samples[first:end])
                    samples_sent += end - first
                    unsent.pop(first, None)
                    if progress is not None:
                        progress(end)
                case Break() if connection is not None:
                    bytes_received += await connection.abort()
                    connection, broken_s = None, step.due_s
                case HangUp() if connection is not None:
                    bytes_received += await connection.hang_up()
                    connection = None
    finally:
        if connection is not None:
            await connection.abort()
    return LegReport(
        leg.name,
        samples_sent,
        messages_sent,
        len(joined_s),
        bytes_received,
        samples_lost=sum(unsent.values()),
        joined_s=tuple(joined_s),
    )


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
    """Play all legs of one call side by side; if one fails, end the others and raise its error."""
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


class _Connection:
    """One connection: sends the leg's messages, and reads what the server sends all the while."""

    def __init__(self, websocket: ClientConnection, peer: Peer, quirks: Sequence[Quirk]) -> None:
        self._websocket = websocket
        self._peer = peer
        self._made: dict[int, list[Message]] = {}
        """Messages that are not, or not only, sent in their turn, by their first sample."""
        self._opening: list[Message] = []
        """What is still to be said of the audio."""
        late = [int(quirk.messages) for quirk in quirks if isinstance(quirk, LateOpening)]
        self._behind = max(late, default=peer.opening_behind)
        """Messages of audio until then."""
        self._joins = any(isinstance(quirk, Joined) for quirk in quirks)
        self._bytes_received = 0
        self._ready = asyncio.Event()
        self._receiving = asyncio.create_task(self._receive())

    async def open(self) -> None:
        """Send the messages before the audio, and wait for the answer if the vendor does.

        Raise PeerError if the server has ended the stream, or has not answered.
        """
        self._opening = self._peer.opening()
        if self._joins:
            self._opening = ["".join(str(text) for text in (*self._opening, self._peer.joined_text()))]
        await self._open_if_due()
        if not self._peer.is_ready:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._ready.wait()
            except TimeoutError:
                raise PeerError("the server did not answer to what opens the stream") from None
        if not self._peer.is_ready:
            raise self._ended_by_server()

    def make(self, first: int, samples: Samples) -> None:
        """Have the vendor make the messages of this audio, for ``play`` to send at another time, or never."""
        self._made[first] = self._peer.audio(first, samples)

    async def play(self, first: int, samples: Samples) -> int:
        """Send audio and return the number of messages; raise PeerError if the server has ended the stream."""
        messages = self._made.get(first) or self._peer.audio(first, samples)
        await self._send(messages)
        self._behind -= len(messages)
        await self._open_if_due()
        return len(messages)

    async def _open_if_due(self) -> None:
        if self._opening and self._behind <= 0:
            opening, self._opening = self._opening, []
            await self._send(opening)

    async def hang_up(self) -> int:
        """Close with 1000 and return the bytes received; raise PeerError if the server closed with another code."""
        await self._send([*self._opening, *self._peer.closing()])
        await self._websocket.close(1000)
        await self._receiving
        if self._websocket.close_code != 1000:
            raise self._ended_by_server()
        return self._bytes_received

    async def abort(self) -> int:
        """Break the connection without a closing handshake and return the bytes received."""
        self._websocket.transport.abort()
        await self._websocket.wait_closed()
        await self._receiving
        return self._bytes_received

    async def _receive(self) -> None:
        try:
            async for message in self._websocket:
                self._bytes_received += len(self._peer.audio_in(message))
                for answer in self._peer.received(message):
                    await self._websocket.send(answer)
                if self._peer.is_ready:
                    self._ready.set()
        except ConnectionClosed:
            return  # the next to send raises the reason
        finally:
            self._ready.set()

    async def _send(self, messages: Sequence[str | bytes]) -> None:
        try:
            for message in messages:
                await self._websocket.send(message)
        except ConnectionClosed:
            raise self._ended_by_server() from None

    def _ended_by_server(self) -> PeerError:
        code, reason = self._websocket.close_code, self._websocket.close_reason
        closed = f"closed the stream with {code}" + (f" ({reason})" if reason else "")
        return PeerError(f"the server {closed if code not in (None, 1006) else 'broke the connection'}")


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
        status = refused.response.status_code
        raise refusal(f"{bare_url}: refused with {status}", status, said(refused.response.body)) from None
    except (InvalidHandshake, TimeoutError):
        raise OperatorError(f"{bare_url}: something answers there, but not a WebSocket server; check --url") from None
    except OSError as failed:
        reason = failed.strerror or str(failed)
        raise OperatorError(f"{bare_url}: cannot connect ({reason}); start the server or check --url") from None


def refusal(refused: str, status: int, why: str) -> PeerError:
    """Return the error for a stream that was refused with this HTTP status, with what to do; ``why``: as ``said``."""
    refused += why
    match status:
        case 401:
            return Unauthenticated(f"{refused}; give the app's key with --key or WAVSTREAM_API_KEY")
        case 403:
            return Forbidden(f"{refused}{'' if why else '; the key may not stream into this session'}")
        case 404:
            return NotFound(f"{refused}; check --dialect, and --url for a wrong path")
        case 429 | 503:
            full = "" if why else "; the server is full, try again later"
            return LimitReached(f"{refused}{full}", retry_after_s=1)
    return PeerError(refused)


def _message_samples(leg: Leg, speed: float) -> int:
    """Return the size of a message in whole ptimes, so that its rate and its size stay within the server's limits."""
    ptime = leg.rate_hz * PTIME_MS // 1000
    if not isinstance(leg.codec, Codec):
        return ptime
    most: int = MAX_MESSAGE_BYTES // (leg.codec.sample_bytes * leg.samples.shape[1]) // ptime
    wanted = speed * 1000 / PTIME_MS / MAX_MESSAGES_A_SECOND
    return ptime * min(most, max(1, math.ceil(min(wanted, most))))
