"""Whether a peer sends too many frames, or none: counted once a second, so that no frame costs a look at the clock.

A stream earns ``frames_per_second`` each second and may save up ten seconds of it, for a peer that was stalled delivers
what it owes at once. What it may have sent in all before the next look is a number, ``ceiling``, that is cheap to
compare with after every read.
"""

from __future__ import annotations

from wavstream.media.closing import FRAME_RATE, IDLE, Closing
from wavstream.media.endpoint import MediaLimits

TICK_S = 1
_BURST_S = 10


class StreamWatchdog:
    """The account of one stream."""

    __slots__ = ("_frames", "_idle_s", "_limits", "_messages", "_saved", "ceiling")

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits
        self._frames = 0
        self._messages = 0
        self._idle_s = 0
        self._saved = limits.frames_per_second * _BURST_S
        self.ceiling = self._saved
        """Frames since the start of the stream that are allowed now."""

    def tick(self, *, frames: int, messages: int, reading: bool) -> Closing | None:
        """A second has passed; all that arrived since the start of the stream. Gives how to end the stream, if so.

        ``reading``: False while we do not read, when silence says nothing about the peer.
        """
        if frames > self.ceiling:
            return FRAME_RATE
        earned = self._saved - (frames - self._frames) + self._limits.frames_per_second * TICK_S
        self._saved = min(earned, self._limits.frames_per_second * _BURST_S)
        self.ceiling = frames + self._saved
        self._idle_s = self._idle_s + TICK_S if reading and messages == self._messages else 0
        self._frames = frames
        self._messages = messages
        limit_s = self._limits.idle_timeout_s
        return IDLE if limit_s is not None and self._idle_s >= limit_s else None
