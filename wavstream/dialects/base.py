"""The seam between the WebSocket plane and the vendors: message in, events out.

A dialect does no IO, starts no task, reads no clock and does not log. It is made for one stream from the upgrade
request and lives as long as the stream. What it cannot use it refuses by raising a MediaError, after which it is not
called again; what it need not use it returns as ``Ignored``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from wavstream.dialects.events import Event


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the media server said before the first message."""

    session_id: str | None
    """From the path; wins over ids in messages."""
    leg: str | None
    """From the path; wins over ids in messages."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""


class Outgoing(NamedTuple):
    """A message to the peer."""

    is_text: bool
    data: bytes


class Dialect(Protocol):
    """One vendor's rules for messages on the media WebSocket."""

    name: ClassVar[str]
    """As in the path ``/media/{name}``."""
    server_pings: ClassVar[bool]
    """Whether the peer survives a PING from us."""
    playout_ms: ClassVar[int]
    """Audio that the peer's playout buffer takes in one write; 20 where it plays what comes."""
    ptime_ms: ClassVar[int | None]
    """Audio in a message to the peer, where its protocol says so; None: as much as in the stream's own frames."""
    whole_sounds: ClassVar[bool]
    """Whether the peer plays each message as a sound of its own: then no sound is cut, and no silence is sent."""

    def __init__(self, request: UpgradeRequest) -> None: ...

    def opened(self) -> Sequence[Event]:
        """Called once after the upgrade: StreamStarted if the request said enough."""

    def text(self, message: bytes) -> Sequence[Event]:
        """A whole text message, still encoded (the decoder checks the UTF-8); raises MediaError."""

    def binary(self, payload: bytes) -> Sequence[Event]:
        """A whole binary message; raises MediaError."""

    def ended(self) -> Sequence[Event]:
        """Called once when the peer is gone without having been refused: what is still owed, but for StreamStopped."""

    def message(self, payload: bytes) -> Outgoing:
        """The message that plays this payload to the peer, once the stream has started and if it accepts audio."""

    def clear(self) -> Outgoing | None:
        """The message that empties the peer's playout buffer; None: there is none."""
