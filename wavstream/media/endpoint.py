"""What the media plane is handed: its limits, and the rooms it talks to as plain callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from wavstream.access.origin import Networks
from wavstream.access.twilio_signature import SignedUpgrade
from wavstream.dialects.base import Dialect
from wavstream.dialects.events import StreamStarted
from wavstream.media.counters import MediaCounters
from wavstream.media.pacer import Pacer
from wavstream.media.stream import StreamHandle, StreamSink


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What a peer may do; each limit has the close code or status that RFC 6455 or HTTP has for it."""

    max_message_bytes: int = 1024 * 1024
    """Of one message, whole or in fragments."""
    handshake_timeout_s: float = 10.0
    """From the request to the answer: bounds a slow check of the key."""
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    """From a PING to its PONG."""
    close_timeout_s: float = 5.0
    """From our close frame, or the peer's stop, to the end of the socket."""
    idle_timeout_s: float | None = 3600.0
    """Without any message. A peer that answers pings is alive, but none is silent for this long in a call."""
    frames_per_second: int = 2_000
    """WebSocket frames of any kind, sustained. A peer that stalled may deliver ten seconds of this at once."""
    sockets: int = 20_000
    """Open at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCredentials:
    """What a handshake says about who asks. Never logged."""

    app: str | None
    """From the query, else from ``X-App-ID``."""
    token: str | None = field(repr=False)
    """An app's key or a stream token: of ``Authorization: Bearer``, else of ``X-API-Key``, else of the path, else of
    the query, else the password of Basic."""
    session_id: str | None
    """From the path; a stream token may be good for one session only."""
    signed: SignedUpgrade | None = None
    """The request, if Twilio has signed it."""
    address: str | None = None
    """Of the client, to count wrong keys by."""
    client_is_loopback: bool
    """Whether the peer is on this machine, and no proxy says that it speaks for another."""


Authenticate = Callable[[MediaCredentials], str | Awaitable[str]]
"""Gives the app's id, at once or later; raises Unauthenticated, Forbidden, NotFound or LimitReached."""

OpenStream = Callable[[StreamStarted, StreamHandle, str], StreamSink]
"""Takes in a stream of the app whose id is the last argument; raises PeerError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEndpoint:
    """One media plane: every connection of it shares this."""

    dialects: Mapping[str, type[Dialect]]
    authenticate: Authenticate
    open_stream: OpenStream
    now_us: Callable[[], int]
    """Unix time in microseconds."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` and ``X-Forwarded-Host`` count."""
    limits: MediaLimits = field(default_factory=MediaLimits)
    counters: MediaCounters = field(default_factory=MediaCounters)
    playout: Pacer = field(default_factory=Pacer)
