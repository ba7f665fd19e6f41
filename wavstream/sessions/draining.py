"""What the streams of a session have in the kernel is read before it matters what came first.

The sockets of steady streams are read by the ticker's visits (``media.low_water``), so up to 154 ms of audio wait in
the kernel at any moment. None of it may be overtaken:

1. All streams are drained before a command to the session, an event of one of them that is an order (a digit, a pause,
   a resume), the end of a stream that is replaced, and the end of the server.
2. With each visit those are drained that were not read just before it; while somebody listens, all.
3. What is read so has the time of its read, and what it is read for has that time then, or a later one: time never goes
   back in a journal.
4. A stream that is being read is not drained, or it would be heard out of order: not for an event of its own, and not
   for one of another stream that is drained itself.
5. For the events of one read of a stream the others are drained once: a text may hold dozens.
"""

from __future__ import annotations

from collections.abc import Sequence

from wavstream.sessions.stream import Stream


class Draining:
    """Has the streams of one session read what waits."""

    __slots__ = ("_asked_us", "_is_busy", "_read_us", "_streams")

    def __init__(self, streams: Sequence[Stream]) -> None:
        """Drain ``streams``, which change."""
        self._streams = streams
        self._is_busy = False
        self._asked_us = self._read_us = 0
        """When the newest read was made for whose events the others were drained, and when that was done."""

    def drain(self, now_us: int) -> int:
        """Read all that has come by now (rule 1); return when that was done (rule 3)."""
        return self._read(self._streams, now_us)

    def drain_others(self, stream: Stream, arrival_us: int) -> int:
        """Do the same for an event of a stream that is being read, but for that stream (rules 4 and 5)."""
        if arrival_us != self._asked_us:
            self._asked_us = arrival_us
            self._read_us = self._read(self._streams, arrival_us, but=stream)
        return self._read_us

    def drain_stale(self, now_us: int) -> int:
        """Read what may have waited for long enough (rule 2)."""
        stale = [stream for stream in self._streams if stream.handle.is_stale(now_us)]
        return self._read(stale, now_us) if stale else now_us

    def _read(self, streams: Sequence[Stream], now_us: int, but: Stream | None = None) -> int:
        if self._is_busy:  # rule 4
            return now_us
        self._is_busy = True
        try:
            for stream in [*streams]:
                if stream is not but:
                    now_us = stream.handle.drain(now_us)
        finally:
            self._is_busy = False
        return now_us
