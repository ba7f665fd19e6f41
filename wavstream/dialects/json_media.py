"""A call's audio in JSON texts, in base64: what Twilio's Media Streams and all that followed them have in common.

1. One socket carries one or two tracks; every frame has its track and its media time. Numbers come as decimal strings,
   from some as numbers.
2. Before ``start`` nothing is known, and a message that makes no sense is refused. After it a message that cannot be
   used is ignored with its reason: the recording stays, and later messages may be right again.
3. Good audio with an impossible time is put directly behind the frame of its track before it, and is counted.
4. A JSON object that is nested too deeply to be read is no mistake of a program that sends calls: it is refused after
   the start too.
5. Audio that overtook its start is held, up to a bound, where the vendor does not promise an order.
6. A message that names another stream than the start did is counted. Its audio is used, since some change the id of one
   stream; its stop is not, since the close will say it again.
7. One text may hold several JSON documents (``joined_json``); what follows them and is none is counted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.early import HELD_BYTES
from wavstream.dialects.events import Dtmf, Event, Frame, Ignored, Mark, Outgoing, Reason, StreamStarted, StreamStopped
from wavstream.dialects.identity import TRACKS
from wavstream.dialects.joined_json import read_documents
from wavstream.dialects.parameters import too_deep
from wavstream.errors import BadPayload
from wavstream.model.audio import Track
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

_SINCE_1970_MS = 2**40
"""From here on (the year 2004) a time is a time of day; as time since a stream's start it were 34 years."""
_END_MS = 2**42
"""The year 2109."""
_MAX_DIGITS = 13
_MAX_CHARACTERS = 32
_NO_TIME = -1
_MARGIN_MS = 1_000
"""Room before the first frame of a time of day, which may have overtaken others."""
_WRAP_MS = 2**36
"""Media time wraps after 2.2 years, so that a position in samples, times a million, is below 2**63 at any rate."""
_HELD_LEAST_BYTES = 16
"""What a held message costs at least, however short it is."""


class Media(msgspec.Struct, gc=False):
    """What stands in a ``media`` message."""

    payload: bytes
    timestamp: int | float | str
    """Milliseconds since the stream's start, or since 1970."""
    track: str | None = None


class _Untimed(msgspec.Struct, gc=False):
    payload: bytes
    track: str | None = None


_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode

IGNORED: Mapping[Reason, tuple[Ignored]] = {reason: (Ignored(reason),) for reason in Reason}
"""What is returned for a message that is ignored: made once, as there may be thousands."""


class JsonMediaDialect(Dialect):
    """The dialect of one stream; a vendor's own says what its messages are called and what its start means."""

    event_name: ClassVar[str] = "event"
    """The field that says what a message is."""
    stream_name: ClassVar[str]
    """The field that says which stream a message is of."""
    silent_events: ClassVar[frozenset[str]] = frozenset(("connected",))
    """Events of the vendor that mean nothing to a recording."""
    holds_early_media: ClassVar[bool] = True
    """Whether audio that overtook its start is held (rule 5)."""
    decoder: ClassVar[msgspec.json.Decoder[Any]]
    """Of ``media`` messages, and of no other: an object with ``stream_id``, and ``media``, a ``Media`` or None."""

    __slots__ = (
        "_decode",
        "_early",
        "_early_bytes",
        "_ends",
        "_origin_ms",
        "_rate_hz",
        "_request",
        "_step_bytes",
        "_stream_id",
        "_tracks",
    )

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._decode = self.decoder.decode
        self._tracks: dict[str | None, int] = {}
        """Indices by the names that frames give; none before the start."""
        self._ends: list[int] = []
        """Of each track, the position after its last frame."""
        self._rate_hz = 0
        self._step_bytes = 1
        self._stream_id: str | None = None
        self._origin_ms: int | float | None = None
        self._early: list[Media] = []
        self._early_bytes = 0

    @abstractmethod
    def _read_start(self, fields: Mapping[str, Any]) -> StreamStarted:
        """Return the stream that a ``start`` message describes; raise BadParameter."""

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a message; raise BadPayload or BadParameter, after the start only for rule 4."""
        decode = self._decode
        try:
            decoded = decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._other(message)
        except RecursionError:
            raise too_deep() from None
        if decoded.stream_id != self._stream_id:
            return self._of_other_stream(decoded.media, decoded.stream_id)
        return self._audio(decoded.media)

    def is_audio(self, message: bytes) -> bool:
        """Return whether this is a whole ``media`` message; reading it makes few objects, however long it is."""
        try:
            decoded = self._decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return decoded.media is not None

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Ignore it: no vendor of this family sends binary messages."""
        return IGNORED[Reason.BINARY]

    def ended(self) -> Sequence[Event]:
        """Return what waited for what was overtaken, and count audio whose start never came."""
        early, self._early = self._early, []
        return (*self._rest(), *IGNORED[Reason.BEFORE_START] * len(early))

    def _outgoing(self, **fields: object) -> Outgoing:
        """Return a message to the peer."""
        return Outgoing(is_text=True, data=msgspec.json.encode(fields))

    def _audio(self, media: Any) -> Sequence[Event]:
        """Return the frame of a ``media`` message."""
        if media is None:
            return self._lost(Reason.BAD_MEDIA)
        track = self._tracks.get(media.track)  # rule 1
        if track is None:
            return self._hold(media)
        time_ms = media.timestamp
        if isinstance(time_ms, str):
            time_ms = int(time_ms) if time_ms.isdecimal() and len(time_ms) <= _MAX_DIGITS else _number(time_ms)
        payload = media.payload
        samples, rest = divmod(len(payload), self._step_bytes)
        if rest:
            return IGNORED[Reason.BAD_MEDIA]
        if not samples:
            return ()
        if not 0 <= time_ms < _WRAP_MS:
            if not 0 <= time_ms < _END_MS:  # rule 3
                position = self._ends[track]
                self._ends[track] = position + samples
                return (*IGNORED[Reason.BAD_TIMESTAMP], Frame(track, position, samples, payload))
            time_ms = self._since_start(time_ms)
        position = int(time_ms * self._rate_hz) // 1000
        self._ends[track] = position + samples
        return (Frame(track, position, samples, payload),)

    def _since_start(self, time_ms: int | float) -> int | float:
        """Return milliseconds since the stream's start, of a time of day or of one that is very long after it."""
        if time_ms >= _SINCE_1970_MS:
            if self._origin_ms is None:
                self._origin_ms = time_ms - _MARGIN_MS
            time_ms -= self._origin_ms
        return time_ms % _WRAP_MS

    def _untimed(self, message: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events of audio whose message could not be decoded as a whole: its payload may still be good."""
        try:
            untimed = msgspec.convert(message.get("media"), _Untimed)
        except msgspec.ValidationError:
            return self._lost(Reason.BAD_MEDIA)
        return self._audio(Media(untimed.payload, _NO_TIME, untimed.track))

    def _vendor_event(self, event: str, fields: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events of one that only this vendor has."""
        return IGNORED[Reason.UNKNOWN_EVENT]

    def _rest(self) -> Sequence[Event]:
        """Return what waits for what was overtaken, as nothing more will come."""
        return ()

    def _other(self, message: bytes) -> Sequence[Event]:
        """Return the events of anything but good audio, off the fast path."""
        try:
            fields = _decode_fields(message)
        except UnicodeDecodeError:
            return self._unreadable("not UTF-8")
        except RecursionError:
            raise too_deep() from None
        except msgspec.ValidationError:
            return self._unreadable("a JSON object is expected")
        except msgspec.DecodeError as error:
            return self._joined(message, f"a JSON object is expected: {error}")
        event = fields.get(self.event_name)
        if not isinstance(event, str):
            return self._unreadable("an event is expected")
        if event == "start":
            return IGNORED[Reason.SECOND_START] if self._tracks else self._start(fields)
        if event == "media":
            return self._untimed(fields)
        return () if event in self.silent_events else self._event(event, fields)

    def _joined(self, message: bytes, detail: str) -> Sequence[Event]:
        """Return the events of a text that is no JSON, or several documents of it, each by itself (rule 7)."""
        try:
            message.decode()
        except UnicodeDecodeError:
            return self._unreadable("not UTF-8")
        documents, is_all = read_documents(message)
        if not documents or documents[0].text == message:
            return self._unreadable(detail)
        events = [event for document in documents for event in self.text(document.text)]
        return events if is_all else (*events, *self._unreadable(detail))

    def _event(self, event: str, fields: Mapping[str, Any]) -> Sequence[Event]:
        if event in ("dtmf", "mark", "stop") and not self._tracks:
            return IGNORED[Reason.BEFORE_START]
        match event:
            case "dtmf":
                digit = text_in(fields, "dtmf", "digit")
                return (Dtmf(digit),) if digit in DTMF_DIGITS else IGNORED[Reason.BAD_DIGIT]
            case "mark":
                return marked(text_in(fields, "mark", "name"))
            case "stop":
                other = self._is_of_other_stream(fields.get(self.stream_name))
                return IGNORED[Reason.OTHER_STREAM] if other else (*self._rest(), StreamStopped())  # rule 6
        return self._vendor_event(event, fields)

    def _start(self, fields: Mapping[str, Any]) -> Sequence[Event]:
        started = self._read_start(fields)
        index = {track: number for number, track in enumerate(started.tracks)}
        self._tracks = {name: index[track] for name, track in TRACKS.items() if track in index}
        # A two-way stream has the inbound track only, and some leave its name out.
        self._tracks[None] = index.get(Track.INBOUND, 0)
        self._ends = [0] * len(started.tracks)
        self._rate_hz = started.format.rate_hz
        self._step_bytes = started.format.step_bytes
        self._stream_id = started.stream_id
        early, self._early = self._early, []
        return (started, *[event for media in early for event in self._audio(media)])

    def _of_other_stream(self, media: Any, stream_id: object) -> Sequence[Event]:
        """Return the events of audio that names another stream than the start did, or none (rule 6)."""
        events = self._audio(media)
        return (*IGNORED[Reason.OTHER_STREAM], *events) if self._is_of_other_stream(stream_id) else events

    def _is_of_other_stream(self, stream_id: object) -> bool:
        named = isinstance(stream_id, str | int) and bool(self._tracks) and self._stream_id is not None
        return named and str(stream_id) not in ("", self._stream_id)

    def _hold(self, media: Media) -> Sequence[Event]:
        """Hold audio that overtook its start (rule 5), or ignore that of a track that there is not."""
        if self._tracks or not self.holds_early_media or self._early_bytes >= HELD_BYTES:
            return self._lost(Reason.UNKNOWN_TRACK)
        self._early.append(media)
        self._early_bytes += max(len(media.payload), _HELD_LEAST_BYTES)
        return ()

    def _lost(self, reason: Reason) -> Sequence[Event]:
        """Ignore audio that cannot be used; before the start, that is the reason (rule 2)."""
        return IGNORED[reason if self._tracks else Reason.BEFORE_START]

    def _unreadable(self, detail: str) -> Sequence[Event]:
        if not self._tracks:  # rule 2
            raise BadPayload("text", detail)
        return IGNORED[Reason.NOT_JSON]


def marked(name: str) -> Sequence[Event]:
    """Return the mark of this name."""
    return (Mark(name),) if is_customer_id(name) else IGNORED[Reason.BAD_MARK]


def text_in(fields: Mapping[str, Any], event: str, name: str) -> str:
    """Return a text within an event; empty if there is none."""
    part = fields.get(event)
    text = part.get(name) if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def whole_number(value: object) -> int | None:
    """Return a number that counts something, which may be a text; None: it is none."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) <= _MAX_DIGITS else None
    return int(value) if isinstance(value, int | float) and 0 <= value < 10**_MAX_DIGITS else None


def _number(text: str) -> float:
    try:
        return float(text) if len(text) <= _MAX_CHARACTERS else _NO_TIME
    except ValueError:
        return _NO_TIME
