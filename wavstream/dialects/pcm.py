"""The native dialect: binary messages are raw samples, text messages are small JSON events.

A stream starts exactly once, and what starts it is decided here:

1. The path names the session and the query has at least one setting: at the upgrade.
2. Else at the first message. A text message that is a JSON object without ``event`` is the settings, added to those
   of the query; any other message means that the query, or the defaults, say all.

Settings that come later are refused and not ignored: a wrong rate would make a file that plays at the wrong speed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import (
    Dtmf,
    Event,
    Frame,
    Ignored,
    Marked,
    Paused,
    Resumed,
    StreamStarted,
    StreamStopped,
)
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Channel, Codec, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import is_customer_id

_DIGITS = frozenset("0123456789*#ABCD")
_SILENCE = {Codec.L16: b"\x00\x00", Codec.L16BE: b"\x00\x00", Codec.PCMU: b"\xff", Codec.PCMA: b"\xd5"}

_Text = Annotated[str, msgspec.Meta(max_length=256)]


class _Settings(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    codec: Codec = Codec.L16
    rate: Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] = MIN_RATE_HZ
    channels: Literal[1, 2] = 1
    track: Track = Track.INBOUND
    clock: TrackClock = TrackClock.CONTIGUOUS
    channel: Channel | None = None
    from_: _Text = ""
    to: _Text = ""
    direction: Literal["", "inbound", "outbound"] = ""
    record: bool = False
    keepalive: bool = False


_ACCEPTED = {
    "codec": "l16, l16be, pcmu or pcma",
    "rate": f"a whole number of hertz, {MIN_RATE_HZ} to {MAX_RATE_HZ}",
    "channels": "1 or 2",
    "track": "inbound or outbound",
    "clock": "contiguous or arrival",
    "channel": "left or right",
    "from": "text of at most 256 characters",
    "to": "text of at most 256 characters",
    "direction": "inbound or outbound",
    "record": "0 or 1",
    "keepalive": "0 or 1",
}
_IDS = ("session_id", "leg")
_FIELD = re.compile(r"\$\.(\w+)")

_decode_text = msgspec.json.Decoder(dict[str, Any]).decode


class PcmDialect:
    """The native dialect of one stream."""

    name: ClassVar[str] = "pcm"
    accepts_audio: ClassVar[bool] = True
    server_pings: ClassVar[bool] = True

    __slots__ = ("_position", "_request", "_silence", "_step_bytes")

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._step_bytes = 0  # 0: not started
        self._position = 0
        self._silence = (b"", 0)

    def opened(self) -> Sequence[Event]:
        """StreamStarted if path and query say enough; raises BadParameter."""
        query = self._request.query
        if self._request.session_id is not None and not _ACCEPTED.keys().isdisjoint(query):
            return (self._start({}),)
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        """Settings or an event; raises BadPayload or BadParameter."""
        try:
            fields = _decode_text(message)
        except UnicodeDecodeError as error:
            raise BadPayload("text", "not UTF-8") from error
        except msgspec.DecodeError as error:
            raise BadPayload("text", f"a JSON object is expected: {error}") from error
        if "event" in fields:
            event = _event(fields)
            return (event,) if self._step_bytes else (self._start({}), event)
        if not self._step_bytes:
            return (self._start(fields),)
        late = next((key for key in fields if key in _ACCEPTED or key in _IDS), None)
        if late is not None:
            raise BadParameter(late, "the stream has started; settings belong into the query or the first message")
        raise BadPayload("event", "missing")

    def binary(self, payload: bytes) -> Sequence[Event]:
        """Whole samples of every channel; raises BadPayload."""
        step_bytes = self._step_bytes
        if not step_bytes:
            return (self._start({}), *self.binary(payload))
        size_bytes = len(payload)
        if size_bytes % step_bytes:
            raise BadPayload("payload", f"{size_bytes} bytes are not a whole number of samples of {step_bytes} bytes")
        if not size_bytes:
            return ()
        samples = size_bytes // step_bytes
        position = self._position
        self._position = position + samples
        return (Frame(0, position, samples, payload),)

    def silence(self, milliseconds: int) -> bytes:
        """The payload of so much silence, in the codec and channels of the stream, which has started."""
        step, rate_hz = self._silence
        return step * (rate_hz * milliseconds // 1000)

    def _start(self, message: Mapping[str, Any]) -> StreamStarted:
        """``message``: settings of the first message, which win over those of the query."""
        settings = _settings({**self._request.query, **message})
        if settings.channels == 2 and settings.track is Track.OUTBOUND:
            raise BadParameter("track", "with channels=2 the left channel is inbound and the right one outbound")
        audio = MediaFormat(codec=settings.codec, rate_hz=settings.rate, channels=settings.channels)
        started = StreamStarted(
            session_id=self._request.session_id or _id(message, "session_id"),
            leg=self._request.leg or _id(message, "leg"),
            format=audio,
            clock=settings.clock,
            tracks=(Track.INBOUND, Track.OUTBOUND) if settings.channels == 2 else (settings.track,),
            channel=settings.channel,
            call=CallFacts(from_=settings.from_, to=settings.to, direction=settings.direction),
            record=settings.record,
            keepalive=settings.keepalive,
        )
        self._step_bytes = audio.step_bytes
        self._silence = (_SILENCE[audio.codec] * audio.channels, audio.rate_hz)
        return started


def _settings(fields: Mapping[str, Any]) -> _Settings:
    """Unknown keys are ignored: load balancers and vendors add their own."""
    known = {key: fields[key] for key in _ACCEPTED if key in fields}
    try:
        return msgspec.convert(known, _Settings, strict=False)
    except msgspec.ValidationError as error:
        where = _FIELD.search(str(error))
        field = where.group(1) if where else "settings"
        raise BadParameter(field, f"{_shown(known.get(field))} is not accepted; {_ACCEPTED[field]} is") from error


def _shown(value: object) -> str:
    """A wrong value, short enough for a close reason."""
    text = ascii(value)
    return text if len(text) <= 24 else f"{text[:20]}..."


def _id(message: Mapping[str, Any], field: str) -> str | None:
    value = message.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not is_customer_id(value):
        raise BadParameter(field, "1 to 256 printable characters are accepted")
    return value


def _event(fields: Mapping[str, Any]) -> Event:
    match fields["event"]:
        case "dtmf":
            digit = fields.get("digit")
            if not isinstance(digit, str) or digit not in _DIGITS:
                raise BadPayload("digit", "one of 0-9 * # A-D is expected")
            return Dtmf(digit)
        case "mark":
            name = fields.get("name")
            if not isinstance(name, str) or not is_customer_id(name):
                raise BadPayload("name", "1 to 256 printable characters are expected")
            return Marked(name)
        case "pause":
            return Paused()
        case "resume":
            return Resumed()
        case "stop":
            return StreamStopped()
        case str():
            return Ignored("unknown_event")
        case _:
            raise BadPayload("event", "text is expected")
