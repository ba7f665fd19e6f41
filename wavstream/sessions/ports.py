"""What sessions are handed from the rooms above and beside them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wavstream.dialects.events import Event, Frame


class StreamSink(Protocol):
    """Where the events of one media stream go.

    ``arrival_us``: when the read of the socket that held them was made. A PeerError that any method but ``closed``
    raises closes the stream with the code of that error; any other exception closes it with 1011 and is logged.
    """

    @property
    def frame_samples(self) -> int:
        """Samples of each channel in the newest message of audio; 0: there is none."""

    def frame(self, frame: Frame, arrival_us: int) -> None:
        """Take audio, of one media message or of several."""

    def event(self, event: Event, arrival_us: int) -> None:
        """Take whatever else happened: Dtmf, Mark, CallInfo, Paused, Resumed or StreamStopped."""

    def closed(self, clean: bool, arrival_us: int) -> None:
        """End the stream; called exactly once, and nothing after it.

        ``clean``: hung up, not lost (``media.closing``).
        """


class StreamHandle(Protocol):
    """The media socket behind a stream, as its session may use it. Every method does nothing once that is over."""

    @property
    def dialect(self) -> str:
        """The name of the stream's dialect."""

    @property
    def heard_us(self) -> int:
        """When anything came from the peer last: audio, text, a ping, or the answer to one of ours."""

    @property
    def takes_audio(self) -> bool:
        """Whether the peer plays what it is sent."""

    def play(self, samples: NDArray[np.int16], *, after: bool = False) -> None:
        """Play mono samples, (n,), at the stream's rate to the peer; without effect where it takes no audio.

        ``after``: behind what it is playing, else in place of it.
        """

    def keep_alive(self, on: bool) -> None:
        """Start or stop playing silence between sounds; without effect where the peer takes no audio."""

    def drain(self, now_us: int) -> int:
        """Deliver what has come by now and waits in the kernel to be read with more; nothing while paused.

        Return when that was done: ``now_us``, or the moment of the newest read, which is later.
        """

    def is_stale(self, now_us: int) -> bool:
        """Return whether nothing was read for so long that something may have waited for long enough."""

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel, and then at the peer."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self, code: int, reason: str) -> None:
        """End the stream: no event follows, and ``closed`` is called later, when the socket is done.

        It is clean if ``code`` is 1000 or 1001; then nobody waits for the peer to come back.
        """
