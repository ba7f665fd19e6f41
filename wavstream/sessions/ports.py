"""What sessions are handed from the rooms above and beside them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wavstream.dialects.events import Event, Frame


class StreamSink(Protocol):
    """Where the events of one stream go."""

    @property
    def frame_samples(self) -> int:
        """Samples of each channel in the newest frame; 0: there is none."""

    def frame(self, frame: Frame, arrival_us: int) -> None:
        """Audio."""

    def event(self, event: Event, arrival_us: int) -> None:
        """Anything else."""

    def closed(self, clean: bool, arrival_us: int) -> None:
        """The stream is over."""


class StreamHandle(Protocol):
    """The media socket behind a stream."""

    @property
    def dialect(self) -> str:
        """The name of the stream's dialect."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake."""

    def play(self, samples: NDArray[np.int16]) -> None:
        """Play mono samples, (n,), at the stream's rate to the peer; without effect where it takes no audio."""

    def keep_alive(self, on: bool) -> None:
        """Send silence from now on, or stop; without effect where the peer takes no audio."""

    def pause_reading(self) -> None:
        """Leave what the peer sends in the kernel's buffers."""

    def resume_reading(self) -> None:
        """Read again."""
