"""The peers: what a media server of each dialect sends on one connection, and the audio in what it receives. No IO."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wavstream.model.audio import Codec
from wavstream.model.ids import new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.quirks import PTIME_MS

_ENCODINGS = {Codec.PCMU: "audio/x-mulaw", Codec.PCMA: "audio/x-alaw", Codec.L16: "audio/x-l16"}
CODECS: Mapping[str, Sequence[Codec]] = {
    "pcm": tuple(Codec),
    "twilio": tuple(_ENCODINGS),
    "audio-fork": (Codec.L16,),
    "audio-stream": (Codec.L16,),
}
"""The codecs that a peer can send, by dialect; the usual one first."""
SUBPROTOCOLS: Mapping[str, str] = {"audio-fork": "audio.drachtio.org"}
"""The subprotocol that a peer asks for, by dialect, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDescription:
    """What one connection of a leg carries."""

    leg: str
    codec: Codec
    rate_hz: int
    channels: int
    """One or two."""
    parameters: Mapping[str, str]
    """Parameters of the stream, such as ``record`` or ``clock``."""


class Peer(Protocol):
    """The media server on one connection; text messages are str, binary ones bytes."""

    def opening(self) -> list[str | bytes]:
        """Return the messages before any audio."""

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """Return the messages of these samples, (n, channels), the first at this position of the leg's audio."""

    def closing(self) -> list[str | bytes]:
        """Return the messages before the close."""

    def audio_in(self, message: str | bytes) -> bytes:
        """Return the audio in a message of the server; empty if it has none."""


class PcmPeer:
    """Sends raw samples, described in the query."""

    def __init__(self, stream: StreamDescription) -> None:
        self._codec = stream.codec

    def opening(self) -> list[str | bytes]:
        """Return no message."""
        return []

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """Return one message."""
        return [encode(samples, self._codec)]

    def closing(self) -> list[str | bytes]:
        """Return no message: the close is enough."""
        return []

    def audio_in(self, message: str | bytes) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""


class TwilioPeer:
    """Sends JSON; two channels are two tracks of one stream. Every connection is a new stream with its own time."""

    def __init__(self, stream: StreamDescription) -> None:
        self._stream = stream
        self._stream_sid = f"MZ{new_id()}"
        self._tracks = ("inbound", "outbound")[: stream.channels]
        self._sequence = 0
        self._origin: int | None = None

    def opening(self) -> list[str | bytes]:
        """Return ``connected`` and ``start``; the parameters are custom parameters, as Twilio sends no query."""
        stream = self._stream
        start = {
            "streamSid": self._stream_sid,
            "accountSid": "AC00000000000000000000000000000001",
            "callSid": f"CA-{stream.leg}",
            "tracks": self._tracks,
            "customParameters": dict(stream.parameters),
            "mediaFormat": {"encoding": _ENCODINGS[stream.codec], "sampleRate": stream.rate_hz, "channels": 1},
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._numbered("start", start)]

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """Return one message for each track."""
        if self._origin is None:
            self._origin = first
        timestamp = (first - self._origin) * 1000 // self._stream.rate_hz
        chunk = timestamp // PTIME_MS + 1
        messages: list[str | bytes] = []
        for track, channel in zip(self._tracks, samples.T, strict=True):
            payload = base64.b64encode(encode(channel.copy(), self._stream.codec)).decode()
            media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp), "payload": payload}
            messages.append(self._numbered("media", media))
        return messages

    def closing(self) -> list[str | bytes]:
        """Return ``stop``."""
        return [self._numbered("stop", {"callSid": f"CA-{self._stream.leg}"})]

    def audio_in(self, message: str | bytes) -> bytes:
        """Return the payload of ``media``."""
        fields = json.loads(message)
        return base64.b64decode(fields["media"]["payload"]) if fields["event"] == "media" else b""

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid, event: fields}
        return json.dumps(message, separators=(",", ":"))


class AudioForkPeer(PcmPeer):
    """Sends metadata that describe the audio, then raw samples; the URL has the ids."""

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        mix = "stereo" if stream.channels == 2 else "mono"
        self._metadata = json.dumps({"rate": stream.rate_hz, "mix": mix, **stream.parameters})

    def opening(self) -> list[str | bytes]:
        """Return the metadata."""
        return [self._metadata]


class AudioStreamPeer(AudioForkPeer):
    """Sends the metadata behind the first audio, which comes from the time of connecting."""

    def opening(self) -> list[str | bytes]:
        """Return no message."""
        return []

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """Return one message, the first time with the metadata."""
        late, self._metadata = self._metadata, ""
        return [*super().audio(first, samples), *([late] if late else [])]

    def audio_in(self, message: str | bytes) -> bytes:
        """Return the sound in ``streamAudio``."""
        fields = json.loads(message)
        return base64.b64decode(fields["data"]["audioData"]) if fields["type"] == "streamAudio" else b""


PEERS: Mapping[str, Callable[[StreamDescription], Peer]] = {
    "pcm": PcmPeer,
    "twilio": TwilioPeer,
    "audio-fork": AudioForkPeer,
    "audio-stream": AudioStreamPeer,
}
"""The peer of each dialect."""
