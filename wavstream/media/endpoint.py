"""What all media WebSockets share: limits, counters, and the rooms that they talk to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.origin import Networks
from wavstream.errors import LimitReached
from wavstream.media.pacer import Pacer
from wavstream.media.refusals import RefusalLog
from wavstream.media.rounds import Rounds
from wavstream.media.routes import Routes
from wavstream.sessions.quotas import Quotas
from wavstream.sessions.registry import Sessions
from wavstream.workers.boundary import Alone, Boundary

_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What a peer may do; each limit has the close code or status that RFC 6455 or HTTP has for it."""

    max_message_bytes: int = 1024 * 1024
    """Of one message, whole or in fragments."""
    max_text_bytes: int = 64 * 1024
    """Of one text message that is no audio."""
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
    control_frames_per_second: int = 20
    """Pings, pongs and closes among them, likewise. A peer pings once in some seconds, and answers our ping."""
    bytes_per_second: int = 1_000_000
    """Of the same, what was read for them."""
    watch_interval_s: float = 1.0
    """Between two looks at what came: so exactly are the limits of a rate, and those of time below, kept."""
    introduction_timeout_s: float = 30.0
    """From the upgrade to the start of the stream."""
    early_audio_s: float = 2.0
    """From a stream's first message on, for the one that describes its audio; then its defaults count."""
    message_timeout_s: float = 30.0
    """From the first byte of a message to its last."""
    sockets: int = 20_000
    """Open at once, of all workers."""
    sockets_here: int = 20_000
    """Open at once, of this process: it has so many descriptors."""
    reads_at_visits: bool = True
    """Whether steady streams are read by the ticker's visits (``low_water``), or each message as it comes."""


@dataclass(slots=True, kw_only=True)
class MediaCounters:
    """Totals since the start of the process. Those of live streams are brought up to date once a second."""

    frames: int = 0
    """Media messages with audio."""
    received_bytes: int = 0
    """Payload bytes of those."""
    unsent: int = 0
    """Times that audio for a peer was dropped because the peer did not read."""
    open_sockets: int = 0
    """Media WebSockets that are open now."""
    turned_away: int = 0
    """Media WebSockets that are open now to tell a peer that its key is not right (``unauthorized``)."""
    streams_opened: int = 0
    """Streams that introduced themselves."""
    spoken: Counter[str] = field(default_factory=Counter)
    """The same, by the names of their dialects; of those that were found out too."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Messages that meant nothing to us, by reason."""
    closed: Counter[int | str] = field(default_factory=Counter)
    """Media WebSockets that ended, by close code as ``counted_code`` has it; 1006 where there was none."""
    refused: Counter[int] = field(default_factory=Counter)
    """Handshakes refused, by HTTP status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEndpoint:
    """One media plane: every connection of it shares this."""

    routes: Routes
    authenticator: Authenticator
    """Says whose key a handshake shows."""
    app_cache: AppCache
    """Reads that app while the handshake can wait: where a stream starts a recording, nothing can."""
    sessions: Sessions
    """Take in the streams."""
    now_us: Callable[[], int]
    """Unix time in microseconds; never goes back."""
    trusted_proxies: Networks = ()
    """Whose ``X-Forwarded-For`` and ``X-Forwarded-Host`` count."""
    allowed_origins: frozenset[str] = frozenset()
    """Whose pages may open media sockets, beside our own; in lower case."""
    key_header: str | None = None
    """A header that carries the key, beside those that always may."""
    boundary: Boundary = field(default_factory=Alone)
    """Says which worker has a stream's session."""
    quotas: Quotas = field(default_factory=Quotas)
    limits: MediaLimits = field(default_factory=MediaLimits)
    rounds: Rounds
    """Look at each stream, every ``limits.watch_interval_s``."""
    counters: MediaCounters = field(default_factory=MediaCounters)
    pacer: Pacer = field(default_factory=Pacer)
    refusal_log: RefusalLog = field(default_factory=RefusalLog)

    def check_room(self) -> None:
        """Raise LimitReached if the server has no room for another socket."""
        self._check_room(self.quotas.sockets.total)

    def take_socket(self, app_id: str, token_session: str | None) -> None:
        """Count a socket, for ``Quotas.leave_socket``; raise LimitReached, or what ``Quotas.take_socket`` raises."""
        self.quotas.take_socket(app_id, token_session)
        try:
            self._check_room(self.quotas.sockets.total - 1)
        except LimitReached:
            self.quotas.leave_socket(app_id, token_session)
            raise

    def _check_room(self, sockets: int) -> None:
        if sockets >= self.limits.sockets or self.counters.open_sockets >= self.limits.sockets_here:
            raise LimitReached("the server has no room for another stream", retry_after_s=_RETRY_AFTER_S)
