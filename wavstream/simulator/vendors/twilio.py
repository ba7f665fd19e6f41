"""Twilio's side of Media Streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.model.ids import new_id
from wavstream.simulator.vendors.base import AnyCodec, Message, StreamDescription
from wavstream.simulator.vendors.json_media import JsonPeer

_ENCODINGS = {Codec.PCMU: "audio/x-mulaw", Codec.PCMA: "audio/x-alaw", Codec.L16: "audio/x-l16"}


class TwilioPeer(JsonPeer):
    """Sends what Twilio sends, and the codecs of clones too."""

    dialect: ClassVar[str] = "twilio"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        self.stream_id = f"MZ{new_id()}"

    @property
    def call_id(self) -> str:
        """What Twilio calls the call of this leg."""
        return f"CA-{self.stream.leg}"

    def opening(self) -> list[Message]:
        """Return ``connected`` and ``start``; the parameters are custom parameters, as Twilio sends no query."""
        stream = self.stream
        assert isinstance(stream.codec, Codec)
        start = {
            "streamSid": self.stream_id,
            "accountSid": "AC00000000000000000000000000000001",
            "callSid": self.call_id,
            "tracks": self.tracks,
            "customParameters": dict(stream.parameters),
            "mediaFormat": {"encoding": _ENCODINGS[stream.codec], "sampleRate": stream.rate_hz, "channels": 1},
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [self.text(connected), self._numbered("start", start)]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose numbers are texts."""
        media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp_ms), "payload": payload}
        return self._numbered("media", media)

    def mark(self, name: str) -> str:
        """Return the echo of a mark."""
        return self._numbered("mark", {"name": name})

    def closing(self) -> list[Message]:
        """Return ``stop``."""
        return [self._numbered("stop", {"callSid": self.call_id})]

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        number = str(self.next_number())
        return self.text({"event": event, "sequenceNumber": number, "streamSid": self.stream_id, event: fields})
