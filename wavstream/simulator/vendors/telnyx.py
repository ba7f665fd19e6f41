"""Telnyx' side of its media streaming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec, PacketCodec
from wavstream.simulator.vendors.base import AnyCodec, Message
from wavstream.simulator.vendors.json_media import JsonPeer

_ENCODINGS: Mapping[AnyCodec, str] = {
    Codec.PCMU: "PCMU",
    Codec.PCMA: "PCMA",
    Codec.L16BE: "L16",
    Codec.L16: "L16",
    PacketCodec.G722: "G722",
    PacketCodec.OPUS: "OPUS",
    PacketCodec.AMR_WB: "AMR-WB",
}


class TelnyxPeer(JsonPeer):
    """Sends RTP payloads in JSON; 16-bit samples in either order, since which is its own is not known."""

    dialect: ClassVar[str] = "telnyx"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)

    def opening(self) -> list[Message]:
        """Return ``connected`` and ``start``, which does not name the tracks."""
        stream = self.stream
        one_track = {"track": self.tracks[0]} if len(self.tracks) == 1 else {}  # of its user, who knows it
        rate_hz = stream.rate_hz if isinstance(stream.codec, Codec) else 48_000 if stream.codec == "opus" else 16_000
        start: dict[str, object] = {
            "user_id": "3e6f995f-85f7-4705-9741-53b116d28237",
            "call_control_id": f"v3:{self.call_id}",
            "call_session_id": stream.session_id,
            "from": None,
            "to": "+4930222",
            "tags": [],
            "client_state": "aGVsbG8=",
            "custom_parameters": {**one_track, **stream.parameters},
            "media_format": {"encoding": _ENCODINGS[stream.codec], "sample_rate": rate_hz, "channels": 1},
        }
        return [self.text({"event": "connected", "version": "1.0.0"}), self._numbered("start", start)]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose numbers are texts."""
        media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp_ms), "payload": payload}
        return self._numbered("media", media)

    def mark(self, name: str) -> str:
        """Return the echo of a mark."""
        return self._numbered("mark", {"name": name})

    def closing(self) -> list[Message]:
        """Return ``stop``."""
        return [self._numbered("stop", {"call_control_id": f"v3:{self.call_id}"})]

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        number = str(self.next_number())
        return self.text({"event": event, "sequence_number": number, "stream_id": self.stream_id, event: fields})
