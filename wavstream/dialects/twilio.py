"""Twilio Media Streams and their clones: JSON text, audio in base64, media time in milliseconds.

1. One socket carries one or two tracks; every frame has its track and its media time. Numbers come as decimal strings,
   from clones as numbers.
2. Before ``start`` nothing is known, and a message that makes no sense is refused. After it a message that cannot be
   used is ignored with its reason: the recording stays, and later messages may be right again.
3. Good audio with an impossible time is put directly behind the frame of its track before it, and is counted.
4. The leg of a call is its ``callSid``, so parallel streams of one call are one leg; their ``streamSid`` tells them
   apart.
5. One-way streams (``<Start>``) and two-way ones (``<Connect>``) look the same on the wire, and Twilio complains of any
   message to a one-way stream (error 31924). So a stream is two-way only if its custom parameter ``two_way`` says so.
6. A JSON object that is nested too deeply to be read is no mistake of a program that sends calls: it is refused after
   the start too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import msgspec

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.events import (
    Dtmf,
    Event,
    Frame,
    Ignored,
    Mark,
    Outgoing,
    Reason,
    StreamStarted,
    StreamStopped,
)
from wavstream.dialects.identity import TRACKS, identify
from wavstream.dialects.parameters import (
    ACCEPTED,
    BYTE_ORDERS,
    ByteOrder,
    StreamParameters,
    customer_ids,
    first_fields,
    ordered,
    read_id,
    read_parameters,
    too_deep,
)
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, Track, TrackClock
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

_SINCE_1970_MS = 2**40
"""From here on (the year 2004) a time is a clone's time of day; as time since a stream's start it were 34 years."""
_END_MS = 2**42
"""The year 2109."""
_MAX_DIGITS = 13
_MAX_CHARACTERS = 32
_NO_TIME = -1
_MARGIN_MS = 1_000
"""Room before a clone's first frame, which may have overtaken others."""
_WRAP_MS = 2**36
"""Media time wraps after 2.2 years, so that a position in samples, times a million, is below 2**63 at any rate."""


class _Media(msgspec.Struct, gc=False):
    payload: bytes
    timestamp: int | float | str
    track: str | None = None


class _Untimed(msgspec.Struct, gc=False):
    payload: bytes
    track: str | None = None


class _Message(msgspec.Struct, gc=False):
    event: str
    media: _Media | None = None


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode

_IGNORED = {reason: (Ignored(reason),) for reason in Reason}


_CODECS = {"audio/x-mulaw": Codec.PCMU, "audio/x-alaw": Codec.PCMA, "audio/x-l16": Codec.L16}
_PLACE = re.compile(r"\$\.([\w.]+)")
_TEXT = "text of at most 256 characters is accepted"
_FIELDS = {
    "streamSid": _TEXT,
    "callSid": _TEXT,
    "accountSid": _TEXT,
    "tracks": "inbound and outbound are accepted",
    "mediaFormat.encoding": f"one of {', '.join(_CODECS)} is accepted",
    "mediaFormat.sampleRate": f"a whole number of {MIN_RATE_HZ} to {MAX_RATE_HZ} is accepted",
    "mediaFormat.channels": "one channel a track is accepted",
}
"""The accepted values of each field, for a person; the other fields are objects."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class _Format(msgspec.Struct, rename="camel"):
    encoding: _Text = "audio/x-mulaw"
    sample_rate: Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] = 8_000
    channels: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1


class _Start(msgspec.Struct, rename="camel"):
    stream_sid: _Text = ""
    call_sid: _Text = ""
    account_sid: _Text = ""
    tracks: list[_Text] = []
    custom_parameters: dict[str, Any] | None = None
    media_format: _Format = msgspec.field(default_factory=_Format)


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    two_way: bool = False
    byteorder: ByteOrder = "little"


_ACCEPTED = {**ACCEPTED, "two_way": "0 or 1", "byteorder": BYTE_ORDERS}
_NO_VENDOR_ID = _ACCEPTED.keys() | {"session_id", "leg", "app", "token"}


class TwilioDialect(Dialect):
    """The dialect of one Twilio stream."""

    name: ClassVar[str] = "twilio"
    playout_ms: ClassVar[int] = 200
    """Twilio buffers audio, and drops it on ``clear``."""
    ptime_ms: ClassVar[int | None] = 20
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever sends the stream's start",
        rate="mediaFormat.sampleRate",
        little_endian="the custom parameter byteorder=little",
        big_endian="the custom parameter byteorder=big",
        codec="mediaFormat.encoding",
        codecs={codec: name for name, codec in _CODECS.items()} | {Codec.L16BE: "audio/x-l16"},
    )

    __slots__ = ("_ends", "_origin_ms", "_rate_hz", "_request", "_step_bytes", "_stream_sid", "_tracks")

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._tracks: dict[str | None, int] = {}
        """Indices by the names that frames give; none before the start."""
        self._ends: list[int] = []
        """Of each track, the position after its last frame."""
        self._rate_hz = 0
        self._step_bytes = 1
        self._stream_sid: str | None = None
        self._origin_ms: int | float | None = None

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a message; raise BadPayload or BadParameter, after the start only for rule 6."""
        try:
            decoded = _decode_message(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._other(message)
        except RecursionError:
            raise too_deep() from None
        return self._audio(decoded.media) if decoded.event == "media" else self._other(message)

    def is_audio(self, message: bytes) -> bool:
        """Return whether this is a whole ``media`` message; reading it makes few objects, however long it is."""
        try:
            decoded = _decode_message(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return decoded.event == "media" and decoded.media is not None

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Ignore it: Twilio sends no binary messages."""
        return _IGNORED[Reason.BINARY]

    def message(self, payload: bytes) -> Outgoing:
        """Return ``media`` with audio of any length; Twilio plays it behind what it has already."""
        return self._outgoing("media", media={"payload": base64.b64encode(payload).decode()})

    def clear(self) -> Outgoing | None:
        """Return ``clear``: Twilio drops what it has not played."""
        return self._outgoing("clear")

    def _outgoing(self, event: str, **fields: object) -> Outgoing:
        message = {"event": event, "streamSid": self._stream_sid, **fields}
        return Outgoing(is_text=True, data=msgspec.json.encode(message))

    def _audio(self, media: _Media | None) -> Sequence[Event]:
        if media is None:
            return self._lost(Reason.BAD_MEDIA)
        track = self._tracks.get(media.track)  # rule 1
        if track is None:
            return self._lost(Reason.UNKNOWN_TRACK)
        time_ms = media.timestamp
        if isinstance(time_ms, str):
            time_ms = int(time_ms) if time_ms.isdecimal() and len(time_ms) <= _MAX_DIGITS else _number(time_ms)
        payload = media.payload
        samples, rest = divmod(len(payload), self._step_bytes)
        if rest:
            return _IGNORED[Reason.BAD_MEDIA]
        if not samples:
            return ()
        if not 0 <= time_ms < _END_MS:  # rule 3
            position = self._ends[track]
            self._ends[track] = position + samples
            return (*_IGNORED[Reason.BAD_TIMESTAMP], Frame(track, position, samples, payload))
        if time_ms >= _SINCE_1970_MS:
            if self._origin_ms is None:
                self._origin_ms = time_ms - _MARGIN_MS
            time_ms -= self._origin_ms
        position = int(time_ms % _WRAP_MS * self._rate_hz) // 1000
        self._ends[track] = position + samples
        return (Frame(track, position, samples, payload),)

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
            return self._unreadable(f"a JSON object is expected: {error}")
        match fields.get("event"):
            case "connected":
                return ()
            case "start":
                return _IGNORED[Reason.SECOND_START] if self._tracks else (self._start(fields),)
            case "media":
                return self._untimed(fields.get("media"))
            case "dtmf" | "mark" | "stop" if not self._tracks:
                return _IGNORED[Reason.BEFORE_START]
            case "dtmf":
                digit = _part(fields, "dtmf", "digit")
                return (Dtmf(digit),) if digit in DTMF_DIGITS else _IGNORED[Reason.BAD_DIGIT]
            case "mark":
                name = _part(fields, "mark", "name")
                return (Mark(name),) if is_customer_id(name) else _IGNORED[Reason.BAD_MARK]
            case "stop":
                return (StreamStopped(),)
            case str():
                return _IGNORED[Reason.UNKNOWN_EVENT]
            case _:
                return self._unreadable("an event is expected")

    def _untimed(self, media: object) -> Sequence[Event]:
        """Return the events of audio whose message could not be decoded as a whole: its payload may still be good."""
        try:
            untimed = msgspec.convert(media, _Untimed)
        except msgspec.ValidationError:
            return self._lost(Reason.BAD_MEDIA)
        return self._audio(_Media(untimed.payload, _NO_TIME, untimed.track))

    def _start(self, fields: Mapping[str, Any]) -> StreamStarted:
        started = _read_start(fields, self._request)
        index = {track: number for number, track in enumerate(started.tracks)}
        self._tracks = {name: index[track] for name, track in TRACKS.items() if track in index}
        # A two-way stream has the inbound track only, and clones leave its name out.
        self._tracks[None] = index.get(Track.INBOUND, 0)
        self._ends = [0] * len(started.tracks)
        self._rate_hz = started.format.rate_hz
        self._step_bytes = started.format.step_bytes
        self._stream_sid = started.stream_id
        return started

    def _lost(self, reason: Reason) -> Sequence[Event]:
        """Ignore audio that cannot be used; before the start, that is the reason (rule 2)."""
        return _IGNORED[reason if self._tracks else Reason.BEFORE_START]

    def _unreadable(self, detail: str) -> Sequence[Event]:
        if not self._tracks:  # rule 2
            raise BadPayload("text", detail)
        return _IGNORED[Reason.NOT_JSON]


def _read_start(message: Mapping[str, Any], request: UpgradeRequest) -> StreamStarted:
    """Return the stream that a ``start`` message describes; raise BadParameter."""
    start = _start_fields(message)
    custom = first_fields(start.custom_parameters or {})
    parameters = read_parameters({**request.defaults, **request.query, **custom}, _Parameters, _ACCEPTED)
    codec = _CODECS.get(start.media_format.encoding.lower())
    if codec is None:
        raise BadParameter("start.mediaFormat.encoding", _FIELDS["mediaFormat.encoding"])
    stream_sid = start.stream_sid or read_id(message, "streamSid") or ""
    sids = {"callSid": start.call_sid, "streamSid": stream_sid, "accountSid": start.account_sid}
    known = {name: sid for name, sid in sids.items() if is_customer_id(sid)}
    call_id = known.get("callSid")
    where = identify(request, custom, call_id=call_id or known.get("streamSid"), leg_id=call_id)  # rule 4
    return StreamStarted(
        session_id=where.session_id,
        leg=where.leg,
        format=MediaFormat(codec=ordered(codec, parameters.byteorder), rate_hz=start.media_format.sample_rate),
        clock=TrackClock.TIMESTAMPED,
        tracks=_read_tracks(start.tracks),
        channel=parameters.channel,
        # The ids of the stream come first: a call has room for so many.
        call=replace(parameters.call, vendor_ids=known | customer_ids(custom, {*_NO_VENDOR_ID, *known})),
        record=parameters.record,
        keepalive=parameters.keepalive,
        accepts_audio=parameters.two_way and "streamSid" in known,  # rule 5
        stream_id=known.get("streamSid"),
    )


def _start_fields(message: Mapping[str, Any]) -> _Start:
    try:
        return msgspec.convert(message.get("start"), _Start, strict=False)
    except msgspec.ValidationError as error:
        found = _PLACE.search(str(error))
        place = found.group(1) if found else ""
        raise BadParameter(f"start.{place}".rstrip("."), _FIELDS.get(place, "an object is accepted")) from error


def _read_tracks(names: list[str]) -> tuple[Track, ...]:
    """Return the tracks in the order given; without a name it is the inbound one, as in a two-way stream."""
    unknown = next((name for name in names if name not in TRACKS), None)
    if unknown is not None:
        raise BadParameter("start.tracks", _FIELDS["tracks"])
    return tuple(dict.fromkeys(TRACKS[name] for name in names)) or (Track.INBOUND,)


def _number(text: str) -> float:
    try:
        return float(text) if len(text) <= _MAX_CHARACTERS else _NO_TIME
    except ValueError:
        return _NO_TIME


def _part(fields: Mapping[str, Any], event: str, name: str) -> str:
    """Return a text within an event; empty if there is none."""
    part = fields.get(event)
    text = part.get(name) if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""
