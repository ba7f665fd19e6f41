"""Vonage's side of a WebSocket endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import PTIME_MS, USUAL_QUIRKS, AnyCodec, Message, Peer, StreamDescription


class VonagePeer(Peer):
    """Sends the format with the NCCO's headers, then messages of exactly 20 ms; the close is the end."""

    dialect: ClassVar[str] = "vonage"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16,)
    max_channels: ClassVar[int] = 1
    rates_hz: ClassVar[Sequence[int] | None] = (8_000, 16_000, 24_000)
    quirks: ClassVar[frozenset[str]] = USUAL_QUIRKS - {"ptime"}

    def __init__(self, stream: StreamDescription) -> None:
        super().__init__(stream)
        self._size_bytes = 2 * stream.rate_hz * PTIME_MS // 1000
        self._rest = b""

    def opening(self) -> list[Message]:
        """Return ``websocket:connected``."""
        form = {"event": "websocket:connected", "content-type": f"audio/l16;rate={self.stream.rate_hz}"}
        return [json.dumps(form | dict(self.stream.parameters))]

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return whole messages; what is no whole one waits."""
        self._rest += encode(samples, Codec.L16)
        return list(self._whole())

    def closing(self) -> list[Message]:
        """Return what is left, filled up with silence."""
        rest, self._rest = self._rest, b""
        return [rest.ljust(self._size_bytes, b"\0")] if rest else []

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is; Vonage refuses one of another size."""
        if isinstance(message, str):
            return b""
        return message if len(message) == self._size_bytes else b""

    def _whole(self) -> Iterator[Message]:
        while len(self._rest) >= self._size_bytes:
            yield self._rest[: self._size_bytes]
            self._rest = self._rest[self._size_bytes :]
