"""Twilio's side of Media Streams."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.model.ids import new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import NUMBERED_QUIRKS, PTIME_MS, AnyCodec, Message, Peer, StreamDescription

_ENCODINGS = {Codec.PCMU: "audio/x-mulaw", Codec.PCMA: "audio/x-alaw", Codec.L16: "audio/x-l16"}


class TwilioPeer(Peer):
    """Sends JSON; two channels are two tracks of one stream. Every connection is a new stream with its own time."""

    dialect: ClassVar[str] = "twilio"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)
    quirks: ClassVar[frozenset[str]] = NUMBERED_QUIRKS

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        assert isinstance(stream.codec, Codec)
        self._codec = stream.codec
        self._stream_sid = f"MZ{new_id()}"
        self._tracks = ("inbound", "outbound")[: stream.channels]
        self._sequence = 0
        self._origin: int | None = None

    def opening(self) -> list[Message]:
        """Return ``connected`` and ``start``; the parameters are custom parameters, as Twilio sends no query."""
        stream = self.stream
        start = {
            "streamSid": self._stream_sid,
            "accountSid": "AC00000000000000000000000000000001",
            "callSid": f"CA-{stream.leg}",
            "tracks": self._tracks,
            "customParameters": dict(stream.parameters),
            "mediaFormat": {"encoding": _ENCODINGS[self._codec], "sampleRate": stream.rate_hz, "channels": 1},
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._numbered("start", start)]

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message for each track."""
        if self._origin is None:
            self._origin = first
        timestamp = (first - self._origin) * 1000 // self.stream.rate_hz
        chunk = timestamp // PTIME_MS + 1
        messages: list[Message] = []
        for track, channel in zip(self._tracks, samples.T, strict=True):
            payload = base64.b64encode(encode(channel.copy(), self._codec)).decode()
            media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp), "payload": payload}
            messages.append(self._numbered("media", media))
        return messages

    def closing(self) -> list[Message]:
        """Return ``stop``."""
        return [self._numbered("stop", {"callSid": f"CA-{self.stream.leg}"})]

    def audio_in(self, message: Message) -> bytes:
        """Return the payload of ``media``."""
        fields = json.loads(message)
        return base64.b64decode(fields["media"]["payload"]) if fields["event"] == "media" else b""

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid, event: fields}
        return json.dumps(message, separators=(",", ":"))
