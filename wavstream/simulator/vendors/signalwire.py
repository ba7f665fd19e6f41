"""SignalWire's side of its streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec, PacketCodec
from wavstream.simulator.vendors.base import AnyCodec, Message
from wavstream.simulator.vendors.json_media import JsonPeer

_ENCODINGS: Mapping[AnyCodec, str] = {
    Codec.PCMU: "audio/x-mulaw",
    Codec.L16: "audio/x-L16",
    Codec.PCMA: "audio/x-alaw",
    PacketCodec.G722: "audio/g722",
}


class SignalWirePeer(JsonPeer):
    """Sends Twilio's messages, with ids in the start alone."""

    dialect: ClassVar[str] = "signalwire"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)

    def opening(self) -> list[Message]:
        """Return ``connected`` and ``start``; ``customParameters`` only if there are some."""
        stream = self.stream
        rate_hz = stream.rate_hz if isinstance(stream.codec, Codec) else 16_000
        start = {
            "streamSid": self.stream_id,
            "accountSid": "5b9a9c4c-0d7f-4f5e-8c1e-1a2b3c4d5e6f",
            "callSid": self.call_id,
            "tracks": self.tracks,
            "mediaFormat": {"encoding": _ENCODINGS[stream.codec], "sampleRate": rate_hz, "channels": 1},
        }
        if stream.parameters:
            start["customParameters"] = dict(stream.parameters)
        connected = {"event": "connected", "protocol": "Call", "version": "0.2.0"}
        return [self.text(connected), self._numbered("start", start)]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose numbers are texts."""
        media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp_ms), "payload": payload}
        return self._numbered("media", media)

    def mark(self, name: str) -> str:
        """Return the echo of a mark, which has the stream's id: it comes on two-way streams only."""
        return self.text({"event": "mark", "streamSid": self.stream_id, "mark": {"name": name}})

    def closing(self) -> list[Message]:
        """Return ``stop``, which has its number only."""
        return [self.text({"event": "stop", "sequenceNumber": str(self.next_number())})]

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        return self.text({"event": event, "sequenceNumber": str(self.next_number()), event: fields})
