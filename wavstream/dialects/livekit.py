"""LiveKit's egress of a track to a WebSocket: samples, and nothing that says what they are.

Source: ``livekit/egress``, ``pkg/pipeline/sink/websocket.go`` and ``pkg/pipeline/builder/audio.go``; docs.livekit.io.

1. The ids of room and participant are in the URL that the egress was asked to open, and nowhere else. So the stream
   starts with the upgrade.
2. The audio is 48 kHz, and although it is one track, it has two channels that are nearly always the same
   (livekit/egress#871). They are two sides of one party, not two parties: their mean is kept. ``channels=1`` is for
   versions that send one.
3. A muted track goes on as silence, since the egress mixes it with a source of silence. What it says of the mute
   (``{"muted": true}``) is no wish to pause a recording.
4. It answers a PING with a PONG that has not the PING's payload, which is no answer, and v1.9 does not answer at all.
   It sends PINGs of its own every 30 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import Event, Frame, Ignored, Reason, StreamStarted
from wavstream.dialects.identity import named_track
from wavstream.dialects.samples import SampleDialect
from wavstream.dialects.stream_metadata import StreamMetadata
from wavstream.model.audio import Codec, MediaFormat, Track

_DEFAULTS = {"rate": "48000", "channels": "2"}


class LiveKitDialect(SampleDialect):
    """The dialect of one track."""

    name: ClassVar[str] = "livekit"
    server_pings: ClassVar[bool] = False
    is_plain: ClassVar[bool] = False
    """Its messages are twice what is kept of them."""
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the egress",
        rate="rate in the URL",
        little_endian="byteorder=little in the URL",
        big_endian="byteorder=big in the URL",
        channels="channels in the URL",
    )

    __slots__ = ("_channels", "_metadata", "_request", "_samples")

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._request = request
        defaults = _DEFAULTS | dict(request.defaults)
        if not {"mix", "channels"}.isdisjoint(request.query):
            del defaults["channels"]
        self._metadata = StreamMetadata(msgspec.structs.replace(request, defaults=defaults))
        self._channels = 2
        self._samples = "<i2"

    def opened(self) -> Sequence[Event]:
        """Return the start (rule 1); raise BadParameter if the URL is wrong."""
        return self._start({})

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return a frame of one channel (rule 2)."""
        events = super().binary(payload, messages)
        if self._channels == 1 or not events:
            return events
        return [self._mean(event) if isinstance(event, Frame) else event for event in events]

    def _mean(self, frame: Frame) -> Frame:
        both = np.frombuffer(frame.payload, self._samples).reshape(-1, 2)
        mean = (both.sum(axis=1, dtype=np.int32) >> 1).astype(self._samples)
        return Frame(frame.track, frame.position, frame.samples, mean.tobytes(), frame.messages)

    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        # What stands in the URL beside our parameters are ids of the customer.
        started = self._metadata.read(self._request.query)
        self._channels = started.format.channels
        self._samples = "<i2" if started.format.codec is Codec.L16 else ">i2"
        return msgspec.structs.replace(
            started,
            format=MediaFormat(codec=started.format.codec, rate_hz=started.format.rate_hz),
            tracks=(named_track(self._request) or Track.INBOUND,),
            accepts_audio=False,  # an egress only sends
            playback=None,
            returns_audio=False,
        )

    def _message_step_bytes(self, started: StreamStarted) -> int:
        return started.format.step_bytes * self._channels

    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        return () if isinstance(fields.get("muted"), bool) else (Ignored(Reason.UNKNOWN_EVENT),)  # rule 3
