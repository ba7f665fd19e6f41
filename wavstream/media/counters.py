"""What the media plane counts: plain integers, read when metrics are scraped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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
    streams_opened: int = 0
    """Streams that introduced themselves."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Messages that meant nothing to us, by reason."""
    closed: Counter[int] = field(default_factory=Counter)
    """Media WebSockets that ended, by close code; 1006 where there was none."""
    refused: Counter[int] = field(default_factory=Counter)
    """Handshakes refused, by HTTP status."""
