"""The interface between the WebSocket plane and the vendors: message in, events out.

1. A dialect does no IO, starts no task, reads no clock and does not log.
2. It is made for one stream, from the upgrade request, and lives as long as the stream.
3. It raises a MediaError for a message that ends the stream, and is not called again after that. A message that it
   cannot use and need not refuse is returned as ``Ignored``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from wavstream.dialects.events import Event
from wavstream.model.audio import Codec


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request with which the media server opened the WebSocket."""

    session_id: str | None
    """From the path; an id there wins over ids in messages."""
    leg: str | None
    """From the path, and wins as well."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""


class FormatNames(NamedTuple):
    """What the settings of a stream's format are called, for whoever has set one wrongly."""

    who: str
    """Whoever sets them, at the beginning of a sentence."""
    rate: str
    little_endian: str
    """The setting that has 16-bit samples read so."""
    big_endian: str
    codec: str | None = None
    """None: all streams have one."""
    channels: str | None = None
    """None: all streams have one a track."""
    codecs: Mapping[Codec, str] = {}
    """What codecs are called, where it is not their own name."""


class Outgoing(NamedTuple):
    """A message to the peer."""

    is_text: bool
    data: bytes


class Dialect(Protocol):
    """One vendor's rules for messages on the media WebSocket."""

    name: ClassVar[str]
    """As in the path ``/media/{name}``."""
    server_pings: ClassVar[bool]
    """Whether the peer can be sent a PING."""
    playout_ms: ClassVar[int]
    """Audio that the peer's playout buffer takes in one write; 20 if it plays what comes."""
    ptime_ms: ClassVar[int | None]
    """Audio in a message to the peer, if its protocol fixes that; None: as much as in the stream's own frames."""
    whole_sounds: ClassVar[bool]
    """Whether the peer plays each message as a sound of its own: then no sound is cut, and no silence is sent."""
    is_plain: ClassVar[bool]
    """Whether binary messages are samples and nothing else, so that several of one size can be taken as one."""
    format_names: ClassVar[FormatNames]

    def __init__(self, request: UpgradeRequest) -> None: ...

    def opened(self) -> Sequence[Event]:
        """Return StreamStarted if the request was enough for it; called once, after the upgrade."""

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a text message, still encoded (the decoder checks the UTF-8); raise MediaError."""

    def is_audio(self, message: bytes) -> bool:
        """Return whether a text message is audio: asked of one that is longer than other texts may be."""

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return the events of a binary message; raise MediaError.

        ``messages``: of so many, where the dialect is plain and the stream has started; each of as many whole samples.
        """

    def ended(self) -> Sequence[Event]:
        """Return the events that were held back, without StreamStopped; called once, if the peer is gone unrefused."""

    def message(self, payload: bytes) -> Outgoing:
        """Return the message that plays this payload to the peer; only for a started stream that accepts audio."""

    def clear(self) -> Outgoing | None:
        """Return the message that empties the peer's playout buffer; None: the dialect has none."""
