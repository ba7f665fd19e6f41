"""Plivo's side of its audio streaming."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.simulator.vendors.base import AnyCodec, Message
from wavstream.simulator.vendors.json_media import JsonPeer

_ENCODINGS = {Codec.PCMU: "audio/x-mulaw", Codec.L16: "audio/x-l16"}
_BEGAN_MS = 1_767_322_000_123
"""Its clock when a stream begins: milliseconds since 1970."""


class PlivoPeer(JsonPeer):
    """Sends the time of day, and no stop."""

    dialect: ClassVar[str] = "plivo"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(_ENCODINGS)

    def opening(self) -> list[Message]:
        """Return ``start``; the parameters are in ``extra_headers``, one text."""
        stream = self.stream
        assert isinstance(stream.codec, Codec)
        start = {
            "callId": self.call_id,
            "streamId": self.stream_id,
            "accountId": "MA0",
            "tracks": self.tracks,
            "mediaFormat": {"encoding": _ENCODINGS[stream.codec], "sampleRate": stream.rate_hz},
        }
        headers = ";".join(f"{name.replace('_', '-')}={value}" for name, value in stream.parameters.items())
        message = {"event": "start", "sequenceNumber": self.next_number(), "start": start, "extra_headers": headers}
        return [self.text(message)]

    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return ``media``, whose time is a text and whose numbers are numbers."""
        media = {"track": track, "timestamp": str(_BEGAN_MS + timestamp_ms), "chunk": chunk, "payload": payload}
        number = self.next_number()
        return self.text({"event": "media", "sequenceNumber": number, "streamId": self.stream_id, "media": media})

    def received(self, message: Message) -> list[Message]:
        """Return what is acknowledged: that a checkpoint was played, that the buffer is empty."""
        fields = json.loads(message)
        match fields.get("event"):
            case "checkpoint":
                return [self.text({"event": "playedStream", "streamId": self.stream_id, "name": fields["name"]})]
            case "clearAudio":
                return [self.text({"event": "clearedAudio", "streamId": self.stream_id})]
        return []

    def audio_in(self, message: Message) -> bytes:
        """Return the payload of ``playAudio``."""
        fields = json.loads(message)
        return base64.b64decode(fields["media"]["payload"]) if fields["event"] == "playAudio" else b""
