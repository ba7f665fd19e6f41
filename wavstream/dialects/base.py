"""The interface between the WebSocket plane and the vendors: message in, events out.

1. A dialect does no IO, starts no task, reads no clock and does not log.
2. It is made for one stream, from the upgrade request, and lives as long as the stream.
3. It raises a MediaError for a message that ends the stream, and is not called again after that. A message that it
   cannot use and need not refuse is returned as ``Ignored``.
4. What it says to the peer it returns, as ``Reply`` or as the result of a call; it never sends.
5. Audio that comes before the stream's start is held (``early``) until the start is there, or ``waited`` or ``ended``
   is called; then the settings of the URL and of the route are all that there will be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec

from wavstream.dialects.events import Event, Outgoing
from wavstream.model.audio import Codec


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request with which the media server opened the WebSocket."""

    session_id: str | None
    """From the path; an id there wins over ids in messages."""
    leg: str | None
    """From the path, and wins as well."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case; without those that open something."""
    defaults: Mapping[str, str] = {}
    """Parameters that the route sets for its streams, for what neither the URL nor a message says."""


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


class Dialect(ABC):
    """One vendor's rules for messages on the media WebSocket, with what most vendors have in common."""

    name: ClassVar[str]
    """As in the path ``/media/{name}``."""
    server_pings: ClassVar[bool] = True
    """Whether any peer can be sent a PING; where some cannot, only a route that says how often has them sent."""
    playout_ms: ClassVar[int] = 20
    """Audio that the peer's playout buffer takes in one write; 20 if it plays what comes."""
    ptime_ms: ClassVar[int | None] = None
    """Audio in a message to the peer, if its protocol fixes that; None: as much as in the stream's own frames."""
    is_plain: ClassVar[bool] = False
    """Whether binary messages are samples and nothing else, so that several of one size can be taken as one."""
    refuses_in_words: ClassVar[bool] = False
    """Whether a peer whose key is not right is told so on the open WebSocket (``turn_away``), and not with a 401."""
    format_names: ClassVar[FormatNames]

    __slots__ = ()

    @abstractmethod
    def __init__(self, request: UpgradeRequest) -> None: ...

    def opened(self) -> Sequence[Event]:
        """Return StreamStarted if the request was enough for it; called once, after the upgrade; raise BadParameter."""
        return ()

    @abstractmethod
    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a text message, still encoded (the decoder checks the UTF-8); raise MediaError."""

    def is_audio(self, message: bytes) -> bool:
        """Return whether a text message is audio: asked of one that is longer than other texts may be."""
        return False

    @abstractmethod
    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return the events of a binary message; raise MediaError.

        ``messages``: of so many, where the dialect is plain and the stream has started; each of as many whole samples.
        """

    def waited(self) -> Sequence[Event]:
        """Return the events of a stream that has sent something, and no start, for as long as it may; raise MediaError.

        Called once, and only before the start. A dialect that cannot start without its message goes on waiting.
        """
        return ()

    def ended(self) -> Sequence[Event]:
        """Return the events that were held back, without StreamStopped; called once, if the peer is gone unrefused."""
        return ()

    @property
    def whole_sounds(self) -> bool:
        """Whether the peer plays each message as a sound of its own: then no sound is cut, and no silence is sent."""
        return False

    def message(self, payload: bytes) -> Outgoing:
        """Return the message that plays this payload to the peer; only for a started stream that accepts audio."""
        raise NotImplementedError(f"streams of {self.name} accept no audio")

    def clear(self) -> Outgoing | None:
        """Return the message that empties the peer's playout buffer; None: the dialect has none."""
        return None

    def probe(self) -> Outgoing | None:
        """Return what a live peer answers, sent where it would be sent a PING and cannot be; None: nothing is."""
        return None

    def farewell(self, code: int, reason: str) -> Outgoing | None:
        """Return what is said to the peer before our close frame, which has this code; None: nothing is."""
        return None

    def turn_away(self, message: bytes, reason: str) -> Outgoing | None:
        """Return the answer to the first text of a peer whose key is not right; of a dialect that refuses in words.

        Called instead of all that is above, and once. ``reason``: for a person.
        """
        return None
