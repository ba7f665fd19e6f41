"""What the session of a stream plays to its peer: made when something is played first, and over with the stream."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from wavstream.media.audio_sender import AudioSender
from wavstream.media.endpoint import MediaEndpoint
from wavstream.media.media_stream import MediaStream, State

_MAX_UNSENT_BYTES = 64 * 1024
"""Four seconds of 8 kHz L16: a peer that is behind by more does not play what we send."""


class Playback:
    """The audio of one stream to its peer, in turns of the pacer."""

    __slots__ = ("_endpoint", "_sender", "_stream", "_transport")

    def __init__(self, endpoint: MediaEndpoint, *, transport: asyncio.Transport, stream: MediaStream) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._stream = stream
        self._sender: AudioSender | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the peer plays what it is sent, now."""
        return self._live_sender() is not None

    def play(self, samples: NDArray[np.int16], *, after: bool = False) -> None:
        """Play a sound, mono samples (n,) of the stream's rate; ``after``: behind what is played, else in place."""
        sender = self._live_sender()
        if sender is not None:
            sender.play(samples, after=after)
            self._endpoint.pacer.start(sender)

    def keep_alive(self, on: bool) -> None:
        """Start or stop sending silence."""
        sender = self._live_sender()
        if sender is not None:
            sender.keep_alive(on)
            if on:
                self._endpoint.pacer.start(sender)

    def stop(self) -> None:
        """Send no audio any more."""
        if self._sender is not None:
            self._endpoint.pacer.stop(self._sender)
            self._sender = None  # it holds us: a ring would be left for the collector

    def _live_sender(self) -> AudioSender | None:
        """Return what plays to the peer; None where the peer takes no audio, or none any more."""
        started = self._stream.started
        if self._stream.state is not State.LIVE or started is None or not started.accepts_audio:
            return None
        if self._sender is None:
            self._sender = AudioSender(self._stream.dialect, started, self._send, self._stream.newest_frame_samples)
        return self._sender

    def _send(self, frames: bytes) -> None:
        """Send audio, or drop it while the peer does not read: late audio is of no use."""
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._endpoint.counters.unsent += 1
        else:
            self._transport.write(frames)
