"""What the streams of a session have in the kernel is read before it matters what came first.

The sockets of steady streams are read when some messages are there (``media.low_water``), so up to 80 ms of audio wait
in the kernel at any moment. None of it may be overtaken:

1. All streams are drained before a command to the session, an event of one of them that is an order (a digit, a pause,
   a resume), the end of a stream that is replaced, and the end of the server.
2. While somebody listens they are drained with each visit of the ticker, else the stale ones.
3. What is read so has the time of whatever it is read for: time never goes back in a journal.
4. A stream that is being read is not drained, or it would be heard out of order: not for an event of its own, and not
   for one of another stream that is drained itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wavstream.sessions.stream import Stream


class Draining:
    """Has the streams of one session read what waits."""

    __slots__ = ("_is_busy", "_streams")

    def __init__(self, streams: Sequence[Stream]) -> None:
        """Drain ``streams``, which change."""
        self._streams = streams
        self._is_busy = False

    def drain(self, now_us: int, *, but: Stream | None = None) -> None:
        """Read all that has come by now (rule 1); ``but``: the stream that is being read."""
        self._read(lambda stream: stream.handle.drain(now_us), but)

    def drain_stale(self, now_us: int) -> None:
        """Read what may have waited for long enough (rule 2)."""
        self._read(lambda stream: stream.handle.drain_if_stale(now_us))

    def _read(self, read: Callable[[Stream], None], but: Stream | None = None) -> None:
        if self._is_busy:  # rule 4
            return
        self._is_busy = True
        try:
            for stream in [*self._streams]:
                if stream is not but:
                    read(stream)
        finally:
            self._is_busy = False
