"""Asterisk's side of ``chan_websocket``: one channel, which is one track."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.model.ids import new_id
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import AnyCodec, Message, Peer, StreamDescription

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
}
_OURS = frozenset(("late", "text"))
"""Parameters that are for this side: neither stands in the query."""


class AsteriskPeer(Peer):
    """Sends ``MEDIA_START`` and raw frames of the channel's codec; the query is what ``v(...)`` says.

    Parameters of its own: ``late=N`` sends ``MEDIA_START`` behind N messages of audio, as a busy Asterisk does;
    ``text=1`` speaks the plain text of the versions before 20.18, 22.8 and 23.2, with what the first of them said.
    """

    dialect: ClassVar[str] = "asterisk"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16, Codec.PCMU, Codec.PCMA)
    subprotocol: ClassVar[str | None] = "media"
    max_channels: ClassVar[int] = 1
    rates_hz: ClassVar[Sequence[int] | None] = tuple(sorted({rate_hz for _, rate_hz in _FORMATS}))

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        self._late = int(stream.parameters.get("late", "0"))
        self._start = self._media_start()

    def query(self) -> Mapping[str, str]:
        """Return the parameters of the stream."""
        return {name: value for name, value in self.stream.parameters.items() if name not in _OURS}

    def opening(self) -> list[Message]:
        """Return ``MEDIA_START``, if it is not late."""
        return [] if self._late else self._take_start()

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message, and ``MEDIA_START`` behind the last one before which it is late."""
        codec = self.stream.codec
        assert isinstance(codec, Codec)
        messages: list[Message] = [encode(samples, codec)]
        if self._late:
            self._late -= 1
            messages += [] if self._late else self._take_start()
        return messages

    def closing(self) -> list[Message]:
        """Return ``MEDIA_START``, if it has not been its time yet."""
        return self._take_start()

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""

    def _take_start(self) -> list[Message]:
        start, self._start = self._start, ""
        return [start] if start else []

    def _media_start(self) -> str:
        stream = self.stream
        form = _FORMATS[stream.codec, stream.rate_hz]
        size = stream.rate_hz // 50 * (1 if stream.codec in (Codec.PCMU, Codec.PCMA) else 2)
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
