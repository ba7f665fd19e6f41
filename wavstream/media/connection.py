"""A media WebSocket from its upgrade to its end: read what arrives, send what is due, arm the timers.

The path of a frame is ``data_received``, and each hop of it is a call by name::

    FrameReader.feed -> MediaStream.receive_binary -> Dialect.binary -> MediaStream.deliver_frames -> StreamSink.frame

How a stream ends; its states are those of ``media_stream``:

- The peer closes, or is lost: ENDED, and the sink learns of it at once.
- Something goes wrong (an error of the dialect or the session, a broken frame, a limit): FAILED. The sink learns of it
  at once, the peer gets a close frame and the end of our side, and what it still sends is thrown away until it is gone.
- The session or a shutdown closes: CLOSING. Nothing more is passed on, and the sink learns of it when the peer has
  answered or is lost.
- The dialect says that the stream stopped: STOPPED. The sink learns of it at once, and the peer may close by itself.

None of them waits for longer than ``close_timeout_s``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from websockets.server import ServerProtocol

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import Event, Frame, Reply, StreamStarted, StreamStopped
from wavstream.errors import LimitReached
from wavstream.media.closing import (
    ABNORMAL,
    NO_PONG,
    NORMAL,
    SERVICE_RESTART,
    Closing,
    closing_for,
    counted_code,
    fitting_reason,
    is_hang_up,
)
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.low_water import LowWater
from wavstream.media.media_stream import MediaStream, State
from wavstream.media.playback import Playback
from wavstream.media.reader import BINARY, TEXT, FrameReader, Kind
from wavstream.media.request import Peer
from wavstream.media.watchdog import StreamWatchdog
from wavstream.media.wire import Wire
from wavstream.sessions.reading import LATE_US
from wavstream.workers.boundary import Elsewhere, MovedMeanwhile

_LATE_S = LATE_US / 1e6

log = structlog.get_logger(__name__)


class MediaConnection(asyncio.Protocol):
    """One open media WebSocket, and the handle that its session has of it."""

    def __init__(
        self,
        endpoint: MediaEndpoint,
        *,
        transport: asyncio.Transport,
        core: ServerProtocol,
        dialect: Dialect,
        app_id: str,
        peer: Peer,
        token_session: str | None,
        ping_interval_s: float | None = None,
        connections: set[Any],
    ) -> None:
        """Take the place of a handshake; ``token_session``: what its token is for, if that is one session.

        ``ping_interval_s``: 0: no PING is sent; None: as for all streams, if the dialect's peers take one.
        """
        self._endpoint = endpoint
        self._limits = endpoint.limits
        self._transport = transport
        self._core = core
        self._wire = Wire(core, transport)
        self._app_id = app_id
        self._token_session = token_session
        self._ping_interval_s = endpoint.limits.ping_interval_s if ping_interval_s is None else ping_interval_s
        self._is_told_to_ping = ping_interval_s is not None
        self._connections = connections
        self.hand_over: Callable[[int], LimitReached | None] | None = None
        """Hands the socket to a worker, or returns why not; while it is not known whose the stream is."""
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(core, max_message_bytes=endpoint.limits.max_message_bytes)
        self.stream = MediaStream(endpoint, dialect=dialect, app_id=app_id, handle=self, peer=peer)
        """Whose state says how far it is."""
        self._playback = Playback(endpoint, transport=transport, stream=self.stream)
        self._low_water = LowWater(transport, is_on=endpoint.limits.reads_at_visits, now_us=endpoint.now_us())
        self._watchdog = StreamWatchdog(endpoint.limits)
        self._control_frames = self._received_bytes = 0
        """Of the socket, whatever they mean."""
        self._waited_s = 0.0
        self._arrival_us = 0
        self._deadline: asyncio.TimerHandle | None = None
        """The next ping, or the end of the closing."""
        self._pong_deadline: asyncio.TimerHandle | None = None
        connections.add(self)
        endpoint.rounds.join(self.look)
        endpoint.counters.open_sockets += 1

    # ---- the socket ------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Send the answer to the upgrade, and let the stream begin; what came before that answer is given next."""
        self._send_core_data()
        if self._ping_interval_s:
            self._arm(self._ping_interval_s, self._ping)
        self._arrival_us = self._endpoint.now_us()
        self._begin(self.stream.opened)

    def data_received(self, data: bytes) -> None:
        """Deliver what one read of the socket gave; the hot path."""
        self._receive(data, self._endpoint.now_us())

    def drain(self, now_us: int) -> int:
        """Deliver what waits below the low-water mark; return when that was done, ``now_us`` or later."""
        for data in self._low_water.waiting(now_us, self._arrival_us):
            # Some of it may have come since ``now_us``, where another program had the core: no delay may be too small.
            now_us = max(now_us, self._endpoint.now_us())
            self._receive(data, now_us)
        return now_us

    def is_stale(self, now_us: int) -> bool:
        """Return whether nothing was read for so long that something waits too long."""
        return now_us - self._arrival_us >= self._low_water.stale_us

    def _receive(self, data: bytes, arrival_us: int) -> None:
        self._arrival_us = arrival_us
        stream = self.stream
        frames: list[Frame] = []
        try:
            try:
                for kind, payload, messages in self._reader.feed(data):
                    if kind is BINARY:
                        events = stream.receive_binary(payload, messages)
                    elif kind is TEXT:
                        events = stream.receive_text(payload)
                    else:
                        before, frames = frames, []
                        stream.deliver_frames(before, arrival_us)
                        self._take_control(kind)
                        continue
                    for event in events:
                        if type(event) is Frame and stream.sink is not None:
                            frames.append(event)
                        else:
                            before, frames = frames, []  # none is passed on twice, also where one is refused
                            stream.deliver_frames(before, arrival_us)
                            self._deliver(event)
            finally:
                if frames:
                    stream.deliver_frames(frames, arrival_us)
        except Exception as error:  # noqa: BLE001 - logged there
            self._fail(error)
        self._received_bytes += len(data)
        watchdog = self._watchdog
        if self._reader.frames > watchdog.frames_ceiling or self._received_bytes > watchdog.bytes_ceiling:
            self._fail_if_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream, if it has not ended: the socket is gone."""
        self.end()
        closed = self._core.close_sent or self._core.close_rcvd
        self._endpoint.counters.closed[ABNORMAL if closed is None else counted_code(closed.code)] += 1
        self.leave()

    def end(self) -> None:
        """End the stream, if it has not ended: the peer is gone."""
        self._arrival_us = self._endpoint.now_us()
        self._end(State.ENDED)

    def leave(self) -> None:
        """Count the socket no more, and stop the clocks; without effect the second time."""
        if self not in self._connections:
            return
        self._disarm()
        self._endpoint.rounds.leave(self.look)
        self.stream.count(self._arrival_us)
        self._endpoint.counters.open_sockets -= 1
        self._endpoint.quotas.leave_socket(self._app_id, self._token_session)
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Close the stream: uvicorn stops, and waits for it."""
        self.close(SERVICE_RESTART, "service restart")

    def _begin(self, events: Callable[[], Sequence[Event]]) -> None:
        try:
            for event in events():
                self._deliver(event)
        except Exception as error:  # noqa: BLE001 - logged there
            self._fail(error)

    def _deliver(self, event: Event) -> None:
        if type(event) is Reply:
            self._wire.say(event.message, waits=self.hand_over is not None)  # rule 5 of opening
            return
        self.stream.deliver(event, self._arrival_us)
        if type(event) is StreamStarted:
            self._reader.step_bytes = self.stream.step_to_join
        elif type(event) is StreamStopped and self.stream.state is State.STOPPED:
            self._stop_media()
            self._arm(self._limits.close_timeout_s, lambda: self.close(NORMAL, "stopped"))  # it may close by itself

    # ---- the handle ------------------------------------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """The name of the stream's dialect."""
        return self.stream.dialect.name

    @property
    def heard_us(self) -> int:
        """When the socket was read last, for anything at all."""
        return self._arrival_us

    @property
    def takes_audio(self) -> bool:
        """Whether the peer plays what it is sent."""
        return self._playback.is_possible

    def play(self, samples: NDArray[np.int16], *, after: bool = False) -> None:
        """Play a sound to the peer."""
        self._playback.play(samples, after=after)

    def keep_alive(self, on: bool) -> None:
        """Start or stop sending silence."""
        self._playback.keep_alive(on)

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel."""
        if self.stream.state is State.LIVE:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """End the stream with a close handshake."""
        if not self._wire.is_open or self._transport.is_closing():
            return
        self._wire.say(self.stream.dialect.farewell(code, reason))
        self.stream.enter(State.CLOSING)
        self._stop_media()
        self._core.send_close(code, fitting_reason(reason))
        self._send_core_data()
        self._arm(self._limits.close_timeout_s, self._transport.abort)

    # ---- ends ------------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Elsewhere):
            refused = MovedMeanwhile() if self.hand_over is None else self.hand_over(error.worker)
            if refused is None:
                self.stream.enter(State.ENDED)
                return
            error = refused
        closing = closing_for(error)
        if closing.ours:
            self.stream.tell_failed(closing.code, error)
        self._fail_with(closing)

    def _fail_with(self, closing: Closing) -> None:
        if self.stream.state >= State.FAILED:
            return
        if self._wire.is_open:
            self._wire.say(self.stream.dialect.farewell(closing.code, closing.reason))
            self.stream.tell_refused(closing.code, closing.reason)
        self.stream.enter(State.FAILED)  # before its end: rule 3 of media_stream
        self._reader.discard()
        self._core.fail(closing.code, closing.reason)
        self._end(State.FAILED)
        self._send_core_data()

    def _fail_if_over(self) -> None:
        closing = self._watchdog.over(
            frames=self._reader.frames, received_bytes=self._received_bytes, controls=self._control_frames
        )
        if closing is not None:
            self._fail_with(closing)
        else:
            self.stream.write_now()

    def _end(self, state: State) -> None:
        """Tell the session that its stream is over, if it was not told yet."""
        sent = self._core.close_sent  # the peer's code, where we only answered
        clean = is_hang_up(None if sent is None else sent.code, by_peer=bool(self._core.close_rcvd_then_sent))
        try:
            self.stream.end(state, clean=clean, arrival_us=self._arrival_us)
        except Elsewhere as elsewhere:
            self._fail(elsewhere)
        except Exception:
            peer = self.stream.peer
            log.exception(
                "media_stream_end_failed", dialect=self.dialect, session_id=peer.session_id, app_id=self._app_id
            )
        self._stop_media()

    def _stop_media(self) -> None:
        """Send no audio any more, and read on for the peer's close frame if reading was paused."""
        self._playback.stop()
        self._low_water.drop()
        self.resume_reading()

    # ---- the core --------------------------------------------------------------------------------------------------

    def _take_control(self, kind: Kind) -> None:
        """Take a control frame, or the core's word that the peer broke the protocol, and send the core's answer."""
        self._control_frames += 1
        if self._control_frames > self._watchdog.controls_ceiling:
            self._fail_if_over()
            return
        if kind is Kind.PONG and self._pong_deadline is not None:
            self._arm(self._ping_interval_s, self._ping)
        elif kind in (Kind.CLOSE, Kind.BROKEN):
            self._end(State.ENDED if kind is Kind.CLOSE else State.FAILED)
        self._send_core_data()

    def _send_core_data(self) -> None:
        """Send what the core has to say; if our side ends with it, the peer's is waited for, and not for long."""
        if self._wire.flush():
            self._arm(self._limits.close_timeout_s, self._transport.abort)

    # ---- time ------------------------------------------------------------------------------------------------------

    def _arm(self, delay_s: float, due: Callable[[], None]) -> None:
        """Set the deadline: there is one at any moment, for the next ping, its pong, or the end of the closing."""
        self._disarm()
        self._deadline = self._loop.call_later(delay_s, due)

    def _disarm(self) -> None:
        for deadline in (self._deadline, self._pong_deadline):
            if deadline is not None:
                deadline.cancel()
        self._deadline = self._pong_deadline = None

    def _ping(self) -> None:
        if not (self._is_told_to_ping or self.stream.dialect.server_pings):
            self._arm(self._ping_interval_s, self._ping)
            self._wire.say(self.stream.dialect.probe())  # its answer is heard: a call that is on hold is no orphan
            return
        self._core.send_ping(b"wavstream")
        self._await_pong()
        self._send_core_data()

    def _await_pong(self) -> None:
        self._disarm()
        due = self._loop.time() + self._limits.ping_timeout_s
        self._pong_deadline = self._loop.call_at(due, self._miss_pong, due)

    def _miss_pong(self, due: float) -> None:
        # A loop that stood still runs its timers before it reads: the pong may be in the kernel.
        is_on_time = self._loop.time() - due < _LATE_S
        awaited = self._pong_deadline
        self.drain(self._endpoint.now_us())  # or it is below the mark
        if self._pong_deadline is not awaited:
            return
        if self._transport.is_reading() and is_on_time:
            self._fail_with(NO_PONG)
        else:  # it is we who do not read
            self._await_pong()

    def look(self) -> None:
        """Look at what came since the last time."""
        self.stream.count(self._arrival_us)
        self._low_water.look(
            messages=self._reader.frames - self._control_frames,
            received_bytes=self._received_bytes,
            read_us=self._arrival_us,
            may_wait=self.stream.may_wait,
        )
        closing = self._watchdog.look(
            frames=self._reader.frames,
            received_bytes=self._received_bytes,
            controls=self._control_frames,
            reading=self._transport.is_reading(),
            opening=self.stream.state is State.OPENING,
            unfinished=self._reader.unfinished(),
        )
        if closing is not None and self.stream.state in (State.OPENING, State.LIVE):
            self._fail_with(closing)
        elif self.stream.state is State.OPENING and self._reader.frames > self._control_frames:
            self._wait_for_start()

    def _wait_for_start(self) -> None:
        """Let the dialect start with what it knows, once it has waited for as long as it may."""
        before_s, self._waited_s = self._waited_s, self._waited_s + self._limits.watch_interval_s
        if before_s < self._limits.early_audio_s <= self._waited_s:
            self._begin(self.stream.waited)
