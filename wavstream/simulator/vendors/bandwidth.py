"""Bandwidth's side of ``<StartStream>``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.simulator.vendors.base import AnyCodec, Message
from wavstream.simulator.vendors.json_media import JsonPeer


class BandwidthPeer(JsonPeer):
    """Sends mu-law with numbers of each track, and no time."""

    dialect: ClassVar[str] = "bandwidth"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.PCMU,)
    rates_hz: ClassVar[Sequence[int] | None] = (8_000,)

    def opening(self) -> list[Message]:
        """Return ``start``; the parameters are ``streamParams``."""
        return [self.text({"eventType": "start", "metadata": self._metadata(), "streamParams": self._parameters()})]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose payload stands at the top."""
        return self.text({"eventType": "media", "track": track, "payload": payload, "sequenceNumber": chunk})

    def closing(self) -> list[Message]:
        """Return ``stop``."""
        return [self.text({"eventType": "stop", "metadata": self._metadata()})]

    def received(self, message: Message) -> list[Message]:
        """Answer nothing: there are no marks."""
        return []

    def _parameters(self) -> dict[str, str]:
        return dict(self.stream.parameters)

    def _metadata(self) -> dict[str, object]:
        form = {"encoding": "audio/PCMU", "sampleRate": 8_000}
        return {
            "accountId": "920012",
            "callId": self.call_id,
            "streamId": self.stream_id,
            "streamName": self.stream.leg,
            "tracks": [{"name": track, "mediaFormat": form} for track in self.tracks],
        }
