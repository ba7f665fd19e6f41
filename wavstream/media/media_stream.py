"""One media stream from its upgrade to its end: its messages, through its dialect, to its session.

A stream is in one of six states, and only ever goes down this table:

 state      what happens in it                                                     begins with
 OPENING    the dialect reads, and knows nothing of the audio yet                  the upgrade
 LIVE       frames and events go to the session's sink; audio goes to the peer     StreamStarted
 STOPPED    the sink was told that it is over; the peer may close by itself        StreamStopped
 CLOSING    the peer was sent a close frame; the sink is told when that is done    close() by session or server
 FAILED     the sink was told; the peer was sent a close frame; the rest is lost   an error, a limit, a broken frame
 ENDED      the sink was told; the peer has closed, or its socket is gone          a close frame, a lost socket

Each state may be left for any below it, but STOPPED is entered from LIVE alone. Rules:

1. Messages are given to the dialect in OPENING and LIVE, and events to the sink in LIVE. What else there is in a read,
   or in a message, behind the one that ended it is dropped.
2. The sink is told of the end once.
3. A stream that ends in OPENING may start at that moment: some dialects hold the start back until they know enough.
   One that ends in LIVE may have audio left that waited for what was overtaken. One that was refused has neither.
4. A text has a bound of its own, unless it is audio: JSON becomes objects, and of one byte come up to a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import structlog

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import (
    Detected,
    Event,
    Frame,
    Ignored,
    Reason,
    Refused,
    Reply,
    StreamStarted,
    StreamStopped,
    joined,
)
from wavstream.errors import BadParameter, InternalError, PeerError, TooLong
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.request import Peer
from wavstream.model.audio import TrackClock
from wavstream.sessions.ports import StreamHandle, StreamSink

log = structlog.get_logger(__name__)


class State(IntEnum):
    """How far a stream is; the text above says what each state means."""

    OPENING = 0
    LIVE = 1
    STOPPED = 2
    CLOSING = 3
    FAILED = 4
    ENDED = 5


# Names of this module: reading a member of an Enum takes 0.07 us, and there would be two a frame.
_OPENING, _LIVE = State.OPENING, State.LIVE


class MediaStream:
    """Turns messages into events, and delivers those to the session that the stream belongs to."""

    __slots__ = (
        "_app_id",
        "_endpoint",
        "_explained",
        "_handle",
        "_joins",
        "_max_text_bytes",
        "_peer",
        "_untold",
        "dialect",
        "frames",
        "received_bytes",
        "sink",
        "started",
        "state",
    )

    def __init__(
        self, endpoint: MediaEndpoint, *, dialect: Dialect, app_id: str, handle: StreamHandle, peer: Peer
    ) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self.dialect = dialect
        """That it speaks; another one than at first, where it was opened without one."""
        self._app_id = app_id
        self._handle: StreamHandle | None = handle
        """Has us too: let go of when nothing is delivered any more, so that no ring is left for the collector."""
        self._max_text_bytes = endpoint.limits.max_text_bytes
        self.state = State.OPENING
        self.started: StreamStarted | None = None
        """How the stream introduced itself."""
        self._joins = False
        """Whether messages that are read together are passed on as one; not where each has a media time of its own."""
        self.sink: StreamSink | None = None
        """Where its events go: its other end, in the session. None: the stream is not LIVE."""
        self._untold: StreamSink | None = None
        """The same, until it has been told that the stream is over."""
        self._explained: set[Reason] = set()
        self.frames = 0
        """Media messages with audio that ``count`` has not seen yet."""
        self.received_bytes = 0
        """Payload bytes of those."""

    @property
    def peer(self) -> Peer:
        """Who it is of, by its introduction, else by its upgrade."""
        started, peer = self.started, self._peer
        if started is None:
            return peer
        return peer._replace(session_id=started.session_id or peer.session_id, leg=started.leg or peer.leg)

    def opened(self) -> Sequence[Event]:
        """Return what the upgrade says; raise BadParameter if it cannot be used."""
        return self.dialect.opened()

    def waited(self) -> Sequence[Event]:
        """Return the events of a stream that has waited for its start for as long as it may; raise MediaError."""
        return self.dialect.waited()

    @property
    def step_to_join(self) -> int:
        """Bytes of a sample of all channels, where messages are nothing but samples and may be one; 0: they may not."""
        joins = self.dialect.is_plain and self._joins
        return self.started.format.step_bytes if self.started is not None and joins else 0

    @property
    def may_wait(self) -> bool:
        """Whether what comes may wait until there is more of it."""
        return self.state is _LIVE and self._joins

    def receive_binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return the events of a binary message, or of several of one size; raise MediaError if it is refused."""
        if self.state is _LIVE or self.state is _OPENING:  # rule 1
            return self.dialect.binary(payload, messages)
        return ()

    def receive_text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a text message; raise MediaError if it is too long, or the dialect refuses it."""
        if self.state is _LIVE or self.state is _OPENING:  # rule 1
            if len(message) > self._max_text_bytes and not self.dialect.is_audio(message):  # rule 4
                raise TooLong("media.max_text_bytes", f"a text without audio is at most {self._max_text_bytes} bytes")
            return self.dialect.text(message)
        return ()

    def deliver(self, event: Event, arrival_us: int) -> None:
        """Pass an event on; raise PeerError if it is refused, InternalError if the dialect is wrong."""
        if self.state > State.LIVE:  # rule 1
            return
        if type(event) is Ignored:
            self._ignore(event.reason)
        elif type(event) is Detected:
            self.dialect = event.dialect
        elif type(event) is Refused:
            raise event.error
        elif type(event) is Reply:  # its peer is gone
            return
        elif type(event) is StreamStarted:
            self._start(event)
        elif self.sink is None:
            raise InternalError(f"the dialect {self.dialect.name} gave {type(event).__name__} before the start")
        elif type(event) is Frame:
            self.frames += event.messages
            self.received_bytes += len(event.payload)
            self.sink.frame(event, arrival_us)
        else:
            self.sink.event(event, arrival_us)
            if type(event) is StreamStopped and self.state is State.LIVE:
                self.end(State.STOPPED, clean=True, arrival_us=arrival_us)

    def enter(self, state: State) -> None:
        """Go on to a state further down the table, never back; nothing is delivered from now on."""
        self.state = max(self.state, state)
        self.sink = self._handle = None

    def end(self, state: State, *, clean: bool, arrival_us: int) -> None:
        """Go on to a state in which the sink has been told of the end, and tell it, if that was not done yet."""
        try:
            if self.state <= State.LIVE:  # rule 3
                self._take_pending(arrival_us)
        finally:
            self.enter(state)
            sink, self._untold = self._untold, None  # rule 2
            if sink is not None:
                self._endpoint.quotas.streams.remove(self._app_id)
                sink.closed(clean, arrival_us)

    def write_now(self) -> None:
        """Have what came be written without waiting for its turn: it is much."""
        if self.sink is not None and self.started is not None and self.started.session_id is not None:
            self._endpoint.sessions.write_now(self._app_id, self.started.session_id)

    def deliver_frames(self, frames: list[Frame], arrival_us: int) -> None:
        """Pass frames of one read on, those that follow each other as one."""
        sink = self.sink
        if sink is None:
            return
        for frame in joined(frames) if len(frames) > 1 and self._joins else frames:
            self.frames += frame.messages
            self.received_bytes += len(frame.payload)
            sink.frame(frame, arrival_us)

    def newest_frame_samples(self) -> int:
        """Return the samples of each channel in the newest frame; 0: there is none."""
        return 0 if self.sink is None else self.sink.frame_samples

    def count(self, arrival_us: int) -> None:
        """Bring the counters of all streams up to date; ``arrival_us``: when the newest of what came was read."""
        counters = self._endpoint.counters
        if self.received_bytes:
            self._endpoint.quotas.media.add(self._app_id, self.received_bytes, arrival_us / 1e6)
        counters.frames += self.frames
        counters.received_bytes += self.received_bytes
        self.frames = self.received_bytes = 0

    def tell_failed(self, code: int, error: Exception) -> None:
        """Tell the log of a stream that fails by our fault, or the machine's, unless many do."""
        if self._endpoint.refusal_log.tells(f"media_stream_failed {self.dialect.name}"):
            peer = self.peer
            log.error(
                "media_stream_failed",
                dialect=self.dialect.name,
                code=code,
                session_id=peer.session_id,
                app_id=self._app_id,
                leg=peer.leg,
                exc_info=error,
            )

    def tell_refused(self, code: int, reason: str) -> None:
        """Tell the log of a stream that ends by its peer's fault, unless many do."""
        if self._endpoint.refusal_log.tells(f"media_stream_refused {self.dialect.name} {code}"):
            peer = self.peer
            log.info(
                "media_stream_refused",
                dialect=self.dialect.name,
                address=peer.address,
                session_id=peer.session_id,
                app_id=self._app_id,
                leg=peer.leg,
                code=code,
                reason=reason,
            )

    def _start(self, started: StreamStarted) -> None:
        if started.session_id is None:
            raise BadParameter("session_id", "missing; put it into the path, or into the first message")
        self._endpoint.boundary.check_here(started.session_id)
        self.started = started
        endpoint, handle, now_us = self._endpoint, self._handle, self._endpoint.now_us()
        assert handle is not None
        if endpoint.sessions.awaits(started, app_id=self._app_id, handle=handle):
            endpoint.quotas.streams.add(self._app_id)
        else:
            endpoint.quotas.take_stream(self._app_id, now_us / 1e6)
        self._joins = endpoint.limits.reads_at_visits and started.clock is not TrackClock.ARRIVAL
        self.state = State.LIVE  # the session may use the handle at once: play a tone, pause, or close
        try:
            sink = endpoint.sessions.open_stream(started, app_id=self._app_id, handle=handle, now_us=now_us)
        except BaseException:
            endpoint.quotas.streams.remove(self._app_id)
            endpoint.boundary.refused(started.session_id)
            raise
        self._untold = sink
        if self.state is State.LIVE:
            self.sink = sink
        endpoint.counters.streams_opened += 1
        endpoint.counters.spoken[self.dialect.name] += 1

    def _take_pending(self, arrival_us: int) -> None:
        """Deliver what the dialect held back."""
        try:
            for event in self.dialect.ended():
                self.deliver(event, arrival_us)
        except PeerError as error:
            if not self._endpoint.refusal_log.tells(f"media_stream_too_short {self.dialect.name}"):
                return
            peer = self.peer
            log.info(
                "media_stream_too_short",
                dialect=self.dialect.name,
                address=peer.address,
                session_id=peer.session_id,
                app_id=self._app_id,
                leg=peer.leg,
                reason=str(error),
            )

    def _ignore(self, reason: Reason) -> None:
        """Count an ignored message each time, and log the explanation once a stream, unless many streams need it."""
        self._endpoint.counters.ignored[reason] += 1
        if reason in self._explained:
            return
        self._explained.add(reason)
        if self._endpoint.refusal_log.tells(f"media_message_ignored {self.dialect.name} {reason.value}"):
            peer = self.peer
            log.warning(
                "media_message_ignored",
                dialect=self.dialect.name,
                session_id=peer.session_id,
                app_id=self._app_id,
                leg=peer.leg,
                reason=reason.value,
                explanation=reason.explanation,
            )
