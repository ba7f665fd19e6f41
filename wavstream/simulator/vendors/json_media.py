"""What the sides of Twilio and of those who followed it have in common: JSON, numbers, two tracks of one stream."""

from __future__ import annotations

import base64
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec, PacketCodec
from wavstream.model.ids import as_uuid, new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.rendering.codecs.resample import Resampler
from wavstream.simulator.packet_encoder import PacketEncoder
from wavstream.simulator.vendors.base import NUMBERED_QUIRKS, PTIME_MS, Message, Peer, StreamDescription


class JsonPeer(Peer):
    """Sends JSON; two channels are two tracks. Every connection is a new stream with its own time."""

    quirks: ClassVar[frozenset[str]] = NUMBERED_QUIRKS

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        self.stream_id = as_uuid(new_id())
        self.tracks: Sequence[str] = ("inbound", "outbound")[: stream.channels]
        self.sequence = 0
        """Of the last message."""
        self._origin: int | None = None
        self._packets = [_Packets(stream.codec, stream.rate_hz) for _ in self.tracks] if _is_packets(stream) else []

    @property
    def call_id(self) -> str:
        """What the vendor calls the call of this leg."""
        return f"{self.stream.session_id}-{self.stream.leg}"

    @abstractmethod
    def media(self, track: str, chunk: int, timestamp_ms: int, payload: str) -> str:
        """Return a message of audio; ``chunk`` counts those of the track from 1, the time is since its start."""

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return a message for each track; of packets, for each of the track's packets that are whole."""
        if self._origin is None:
            self._origin = first
        timestamp = (first - self._origin) * 1000 // self.stream.rate_hz
        messages: list[Message] = []
        for number, (track, channel) in enumerate(zip(self.tracks, samples.T, strict=True)):
            for index, payload in enumerate(self._payloads(number, channel.copy())):
                at_ms = timestamp + index * PTIME_MS
                text = base64.b64encode(payload).decode()
                messages.append(self.media(track, at_ms // PTIME_MS + 1, at_ms, text))
        return messages

    def audio_in(self, message: Message) -> bytes:
        """Return the payload of ``media``."""
        fields = json.loads(message)
        return base64.b64decode(fields["media"]["payload"]) if "payload" in fields.get("media", {}) else b""

    def received(self, message: Message) -> list[Message]:
        """Return the echo of a mark, as all that was to be played before it has been."""
        fields = json.loads(message)
        return [self.mark(fields["mark"]["name"])] if fields.get("event") == "mark" else []

    def mark(self, name: str) -> str:
        """Return the echo of a mark."""
        return self.text({"event": "mark", "mark": {"name": name}})

    def next_number(self) -> int:
        """Return the number of the next message."""
        self.sequence += 1
        return self.sequence

    @staticmethod
    def text(fields: Mapping[str, object]) -> str:
        """Return a message."""
        return json.dumps(fields, separators=(",", ":"))

    def _payloads(self, track: int, samples: Samples) -> list[bytes]:
        if self._packets:
            return self._packets[track].take(samples)
        codec = self.stream.codec
        assert isinstance(codec, Codec)
        return [encode(samples, codec)]


class _Packets:
    """The encoder of one track."""

    def __init__(self, codec: object, rate_hz: int) -> None:
        assert isinstance(codec, PacketCodec)
        self._encoder = PacketEncoder(codec)
        self._resampler = None if rate_hz == self._encoder.rate_hz else Resampler(rate_hz, self._encoder.rate_hz)

    def take(self, samples: Samples) -> list[bytes]:
        return self._encoder.encode(samples if self._resampler is None else self._resampler.feed(samples))


def _is_packets(stream: StreamDescription) -> bool:
    return isinstance(stream.codec, PacketCodec)
