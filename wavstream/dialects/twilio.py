"""Twilio Media Streams, and those who speak the same: JSON text, audio in base64, media time in milliseconds.

- One socket carries one or two tracks; every frame names its track and says where it belongs. Numbers come as decimal
  strings, from clones as numbers.
- Before ``start`` nothing is known, and what makes no sense is refused. After it a message that cannot be used is
  ignored with its reason: what was recorded stays, and what follows may be right again.
- Good audio with a time that cannot be one directly follows the frame of its track before it, and is counted.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import Outgoing, UpgradeRequest
from wavstream.dialects.events import (
    Dtmf,
    Event,
    Frame,
    Ignored,
    Mark,
    StreamStarted,
    StreamStopped,
)
from wavstream.dialects.reasons import Reason
from wavstream.dialects.twilio_start import TRACKS, read_start
from wavstream.errors import BadPayload
from wavstream.model.audio import Track
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

_SINCE_1970_MS = 2**40
"""From here on, the year 2004, it is a clone's time of day; as time since a stream's start it would be 34 years."""
_END_MS = 2**42
"""The year 2109."""
_MAX_DIGITS = 13
_MAX_CHARACTERS = 32
_NO_TIME = -1
_MARGIN_MS = 1_000
"""A clone's first frame may have overtaken others."""
_ROUND_MS = 2**36
"""Media time goes round after 2.2 years, so that a place in samples, times a million, is below 2**63 at any rate."""


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


class TwilioDialect:
    """The dialect of one Twilio stream."""

    name: ClassVar[str] = "twilio"
    server_pings: ClassVar[bool] = True
    playout_ms: ClassVar[int] = 200
    """Twilio buffers what it is sent, and can be told to drop it."""
    ptime_ms: ClassVar[int | None] = 20
    whole_sounds: ClassVar[bool] = False

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

    def opened(self) -> Sequence[Event]:
        """Nothing is known before ``start``."""
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        """One event; raises BadPayload or BadParameter before the start, nothing after it."""
        try:
            said = _decode_message(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._other(message)
        return self._audio(said.media) if said.event == "media" else self._other(message)

    def binary(self, payload: bytes) -> Sequence[Event]:
        """Never of any use here."""
        return _IGNORED[Reason.BINARY]

    def ended(self) -> Sequence[Event]:
        """Nothing is held back."""
        return ()

    def message(self, payload: bytes) -> Outgoing:
        """Audio of any length; Twilio plays it behind what it has already."""
        return self._outgoing("media", media={"payload": base64.b64encode(payload).decode()})

    def clear(self) -> Outgoing | None:
        """Twilio drops what it has not played."""
        return self._outgoing("clear")

    def _outgoing(self, event: str, **fields: object) -> Outgoing:
        message = {"event": event, "streamSid": self._stream_sid, **fields}
        return Outgoing(is_text=True, data=msgspec.json.encode(message))

    def _audio(self, media: _Media | None) -> Sequence[Event]:
        if media is None:
            return self._lost(Reason.BAD_MEDIA)
        track = self._tracks.get(media.track)
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
        if not 0 <= time_ms < _END_MS:
            position = self._ends[track]
            self._ends[track] = position + samples
            return (*_IGNORED[Reason.BAD_TIMESTAMP], Frame(track, position, samples, payload))
        if time_ms >= _SINCE_1970_MS:
            if self._origin_ms is None:
                self._origin_ms = time_ms - _MARGIN_MS
            time_ms -= self._origin_ms
        position = int(time_ms % _ROUND_MS * self._rate_hz) // 1000
        self._ends[track] = position + samples
        return (Frame(track, position, samples, payload),)

    def _other(self, message: bytes) -> Sequence[Event]:
        """Anything but good audio, off the fast path."""
        try:
            fields = _decode_fields(message)
        except UnicodeDecodeError:
            return self._unreadable("not UTF-8")
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
        """Audio whose message could not be read as a whole; its payload may still be good."""
        try:
            said = msgspec.convert(media, _Untimed)
        except msgspec.ValidationError:
            return self._lost(Reason.BAD_MEDIA)
        return self._audio(_Media(said.payload, _NO_TIME, said.track))

    def _start(self, fields: Mapping[str, Any]) -> StreamStarted:
        started = read_start(fields, self._request)
        index = {track: number for number, track in enumerate(started.tracks)}
        self._tracks = {name: index[track] for name, track in TRACKS.items() if track in index}
        # A two-way stream has the inbound track only, and clones then leave its name out.
        self._tracks[None] = index.get(Track.INBOUND, 0)
        self._ends = [0] * len(started.tracks)
        self._rate_hz = started.format.rate_hz
        self._step_bytes = started.format.step_bytes
        self._stream_sid = started.stream_id
        return started

    def _lost(self, reason: Reason) -> Sequence[Event]:
        """Audio that cannot be used; before the start for that reason already."""
        return _IGNORED[reason if self._tracks else Reason.BEFORE_START]

    def _unreadable(self, detail: str) -> Sequence[Event]:
        if not self._tracks:
            raise BadPayload("text", detail)
        return _IGNORED[Reason.NOT_JSON]


def _number(text: str) -> float:
    try:
        return float(text) if len(text) <= _MAX_CHARACTERS else _NO_TIME
    except ValueError:
        return _NO_TIME


def _part(fields: Mapping[str, Any], event: str, name: str) -> str:
    """A text within an event; empty if there is none."""
    said = fields.get(event)
    text = said.get(name) if isinstance(said, dict) else None
    return text if isinstance(text, str) else ""
