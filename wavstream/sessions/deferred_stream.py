"""A stream that came before its session's journal was read after a restart."""

from __future__ import annotations

from wavstream.dialects.events import Event, Frame, StreamStarted
from wavstream.sessions.ports import StreamHandle, StreamSink


class DeferredStream:
    """Keeps what its socket had read; the rest waits in the kernel, and then at the peer, until it is let in."""

    def __init__(self, started: StreamStarted, *, app_id: str, handle: StreamHandle) -> None:
        self.started = started
        self.app_id = app_id
        self.handle = handle
        self._early: list[Event] = []
        self._closed: bool | None = None
        """How the peer left meanwhile: cleanly or not; None: it did not."""
        self._stream: StreamSink | None = None
        handle.pause_reading()

    def frame(self, frame: Frame, arrival_us: int) -> None:
        """Keep the frame, or hand it on once let in."""
        if self._stream is None:
            self._early.append(frame)
        else:
            self._stream.frame(frame, arrival_us)

    def event(self, event: Event, arrival_us: int) -> None:
        """Keep the event, or hand it on once let in."""
        if self._stream is None:
            self._early.append(event)
        else:
            self._stream.event(event, arrival_us)

    def closed(self, clean: bool, arrival_us: int) -> None:
        """The peer left."""
        if self._stream is None:
            self._closed = clean
        else:
            self._stream.closed(clean, arrival_us)

    @property
    def frame_samples(self) -> int:
        """Samples of each channel in the newest frame; 0: there is none that was handed on."""
        return 0 if self._stream is None else self._stream.frame_samples

    def attach(self, stream: StreamSink, now_us: int) -> None:
        """Hand over what waited; it arrives now, for time never goes back in a journal."""
        self._stream = stream
        for event in self._early:
            if isinstance(event, Frame):
                stream.frame(event, now_us)
            else:
                stream.event(event, now_us)
        self._early.clear()
        if self._closed is not None:
            stream.closed(self._closed, now_us)
        else:
            self.handle.resume_reading()
