"""What a media server does on one connection, whatever it speaks. No IO, no clock, no task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from wavstream.model.audio import Codec, PacketCodec
from wavstream.rendering.codecs.encode import Samples

AnyCodec = Codec | PacketCodec
Message = str | bytes
"""Of a WebSocket: a text is str, a binary message bytes."""

PTIME_MS = 20
"""Milliseconds of audio in a message, when no quirk says otherwise."""
USUAL_QUIRKS = frozenset(("burst", "reconnect", "ptime"))
"""Names of vendor-like quirks (``simulator.quirks``) that any vendor has unless it says otherwise."""
NUMBERED_QUIRKS = USUAL_QUIRKS | {"lost", "swap", "dup"}
"""Of a vendor whose messages each say where their audio belongs, by a number or a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDescription:
    """What one connection of a leg carries."""

    session_id: str
    leg: str
    codec: AnyCodec
    rate_hz: int
    channels: int
    """One or two."""
    parameters: Mapping[str, str]
    """Parameters of the stream, such as ``record`` or ``clock``."""
    call_s: float = 0.0
    """How far the call is when this connection is made; more than 0 where the leg comes late, or comes back."""
    drops: int = 0
    """Connections of the leg before this one, each of which broke off."""
    away_s: float = 0.0
    """How long the leg had no connection before this one; 0: it has not come back."""


class Peer(ABC):
    """The media server on one connection. A new one is made for each."""

    dialect: ClassVar[str]
    codecs: ClassVar[Sequence[AnyCodec]]
    """That it can send; the usual one first."""
    subprotocol: ClassVar[str | None] = None
    """That it asks for."""
    max_channels: ClassVar[int] = 2
    """Of a leg: two are two tracks, or interleaved."""
    rates_hz: ClassVar[Sequence[int] | None] = None
    """That it can send; None: any."""
    quirks: ClassVar[frozenset[str]] = USUAL_QUIRKS
    """That it may have, beside those at a given time; NUMBERED_QUIRKS where messages have a number or a time."""
    opening_behind: ClassVar[int] = 0
    """Messages of audio that usually come before its opening."""
    backlog_s: ClassVar[float] = 0.0
    """How much audio of a time without a connection it sends when it is back; what is older is lost."""

    def __init__(self, stream: StreamDescription) -> None:
        self.stream = stream

    def query(self) -> Mapping[str, str]:
        """Return what stands in its URL; many vendors cannot have anything there."""
        return {}

    def headers(self) -> Mapping[str, str]:
        """Return what its upgrade has beside the key."""
        return {}

    def opening(self) -> list[Message]:
        """Return the messages before any audio, or behind the first of it (``opening_behind``)."""
        return []

    def joined_text(self) -> str:
        """Return a text that waits for the same write as the opening; asked where the quirk ``joined`` is had."""
        return ""

    @property
    def is_ready(self) -> bool:
        """Whether audio may be sent; a vendor that waits for an answer to its opening is not until it came."""
        return True

    @abstractmethod
    def audio(self, first: int, samples: Samples) -> list[Message]:
        """Return the messages of these samples, (n, channels), the first at this position of the leg's audio."""

    def closing(self) -> list[Message]:
        """Return the messages before the close."""
        return []

    def received(self, message: Message) -> list[Message]:
        """Return what it answers to a message of the server; called for each, in order."""
        return []

    def audio_in(self, message: Message) -> bytes:
        """Return the audio in a message of the server; empty if it has none."""
        return b""
