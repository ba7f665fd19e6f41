"""LiveKit's egress of a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import USUAL_QUIRKS, AnyCodec, Message, Peer


class LiveKitPeer(Peer):
    """Sends one track on two channels, at 48 kHz, and no text; ids and parameters are in the URL."""

    dialect: ClassVar[str] = "livekit"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16,)
    max_channels: ClassVar[int] = 1
    rates_hz: ClassVar[Sequence[int] | None] = (48_000,)
    quirks: ClassVar[frozenset[str]] = USUAL_QUIRKS - {"reconnect"}

    def query(self) -> Mapping[str, str]:
        """Return the parameters."""
        return self.stream.parameters

    def headers(self) -> Mapping[str, str]:
        """Return the type of what it sends."""
        return {"Content-Type": "audio/x-raw"}

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return one message, of the same on both channels."""
        return [encode(np.repeat(samples, 2, axis=1), Codec.L16)]
