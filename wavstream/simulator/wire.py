"""What a media server of each dialect says on one connection, and which of what it hears is audio."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from wavstream.model.audio import Codec
from wavstream.model.ids import new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.quirks import PTIME_MS

if TYPE_CHECKING:
    from wavstream.simulator.caller import Leg

_ENCODINGS = {Codec.PCMU: "audio/x-mulaw", Codec.PCMA: "audio/x-alaw", Codec.L16: "audio/x-l16"}
CODECS: Mapping[str, Sequence[Codec]] = {
    "pcm": tuple(Codec),
    "twilio": tuple(_ENCODINGS),
    "audio-fork": (Codec.L16,),
    "audio-stream": (Codec.L16,),
}
"""By dialect, the usual one first."""
SUBPROTOCOLS: Mapping[str, str] = {"audio-fork": "audio.drachtio.org"}
"""By dialect, where it has one."""


class Wire(Protocol):
    """One connection's messages; text is a str."""

    def greeting(self) -> list[str | bytes]:
        """Before any audio."""

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """Samples, (n, channels), of which the first has this place in the leg's audio."""

    def farewell(self) -> list[str | bytes]:
        """Before the close."""

    def heard(self, message: str | bytes) -> bytes:
        """The audio in a message of the server; empty if it has none."""


class PcmWire:
    """Raw samples; what they are is in the query."""

    def __init__(self, leg: Leg) -> None:
        self._codec = leg.codec

    def greeting(self) -> list[str | bytes]:
        """None."""
        return []

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """One message."""
        return [encode(samples, self._codec)]

    def farewell(self) -> list[str | bytes]:
        """None: the close says it."""
        return []

    def heard(self, message: str | bytes) -> bytes:
        """Binary messages."""
        return message if isinstance(message, bytes) else b""


class TwilioWire:
    """JSON: a leg of two channels is one stream of two tracks. Every connection is another stream with its own time."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._stream_sid = f"MZ{new_id()}"
        self._tracks = ("inbound", "outbound")[: leg.samples.shape[1]]
        self._sequence = 0
        self._origin: int | None = None

    def greeting(self) -> list[str | bytes]:
        """``connected`` and ``start``; parameters go where Twilio has its own, for it sends no query."""
        leg = self._leg
        start = {
            "streamSid": self._stream_sid,
            "accountSid": "AC00000000000000000000000000000001",
            "callSid": f"CA-{leg.name}",
            "tracks": self._tracks,
            "customParameters": dict(leg.query),
            "mediaFormat": {"encoding": _ENCODINGS[leg.codec], "sampleRate": leg.rate_hz, "channels": 1},
        }
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        return [json.dumps(connected), self._numbered("start", start)]

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """One message a track."""
        if self._origin is None:
            self._origin = first
        timestamp = (first - self._origin) * 1000 // self._leg.rate_hz
        chunk = timestamp // PTIME_MS + 1
        messages: list[str | bytes] = []
        for track, channel in zip(self._tracks, samples.T, strict=True):
            payload = base64.b64encode(encode(channel.copy(), self._leg.codec)).decode()
            media = {"track": track, "chunk": str(chunk), "timestamp": str(timestamp), "payload": payload}
            messages.append(self._numbered("media", media))
        return messages

    def farewell(self) -> list[str | bytes]:
        """``stop``."""
        return [self._numbered("stop", {"callSid": f"CA-{self._leg.name}"})]

    def heard(self, message: str | bytes) -> bytes:
        """The payload of ``media``."""
        said = json.loads(message)
        return base64.b64decode(said["media"]["payload"]) if said["event"] == "media" else b""

    def _numbered(self, event: str, fields: Mapping[str, object]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid, event: fields}
        return json.dumps(message, separators=(",", ":"))


class AudioForkWire(PcmWire):
    """Raw samples behind metadata that say what they are; the URL has the ids."""

    def __init__(self, leg: Leg) -> None:
        super().__init__(leg)
        mix = "stereo" if leg.samples.shape[1] == 2 else "mono"
        self._metadata = json.dumps({"rate": leg.rate_hz, "mix": mix, **leg.query})

    def greeting(self) -> list[str | bytes]:
        """The metadata."""
        return [self._metadata]


class AudioStreamWire(AudioForkWire):
    """The same with the metadata behind the first audio, which was heard while connecting."""

    def greeting(self) -> list[str | bytes]:
        """None."""
        return []

    def audio(self, first: int, samples: Samples) -> list[str | bytes]:
        """One message, the first time with the metadata."""
        late, self._metadata = self._metadata, ""
        return [*super().audio(first, samples), *([late] if late else [])]

    def heard(self, message: str | bytes) -> bytes:
        """The sound in ``streamAudio``."""
        said = json.loads(message)
        return base64.b64decode(said["data"]["audioData"]) if said["type"] == "streamAudio" else b""


WIRES: Mapping[str, Callable[[Leg], Wire]] = {
    "pcm": PcmWire,
    "twilio": TwilioWire,
    "audio-fork": AudioForkWire,
    "audio-stream": AudioStreamWire,
}
"""By dialect."""
