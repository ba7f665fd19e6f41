"""Asterisk's side of ``chan_websocket``: one channel, which is one track."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec, PacketCodec
from wavstream.model.ids import new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.packet_encoder import PacketEncoder
from wavstream.simulator.vendors.base import USUAL_QUIRKS, AnyCodec, Message, Peer, StreamDescription

_FORMATS: Mapping[tuple[AnyCodec, int], str] = {
    (Codec.PCMU, 8_000): "ulaw",
    (Codec.PCMA, 8_000): "alaw",
    (Codec.L16, 8_000): "slin",
    (Codec.L16, 12_000): "slin12",
    (Codec.L16, 16_000): "slin16",
    (Codec.L16, 24_000): "slin24",
    (Codec.L16, 32_000): "slin32",
    (Codec.L16, 44_100): "slin44",
    (Codec.L16, 48_000): "slin48",
    (PacketCodec.G722, 16_000): "g722",
    (PacketCodec.OPUS, 48_000): "opus",
}
_OURS = frozenset(("text",))
"""Parameters that are for this side: none stands in the query."""


class AsteriskPeer(Peer):
    """Sends ``MEDIA_START`` and raw frames of the channel's codec; the query is what ``v(...)`` says.

    A busy Asterisk sends ``MEDIA_START`` behind the first audio (the quirk ``late``); it does not come back by itself.
    A parameter of its own, ``text=1``, speaks the plain text of the versions before 20.18, 22.8 and 23.2, with what the
    first of them said.
    """

    dialect: ClassVar[str] = "asterisk"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16, Codec.PCMU, Codec.PCMA, PacketCodec.G722, PacketCodec.OPUS)
    subprotocol: ClassVar[str | None] = "media"
    max_channels: ClassVar[int] = 1
    quirks: ClassVar[frozenset[str]] = (USUAL_QUIRKS - {"reconnect"}) | {"late"}
    rates_hz: ClassVar[Sequence[int] | None] = tuple(sorted({rate_hz for _, rate_hz in _FORMATS}))

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        codec = stream.codec
        self._encoder = None if isinstance(codec, Codec) else PacketEncoder(codec)

    def query(self) -> Mapping[str, str]:
        """Return the parameters of the stream."""
        return {name: value for name, value in self.stream.parameters.items() if name not in _OURS}

    def opening(self) -> list[Message]:
        """Return ``MEDIA_START``."""
        return [self._media_start()]

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message, or one a packet."""
        if self._encoder is not None:
            return [*self._encoder.encode(samples[:, 0])]
        assert isinstance(self.stream.codec, Codec)
        return [encode(samples, self.stream.codec)]

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""

    def _media_start(self) -> str:
        stream = self.stream
        form = _FORMATS[stream.codec, stream.rate_hz]
        # Of 20 ms; packets of Opus have no size that is theirs, and those of G.722 half a byte a sample.
        of_packets = 160 if stream.codec is PacketCodec.G722 else 0
        size = stream.rate_hz // 50 * stream.codec.sample_bytes if isinstance(stream.codec, Codec) else of_packets
        channel = f"WebSocket/recorder/0x{new_id().replace('-', '')[:12]}"
        if stream.parameters.get("text") == "1":
            return f"MEDIA_START connection_id:recorder channel:{channel} format:{form} optimal_frame_size:{size}"
        fields = {
            "event": "MEDIA_START",
            "connection_id": "recorder",
            "channel": channel,
            "channel_id": f"{stream.session_id}-{stream.leg}",
            "format": form,
            "optimal_frame_size": size,
            "ptime": 20,
            "channel_variables": {},
        }
        return json.dumps(fields, separators=(",", ":"))
