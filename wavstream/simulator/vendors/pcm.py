"""A program that speaks the native dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import AnyCodec, Message, Peer


class PcmPeer(Peer):
    """Sends raw samples, described in the query."""

    dialect: ClassVar[str] = "pcm"
    codecs: ClassVar[Sequence[AnyCodec]] = tuple(Codec)

    def query(self) -> Mapping[str, str]:
        """Return what the stream has, and its parameters."""
        stream = self.stream
        form = {"codec": stream.codec.value, "rate": str(stream.rate_hz), "channels": str(stream.channels)}
        return form | dict(stream.parameters)

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message."""
        codec = self.stream.codec
        assert isinstance(codec, Codec)
        return [encode(samples, codec)]

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""
