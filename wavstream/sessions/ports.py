"""What sessions are handed from the rooms above and beside them."""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wavstream.dialects.events import Event, Frame
from wavstream.journal.journal import Journal
from wavstream.model.recording import Recording


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


class Renderer(Protocol):
    """Turns journals into files, off the event loop. All calls come from the event loop."""

    def begin(self, recording: Recording, journal: Journal, *, first_segment: int) -> None:
        """A recording has started: its start record is in the journal, in ``first_segment`` or later."""

    def change(self, recording: Recording) -> None:
        """The recording's state has changed: tell the catalog."""

    def advance(self, journals: list[Journal]) -> None:
        """Fold what these journals have."""

    def end(self, recording: Recording, journal: Journal) -> asyncio.Future[Recording]:
        """The stop record is appended: drain, finish and publish; gives the recording as it ends up."""

    def finishing(self, recording_id: str) -> Recording | None:
        """The recording, if it was stopped and its file is still being finished."""

    def forget(self, recording_id: str) -> None:
        """Erase what is kept of a recording that failed."""
