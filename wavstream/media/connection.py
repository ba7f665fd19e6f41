"""A media WebSocket from its upgrade to its end: feed what arrives, send what is due, arm the timers.

How a stream ends:

- The peer closes, or is lost: the sink learns of it at once.
- Something goes wrong (an error of the dialect or the session, a broken frame, a limit): the sink learns of it at once,
  the peer gets a close frame and the end of our side, and what it still sends is thrown away until it is gone.
- The session or a shutdown closes: nothing more is passed on, and the sink learns of it when the peer has answered or
  is lost.
- The dialect says that the stream stopped: the sink learns of it at once, and the peer may close by itself.

None of them waits for longer than ``close_timeout_s``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from wavstream.dialects.base import Dialect
from wavstream.dialects.events import StreamStarted
from wavstream.media.audio_sender import AudioSender
from wavstream.media.closing import (
    ABNORMAL,
    CLEAN_CODES,
    FRAME_RATE,
    NO_PONG,
    NORMAL,
    SERVICE_RESTART,
    Closing,
    closing_for,
    fitting_reason,
)
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.media_stream import MediaStream
from wavstream.media.reader import FrameReader
from wavstream.media.stream import StreamSink
from wavstream.media.watchdog import TICK_S, StreamWatchdog

_MAX_UNSENT_BYTES = 64 * 1024
"""Four seconds of 8 kHz L16: a peer that is behind by more does not play what we send."""
_MAX_STUCK_BYTES = 1024 * 1024
"""A peer that is behind by more, with pongs, never reads at all."""

_log = structlog.get_logger(__name__)


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
        connections: set[Any],
    ) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._core = core
        self._dialect = dialect
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._now_us = endpoint.now_us

        self._speaker: AudioSender | None = None

        def open_stream(started: StreamStarted) -> StreamSink:
            if started.accepts_audio:
                self._speaker = AudioSender(dialect, started, self._send_audio, self._intake.frame_samples)
            return endpoint.open_stream(started, self, app_id)

        self._intake = MediaStream(
            dialect=dialect, open_stream=open_stream, on_stopped=self._stopped, counters=endpoint.counters
        )
        self._reader = FrameReader(
            core,
            max_message_bytes=endpoint.limits.max_message_bytes,
            on_text=self._intake.text,
            on_binary=self._intake.binary,
            on_control=self._control,
            on_core=self._core_was_fed,
        )
        self._feed = self._reader.feed
        self._watch = StreamWatchdog(endpoint.limits)
        self._control_frames = 0
        self._sending = True
        self._paused = False
        self._awaits_pong = False
        self._closes_clean = False
        self._deadline: asyncio.TimerHandle | None = None
        self._tick_timer = self._loop.call_later(TICK_S, self._tick)
        connections.add(self)
        endpoint.counters.open_sockets += 1

    # ---- the socket ------------------------------------------------------------------------------------------------

    def opened(self, early: bytes) -> None:
        """The upgrade is accepted: let the core's answer out, then the stream begins. ``early``: came before that."""
        self._core_was_fed()
        if self._dialect.server_pings:
            self._arm(self._endpoint.limits.ping_interval_s, self._ping)
        self._intake.arrival_us = self._now_us()
        try:
            self._intake.opened()
        except Exception as error:  # noqa: BLE001 - logged there
            self._fail(error)
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """What one read gave; the hot path."""
        self._intake.arrival_us = self._now_us()
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - logged there
            self._fail(error)
        if self._reader.frames > self._watch.ceiling:
            self._fail_with(FRAME_RATE)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._intake.arrival_us = self._now_us()
        self._end(clean=self._closes_clean)
        if self._deadline is not None:
            self._deadline.cancel()
        self._tick_timer.cancel()
        self._intake.count()
        closed = self._core.close_sent or self._core.close_rcvd
        self._endpoint.counters.closed[ABNORMAL if closed is None else int(closed.code)] += 1
        self._endpoint.counters.open_sockets -= 1
        self._connections.discard(self)

    def shutdown(self) -> None:
        """uvicorn stops; it waits until this connection has left its set."""
        self.close(SERVICE_RESTART, "service restart")

    # ---- the handle ------------------------------------------------------------------------------------------------

    @property
    def dialect(self) -> str:
        """The name of the stream's dialect."""
        return self._dialect.name

    def play(self, samples: NDArray[np.int16]) -> None:
        """Play a sound to the peer."""
        if self._sending and self._speaker is not None:
            self._speaker.play(samples)
            self._endpoint.playout.start(self._speaker)

    def keep_alive(self, on: bool) -> None:
        """Start or stop sending silence."""
        if self._sending and self._speaker is not None:
            self._speaker.keep_alive(on)
            if on:
                self._endpoint.playout.start(self._speaker)

    def pause_reading(self) -> None:
        """Let what arrives wait in the kernel."""
        if self._sending:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """End the stream with a close handshake."""
        if self._core.state is not OPEN or self._transport.is_closing():
            return
        self._closes_clean = code in CLEAN_CODES
        self._intake.mute()
        self._stop_stream()
        self._core.send_close(code, fitting_reason(reason))
        self._core_was_fed()
        self._arm(self._endpoint.limits.close_timeout_s, self._transport.abort)

    def _send_audio(self, frames: bytes) -> None:
        """Late audio is of no use, so it is dropped while the peer does not read."""
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._endpoint.counters.unsent += 1
        else:
            self._transport.write(frames)

    # ---- ends ------------------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        closing = closing_for(error)
        if closing.ours:
            _log.error("media_stream_failed", dialect=self.dialect, code=closing.code, exc_info=error)
        self._fail_with(closing)

    def _fail_with(self, closing: Closing) -> None:
        if self._core.state is OPEN:
            _log.info("media_stream_refused", dialect=self.dialect, code=closing.code, reason=closing.reason)
        self._reader.discard()
        self._intake.mute()
        self._core.fail(closing.code, closing.reason)
        self._core_was_fed()

    def _stopped(self) -> None:
        """The dialect said so: the peer has a moment to close by itself."""
        self._stop_stream()
        self._arm(self._endpoint.limits.close_timeout_s, lambda: self.close(NORMAL, "stopped"))

    def _end(self, *, clean: bool) -> None:
        self._stop_stream()
        try:
            self._intake.end(clean=clean)
        except Exception:  # noqa: BLE001 - with its traceback
            _log.exception("media_stream_end_failed", dialect=self.dialect)

    def _stop_stream(self) -> None:
        """No media any more, in either direction; control frames go on."""
        self._reader.mute()
        if self._speaker is not None:
            self._endpoint.playout.stop(self._speaker)
        self.resume_reading()
        self._sending = False

    # ---- the core --------------------------------------------------------------------------------------------------

    def _control(self, frame: Frame) -> None:
        self._control_frames += 1
        if frame.opcode is Opcode.PONG and self._awaits_pong:
            self._awaits_pong = False
            self._arm(self._endpoint.limits.ping_interval_s, self._ping)
        elif frame.opcode is Opcode.CLOSE:
            closed = self._core.close_sent
            self._end(clean=closed is not None and closed.code in CLEAN_CODES)

    def _core_was_fed(self) -> None:
        """Let out what the core wants to send; an empty write of it means that our side ends."""
        if self._transport.is_closing():
            return
        for chunk in self._core.data_to_send():
            if chunk:
                self._transport.write(chunk)
            else:
                self._hang_up()
        if self._transport.get_write_buffer_size() > _MAX_STUCK_BYTES:
            self._transport.abort()

    def _hang_up(self) -> None:
        """End our side, after a close handshake or without one.

        A peer that has not closed must get to read our close frame. Closing the socket now would make the kernel
        answer what the peer still sends with a reset, and throw the frame away; so its bytes are read and dropped.
        """
        self._end(clean=self._closes_clean)
        self._arm(self._endpoint.limits.close_timeout_s, self._transport.abort)
        if self._core.close_rcvd is None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # ---- time ------------------------------------------------------------------------------------------------------

    def _arm(self, delay_s: float, due: Callable[[], None]) -> None:
        """There is one deadline at any moment: the next ping, its pong, or the end of the closing."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(delay_s, due)

    def _ping(self) -> None:
        self._awaits_pong = True
        self._core.send_ping(b"wavstream")
        self._arm(self._endpoint.limits.ping_timeout_s, self._miss_pong)
        self._core_was_fed()

    def _miss_pong(self) -> None:
        if self._paused:
            # The pong may have arrived: it is we who do not read.
            self._arm(self._endpoint.limits.ping_timeout_s, self._miss_pong)
        else:
            self._fail_with(NO_PONG)

    def _tick(self) -> None:
        """Once a second, so that no frame costs a look at the clock."""
        self._tick_timer = self._loop.call_later(TICK_S, self._tick)
        self._intake.count()
        messages = self._reader.frames - self._control_frames
        closing = self._watch.tick(frames=self._reader.frames, messages=messages, reading=not self._paused)
        if closing is not None and self._sending:
            self._fail_with(closing)
