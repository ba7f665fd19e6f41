"""FreeSWITCH's side: ``mod_audio_fork`` and ``mod_audio_stream``."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import USUAL_QUIRKS, AnyCodec, Message, Peer, StreamDescription


class AudioForkPeer(Peer):
    """Sends metadata that describe the audio, then raw samples; the URL has the ids."""

    dialect: ClassVar[str] = "audio-fork"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16,)
    subprotocol: ClassVar[str | None] = "audio.drachtio.org"
    quirks: ClassVar[frozenset[str]] = USUAL_QUIRKS | {"joined"}

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        mix = "stereo" if stream.channels == 2 else "mono"
        self._metadata = json.dumps({"rate": stream.rate_hz, "mix": mix, **stream.parameters})

    def opening(self) -> list[Message]:
        """Return the metadata."""
        return [self._metadata]

    def joined_text(self) -> str:
        """Return what an application sends of a key, by ``uuid_audio_fork send_text``."""
        return json.dumps({"event": "dtmf", "dtmf": "5", "duration": "1600"})

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message."""
        return [encode(samples, Codec.L16)]

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""


class AudioStreamPeer(AudioForkPeer):
    """Sends the metadata behind the first audio, which comes from the time of connecting."""

    dialect: ClassVar[str] = "audio-stream"
    subprotocol: ClassVar[str | None] = None
    quirks: ClassVar[frozenset[str]] = USUAL_QUIRKS | {"late"}
    opening_behind: ClassVar[int] = 1

    def audio_in(self, message: Message) -> bytes:
        """Return the sound in ``streamAudio``."""
        fields = json.loads(message)
        return base64.b64decode(fields["data"]["audioData"]) if fields["type"] == "streamAudio" else b""
