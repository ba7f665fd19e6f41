"""FreeSWITCH with the rewrite of ``mod_audio_fork``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.vendors.base import AnyCodec, Message, Peer

_MOST_MS = 100
"""Audio in a message: what the module sends in one tick."""


class AudioFork2Peer(Peer):
    """Says hello on each connection, resumes with what it kept while it was away, and says goodbye."""

    dialect: ClassVar[str] = "audiofork2"
    codecs: ClassVar[Sequence[AnyCodec]] = (Codec.L16,)
    subprotocol: ClassVar[str | None] = "audiofork"
    backlog_s: ClassVar[float] = 10.0

    def opening(self) -> list[Message]:
        """Return ``hello``, and ``resume`` where it is not the first connection."""
        stream = self.stream
        hello: dict[str, object] = {
            "type": "hello",
            "version": "1.0",
            "callSid": f"channel-{stream.leg}",
            "rate": stream.rate_hz,
            "channels": stream.channels,
            "encoding": "L16",
        }
        if stream.parameters:
            hello["metadata"] = dict(stream.parameters)
        if not stream.drops:
            return [json.dumps(hello)]
        dropped_s = max(0.0, stream.away_s - self.backlog_s)
        resume = {"type": "resume", "gapMs": round(1000 * stream.away_s), "droppedMs": round(1000 * dropped_s)}
        return [json.dumps(hello), json.dumps(resume)]

    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return messages of 100 ms at most."""
        return list(self._pieces(samples))

    def closing(self) -> list[Message]:
        """Return ``bye``."""
        return ['{"type":"bye"}']

    def audio_in(self, message: Message) -> bytes:
        """Return a binary message as it is."""
        return message if isinstance(message, bytes) else b""

    def _pieces(self, samples: Samples) -> Iterator[Message]:
        size = self.stream.rate_hz * _MOST_MS // 1000
        for start in range(0, len(samples), size):
            yield encode(samples[start : start + size], Codec.L16)
