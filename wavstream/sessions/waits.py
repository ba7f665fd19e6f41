"""For how long a session that nobody streams is kept.

Two waits that do not know of each other. An announced session is there for whoever records it, for hours: a call may be
recorded from its fifth minute on, or once more, and nobody says when it has ended. A start waits for the stream that it
needs, for a minute, since somebody waits for its file. The first stream ends both: from then on the streams say how
long there is a call.
"""

from __future__ import annotations

from wavstream.sessions.timing import Timing


class SessionDeadlines:
    """What one session waits for."""

    def __init__(self, timing: Timing) -> None:
        self.announced_until_us: int | None = None
        """None: it is not announced, or not any more."""
        self.stream_by_us: int | None = None
        """When the stream that a start needs is given up; None: none is needed."""
        self.was_announced = False
        """Ever, also while it streamed."""
        self._timing = timing

    def announce(self, now_us: int) -> None:
        """There is a call, or it goes on."""
        self.was_announced = True
        self.announced_until_us = now_us + self._timing.announced_wait_us

    def expect_stream(self, now_us: int) -> None:
        """A start needs a stream."""
        self.stream_by_us = now_us + self._timing.start_wait_us

    def end(self) -> None:
        """A stream is there."""
        self.announced_until_us = self.stream_by_us = None

    def run_out(self, now_us: int) -> bool:
        """Forget what has been waited for long enough; whether that was a stream."""
        if self.announced_until_us is not None and now_us >= self.announced_until_us:
            self.announced_until_us = None
        if self.stream_by_us is None or now_us < self.stream_by_us:
            return False
        self.stream_by_us = None
        return True
