"""Messages of one stream, through its dialect, to its sink."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import Event, Frame, Ignored, Reason, StreamStarted, StreamStopped
from wavstream.errors import BadParameter, InternalError, PeerError
from wavstream.media.counters import MediaCounters
from wavstream.media.stream import StreamSink

_log = structlog.get_logger(__name__)


class MediaStream:
    """Takes whole messages. Before the stream has introduced itself there is no sink; after its end all is dropped."""

    __slots__ = (
        "_counters",
        "_dialect",
        "_explained",
        "_frame",
        "_frames",
        "_muted",
        "_on_stopped",
        "_open_stream",
        "_read_binary",
        "_read_text",
        "_received_bytes",
        "_session_id",
        "_sink",
        "arrival_us",
    )

    def __init__(
        self,
        *,
        dialect: Dialect,
        open_stream: Callable[[StreamStarted], StreamSink],
        on_stopped: Callable[[], None],
        counters: MediaCounters,
    ) -> None:
        self._dialect = dialect
        self._open_stream = open_stream
        self._on_stopped = on_stopped
        self._counters = counters
        self._sink: StreamSink | None = None
        self._session_id: str | None = None
        self._explained: set[Reason] = set()
        self._muted = False
        self._read_binary = dialect.binary
        self._read_text = dialect.text
        self._frame: Callable[[Frame, int], None] = _too_early
        self.arrival_us = 0
        """When the read of the socket was made that is being worked on; set by its owner."""
        self._frames = 0
        self._received_bytes = 0

    def opened(self) -> None:
        """The upgrade is done; raises PeerError."""
        for event in self._dialect.opened():
            self._take(event)

    def text(self, message: bytes) -> None:
        """A whole text message; raises PeerError."""
        self._take_all(self._read_text(message))

    def binary(self, payload: bytes) -> None:
        """A whole binary message; raises PeerError."""
        self._take_all(self._read_binary(payload))

    def count(self) -> None:
        """Bring the counters of all streams up to date."""
        self._counters.frames += self._frames
        self._counters.received_bytes += self._received_bytes
        self._frames = self._received_bytes = 0

    def frame_samples(self) -> int:
        """Samples of each channel in the newest frame; 0: there is none."""
        return 0 if self._sink is None else self._sink.frame_samples

    def mute(self) -> None:
        """From now on the sink hears of nothing but the end."""
        self._muted = True
        self._frame = _too_late

    def end(self, *, clean: bool) -> None:
        """The stream is over; only the first call counts."""
        if self._sink is None and not self._muted:
            self._take_pending()
        self.mute()
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.closed(clean, self.arrival_us)

    def _take_pending(self) -> None:
        """A stream that is over before it has started may start now."""
        try:
            self._take_all(self._dialect.ended())
        except PeerError as error:
            _log.info("media_stream_too_short", dialect=self._dialect.name, reason=str(error))

    def _take_all(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is Frame:
                self._frames += 1
                self._received_bytes += len(event.payload)
                self._frame(event, self.arrival_us)
            else:
                self._take(event)

    def _take(self, event: Event) -> None:
        """Anything that is not a frame."""
        if self._muted:
            return
        if type(event) is Ignored:
            self._ignore(event.reason)
        elif type(event) is StreamStarted:
            self._start(event)
        elif self._sink is None:
            raise InternalError(f"the dialect {self._dialect.name} gave {type(event).__name__} before the start")
        else:
            self._sink.event(event, self.arrival_us)
            if type(event) is StreamStopped:
                self.end(clean=True)
                self._on_stopped()

    def _ignore(self, reason: Reason) -> None:
        """Counted each time, explained once a stream."""
        self._counters.ignored[reason] += 1
        if reason not in self._explained:
            self._explained.add(reason)
            _log.warning(
                "media_message_ignored",
                dialect=self._dialect.name,
                session_id=self._session_id,
                reason=reason.value,
                explanation=reason.explanation,
            )

    def _start(self, started: StreamStarted) -> None:
        if started.session_id is None:
            raise BadParameter("session_id", "missing; put it into the path, or into the first message")
        self._session_id = started.session_id
        self._sink = self._open_stream(started)
        self._frame = self._sink.frame
        self._counters.streams_opened += 1


def _too_early(frame: Frame, arrival_us: int) -> None:
    raise InternalError("a dialect gave a frame before the start of its stream")


def _too_late(frame: Frame, arrival_us: int) -> None:
    """A frame of a stream that is over."""
