"""Exotel's side of its streams; with ``--quirk ptime=100`` a message has the 100 ms that Exotel sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.simulator.vendors.base import AnyCodec, Message
from wavstream.simulator.vendors.json_media import JsonPeer

_ENCODINGS = {Codec.L16: "audio/x-raw", Codec.PCMU: "audio/x-mulaw"}


class ExotelPeer(JsonPeer):
    """Sends 16-bit samples of one track, which its messages do not name."""

    dialect: ClassVar[str] = "exotel"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)
    max_channels: ClassVar[int] = 1

    def opening(self) -> list[Message]:
        """Return ``connected`` and ``start``, whose rate is a text."""
        stream = self.stream
        assert isinstance(stream.codec, Codec)
        rate_hz = stream.rate_hz
        bits = f"{rate_hz * stream.codec.sample_bytes * 8 // 1000}kbps"
        start = {
            "stream_sid": self.stream_id,
            "call_sid": self.call_id,
            "account_sid": "ac-1",
            "from": "09876543210",
            "to": "08012345678",
            "custom_parameters": dict(stream.parameters),
            "media_format": {"encoding": _ENCODINGS[stream.codec], "sample_rate": str(rate_hz), "bit_rate": bits},
        }
        return [self.text({"event": "connected"}), self._numbered("start", start)]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose time is a text."""
        return self._numbered("media", {"chunk": chunk, "timestamp": str(timestamp_ms), "payload": payload})

    def mark(self, name: str) -> str:
        """Return the echo of a mark."""
        return self._numbered("mark", {"name": name})

    def closing(self) -> list[Message]:
        """Return ``stop``."""
        return [self._numbered("stop", {"call_sid": self.call_id, "account_sid": "ac-1", "reason": "callended"})]

    def _numbered(self, event: str, fields: object) -> str:
        number = self.next_number()
        return self.text({"event": event, "sequence_number": number, "stream_sid": self.stream_id, event: fields})
