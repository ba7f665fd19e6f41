"""How much a peer sends on one stream, and whether it sends anything: looked at, at a steady interval. Pure.

1. A stream earns ``frames_per_second`` and ``bytes_per_second`` each second, and may save up ten seconds of both: a
   peer that was stalled delivers what it owes at once (of 48 kHz stereo that is half a minute and more).
2. What it may have sent in all before the next look is a number, a *ceiling*, that is cheap to compare with after every
   read: no frame costs a look at the clock.
3. A stream without a message for ``idle_timeout_s`` is over. Silence says nothing while we do not read.
"""

from __future__ import annotations

from wavstream.media.closing import IDLE, Closing, over_limit
from wavstream.media.endpoint import MediaLimits

_BURST_S = 10


class Allowance:
    """What may be sent of one thing."""

    __slots__ = ("_earned", "_most", "_saved", "_seen", "ceiling")

    def __init__(self, per_second: int, interval_s: float) -> None:
        self._seen = 0
        self._earned = int(per_second * interval_s)
        """In one interval."""
        self._most = self._saved = per_second * _BURST_S
        self.ceiling = self._saved
        """What may have been sent since the start of the stream."""

    def earn(self, sent: int) -> None:
        """Add what an interval earns; ``sent`` since the start of the stream, and not above the ceiling."""
        self._saved = min(self._saved - (sent - self._seen) + self._earned, self._most)
        self._seen = sent
        self.ceiling = sent + self._saved


class StreamWatchdog:
    """Tells whether the peer of one stream sends too much, or nothing."""

    __slots__ = ("_bytes", "_frames", "_idle_s", "_limits", "_messages", "bytes_ceiling", "frames_ceiling")

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits
        self._frames = Allowance(limits.frames_per_second, limits.watch_interval_s)
        self._bytes = Allowance(limits.bytes_per_second, limits.watch_interval_s)
        self._messages = 0
        self._idle_s = 0.0
        self.frames_ceiling = self._frames.ceiling
        """Frames since the start of the stream that are allowed now (rule 2)."""
        self.bytes_ceiling = self._bytes.ceiling
        """Bytes, likewise."""

    def over(self, *, frames: int, received_bytes: int) -> Closing | None:
        """Return how to end a stream that sent too much, or None."""
        if frames > self.frames_ceiling:
            return over_limit("media.frames_per_second", self._limits.frames_per_second, "frames")
        if received_bytes > self.bytes_ceiling:
            return over_limit("media.bytes_per_second", self._limits.bytes_per_second, "bytes")
        return None

    def look(self, *, frames: int, received_bytes: int, messages: int, reading: bool) -> Closing | None:
        """Return how to end the stream, or None; all three are counted from its start.

        ``reading``: False while we do not read.
        """
        closing = self.over(frames=frames, received_bytes=received_bytes)
        if closing is not None:
            return closing
        self._frames.earn(frames)
        self._bytes.earn(received_bytes)
        self.frames_ceiling, self.bytes_ceiling = self._frames.ceiling, self._bytes.ceiling
        is_silent = reading and messages == self._messages  # rule 3
        self._idle_s = self._idle_s + self._limits.watch_interval_s if is_silent else 0.0
        self._messages = messages
        limit_s = self._limits.idle_timeout_s
        return IDLE if limit_s is not None and self._idle_s >= limit_s else None
