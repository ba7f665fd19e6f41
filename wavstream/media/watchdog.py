"""How much a peer sends on one stream, and whether it says what it has to: looked at, at a steady interval. Pure.

1. A stream earns ``frames_per_second`` and ``bytes_per_second`` each second, and may save up ten seconds of both: a
   peer that was stalled delivers what it owes at once (of 48 kHz stereo that is half a minute and more). Of the frames
   only ``control_frames_per_second`` may be pings, pongs and closes: each costs us a slow path and mostly an answer.
2. What it may have sent in all before the next look is a number, a *ceiling*, that is cheap to compare with after every
   read: no frame costs a look at the clock.
3. A stream without a message for ``idle_timeout_s`` is over. Silence says nothing while we do not read.
4. So is one that has not introduced itself ``introduction_timeout_s`` after its upgrade, whatever it sends, and one
   whose message has begun and is not whole ``message_timeout_s`` later. What counts is the time in which we read.
5. What is within the allowance, and still much, is to be written at once: ten seconds of it may come between two turns
   of a journal, and are in memory twice while a batch is cut from them. So the ceiling is at most ``WRITE_BYTES`` above
   what had come when it was set, and whoever meets it asks which of the two it is. Four streams of 10 MB at once took
   52 MB with the turns of 150 ms, and 23 MB so.
"""

from __future__ import annotations

from wavstream.media.closing import IDLE, Closing, out_of_time, over_limit
from wavstream.media.endpoint import MediaLimits

_BURST_S = 10
WRITE_BYTES = 1_000_000
"""Five seconds of 48 kHz stereo: no call in real time meets it between two looks."""


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
    """Tells whether the peer of one stream sends too much, or not what it has to."""

    __slots__ = (
        "_bytes",
        "_controls",
        "_frames",
        "_idle_s",
        "_limits",
        "_messages",
        "_opening_s",
        "_unfinished",
        "_unfinished_s",
        "bytes_ceiling",
        "controls_ceiling",
        "frames_ceiling",
    )

    def __init__(self, limits: MediaLimits) -> None:
        self._limits = limits
        self._frames = Allowance(limits.frames_per_second, limits.watch_interval_s)
        self._bytes = Allowance(limits.bytes_per_second, limits.watch_interval_s)
        self._controls = Allowance(limits.control_frames_per_second, limits.watch_interval_s)
        self._messages = 0
        self._idle_s = self._opening_s = self._unfinished_s = 0.0
        self._unfinished: int | None = None
        self.frames_ceiling = self._frames.ceiling
        """Frames since the start of the stream that are allowed now (rule 2)."""
        self.bytes_ceiling = min(self._bytes.ceiling, WRITE_BYTES)
        """Bytes, likewise, or what is to be written first (rule 5)."""
        self.controls_ceiling = self._controls.ceiling
        """Control frames, likewise."""

    def over(self, *, frames: int, received_bytes: int, controls: int) -> Closing | None:
        """Return how to end a stream that sent too much, or None: then it may send on, and the ceiling is set anew."""
        if controls > self.controls_ceiling:
            return over_limit("control frames", self._limits.control_frames_per_second, "pings, pongs and closes")
        if frames > self.frames_ceiling:
            return over_limit("media.frames_per_second", self._limits.frames_per_second, "frames")
        if received_bytes > self._bytes.ceiling:
            return over_limit("media.bytes_per_second", self._limits.bytes_per_second, "bytes")
        self.bytes_ceiling = min(self._bytes.ceiling, received_bytes + WRITE_BYTES)
        return None

    def look(
        self,
        *,
        frames: int,
        received_bytes: int,
        controls: int,
        reading: bool,
        opening: bool = False,
        unfinished: int | None = None,
    ) -> Closing | None:
        """Return how to end the stream, or None; the first three are counted from its start.

        ``reading``: False while we do not read. ``opening``: whether it has still to introduce itself. ``unfinished``:
        the number of the message that has begun and is not whole, None: there is none.
        """
        closing = self.over(frames=frames, received_bytes=received_bytes, controls=controls)
        if closing is not None:
            return closing
        self._frames.earn(frames)
        self._bytes.earn(received_bytes)
        self._controls.earn(controls)
        self.frames_ceiling, self.controls_ceiling = self._frames.ceiling, self._controls.ceiling
        self.bytes_ceiling = min(self._bytes.ceiling, received_bytes + WRITE_BYTES)
        closing = self._late(reading=reading, opening=opening, unfinished=unfinished)
        if closing is not None:
            return closing
        messages = frames - controls
        is_silent = reading and messages == self._messages  # rule 3
        self._idle_s = self._idle_s + self._limits.watch_interval_s if is_silent else 0.0
        self._messages = messages
        limit_s = self._limits.idle_timeout_s
        return IDLE if limit_s is not None and self._idle_s >= limit_s else None

    def _late(self, *, reading: bool, opening: bool, unfinished: int | None) -> Closing | None:
        """Return how to end a stream that does not say in time what it has to (rule 4)."""
        if not reading:
            return None
        interval_s, limits = self._limits.watch_interval_s, self._limits
        self._opening_s = self._opening_s + interval_s if opening else 0.0
        if self._opening_s >= limits.introduction_timeout_s:
            return out_of_time("media.introduction_timeout_s", limits.introduction_timeout_s, "no introduction")
        goes_on = unfinished is not None and unfinished == self._unfinished
        self._unfinished = unfinished
        self._unfinished_s = self._unfinished_s + interval_s if goes_on else 0.0
        if self._unfinished_s < limits.message_timeout_s:
            return None
        return out_of_time("media.message_timeout_s", limits.message_timeout_s, "a message is unfinished")
