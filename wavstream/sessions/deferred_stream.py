"""Streams that come before their session's journal was read after a restart: they wait until it was.

What a deferred stream's socket had read is kept; the rest waits in the kernel, and then at the peer.
"""

from __future__ import annotations

from wavstream.dialects.events import Event, Frame, StreamStarted
from wavstream.sessions.ports import StreamHandle, StreamSink


class DeferredStream:
    """The sink of one media socket until its session is there."""

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
        """Keep the frame, or hand it on once attached."""
        if self._stream is None:
            self._early.append(frame)
        else:
            self._stream.frame(frame, arrival_us)

    def event(self, event: Event, arrival_us: int) -> None:
        """Keep the event, or hand it on once attached."""
        if self._stream is None:
            self._early.append(event)
        else:
            self._stream.event(event, arrival_us)

    def closed(self, clean: bool, arrival_us: int) -> None:
        """Keep in mind that the peer left, or hand it on once attached."""
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


ANY = ""
"""In the place of an app: of whichever it is, while nobody knows that."""


class DeferredStreams:
    """The sessions whose journals are being read, and the streams that wait for them."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], list[DeferredStream]] = {}

    def expect(self, app_id: str, session_id: str) -> None:
        """Let streams of this session wait from now on; ``ANY``: it is not known yet which app has it."""
        self._waiting.setdefault((app_id, session_id), [])

    def defer(self, started: StreamStarted, *, app_id: str, handle: StreamHandle) -> DeferredStream | None:
        """Return the sink of a stream that has to wait; None: it does not have to."""
        assert started.session_id is not None
        waiting = self._waiting.get((app_id, started.session_id))
        if waiting is None:
            if (ANY, started.session_id) not in self._waiting:
                return None
            waiting = self._waiting.setdefault((app_id, started.session_id), [])
        deferred = DeferredStream(started, app_id=app_id, handle=handle)
        waiting.append(deferred)
        return deferred

    def take(self, app_id: str, session_id: str) -> list[DeferredStream]:
        """Return the streams that waited for this session; others need not wait any more."""
        waited = self._waiting.pop((app_id, session_id), [])
        for other in self.apps_of(session_id) if app_id == ANY else ():
            waited += self._waiting.pop((other, session_id))
        return waited

    def of_app(self, app_id: str) -> dict[str, list[StreamStarted]]:
        """Return the app's sessions for which streams wait, with what these have said of themselves."""
        waiting = ((session_id, streams) for (of, session_id), streams in self._waiting.items() if of == app_id)
        return {session_id: [each.started for each in streams] for session_id, streams in waiting if streams}

    def ids(self) -> set[str]:
        """Return the ids of all sessions whose streams wait."""
        return {session_id for _, session_id in self._waiting}

    def has(self, app_id: str, session_id: str) -> bool:
        """Return whether the journal of a session of this id is being read that is the app's, or may be."""
        return (app_id, session_id) in self._waiting or (ANY, session_id) in self._waiting

    def apps_of(self, session_id: str) -> set[str]:
        """Return the apps that have a session of this id whose journal is being read."""
        return {app_id for app_id, known_id in self._waiting if known_id == session_id and app_id != ANY}
