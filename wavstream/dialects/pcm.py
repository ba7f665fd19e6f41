"""The native dialect: binary messages are raw samples, text messages are small JSON events.

A stream starts exactly once:

1. At the upgrade, if the URL names the session and the query has at least one setting.
2. Else at the first message. A JSON object without ``event`` has settings, which are added to those of the query. With
   any other message the settings are those of the query, or the defaults.
3. Settings that come later are refused and not ignored: a wrong rate would make a file that plays at the wrong speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.events import (
    Dtmf,
    Event,
    Frame,
    Ignored,
    Mark,
    Outgoing,
    Paused,
    Reason,
    Resumed,
    StreamStarted,
    StreamStopped,
)
from wavstream.dialects.identity import identify, named_track
from wavstream.dialects.parameters import (
    ACCEPTED,
    BYTE_ORDERS,
    ByteOrder,
    StreamParameters,
    ordered,
    read_parameters,
    too_deep,
)
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ, Codec, MediaFormat, Track, TrackClock
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS


class _Settings(StreamParameters, frozen=True, kw_only=True):
    codec: Codec = Codec.L16
    byteorder: ByteOrder | None = None
    rate: Annotated[int, msgspec.Meta(ge=MIN_RATE_HZ, le=MAX_RATE_HZ)] = MIN_RATE_HZ
    channels: Literal[1, 2] = 1
    clock: Literal["contiguous", "arrival"] = "contiguous"
    keepalive: bool | None = False  # a program that never reads would be cut off by its own WebSocket library
    echo: bool = False


_ACCEPTED = {
    **ACCEPTED,
    "codec": "l16, l16be, pcmu or pcma",
    "byteorder": BYTE_ORDERS,
    "rate": f"a whole number of hertz, {MIN_RATE_HZ} to {MAX_RATE_HZ}",
    "channels": "1 or 2",
    "clock": "contiguous or arrival",
    "echo": "0 or 1",
}
_IDS = ("session_id", "leg", "track")
_DESCRIBING = frozenset((*_ACCEPTED, "track"))

_decode_text = msgspec.json.Decoder(dict[str, Any]).decode


class PcmDialect(Dialect):
    """The native dialect of one stream."""

    name: ClassVar[str] = "pcm"
    playout_ms: ClassVar[int] = 200
    """The documented room of a peer: a write each 20 ms would cost ten times as much."""
    is_plain: ClassVar[bool] = True
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever opens the stream",
        rate="rate",
        little_endian="codec=l16",
        big_endian="byteorder=big",
        codec="codec",
        channels="channels",
    )

    __slots__ = ("_position", "_request", "_step_bytes")

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._step_bytes = 0  # 0: not started
        self._position = 0

    def opened(self) -> Sequence[Event]:
        """Return StreamStarted if path and query are enough (rule 1); raise BadParameter."""
        request = self._request
        names_session = request.session_id is not None or "session_id" in request.query
        return (self._start({}),) if names_session and not _DESCRIBING.isdisjoint(request.query) else ()

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of settings or of an event; raise BadPayload or BadParameter."""
        try:
            fields = _decode_text(message)
        except UnicodeDecodeError as error:
            raise BadPayload("text", "not UTF-8") from error
        except msgspec.DecodeError as error:
            raise BadPayload("text", f"a JSON object is expected: {error}") from error
        except RecursionError:
            raise too_deep() from None
        if "event" in fields:
            event = _event(fields)
            return (event,) if self._step_bytes else (self._start({}), event)
        if not self._step_bytes:
            return (self._start(fields),)
        late = next((key for key in fields if key in _ACCEPTED or key in _IDS), None)
        if late is not None:  # rule 3
            raise BadParameter(late, "the stream has started; settings belong into the query or the first message")
        raise BadPayload("event", "missing")

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return the frame of whole samples of every channel; raise BadPayload."""
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
        return (Frame(0, position, samples, payload, messages),)

    def message(self, payload: bytes) -> Outgoing:
        """Return the samples as they are."""
        return Outgoing(is_text=False, data=payload)

    def clear(self) -> Outgoing | None:
        """Return the event that has the peer drop what it has not played."""
        return Outgoing(is_text=True, data=b'{"event":"clear"}')

    def _start(self, message: Mapping[str, Any]) -> StreamStarted:
        """Start the stream; settings of the first message win over those of the query."""
        request = self._request
        settings = read_parameters({**request.defaults, **request.query, **message}, _Settings, _ACCEPTED)
        track = named_track(request, message) or Track.INBOUND
        if settings.channels == 2 and track is Track.OUTBOUND:
            raise BadParameter("track", "with channels=2 the left channel is inbound and the right one outbound")
        codec = settings.codec if settings.byteorder is None else ordered(settings.codec, settings.byteorder)
        if settings.codec is Codec.L16BE and codec is Codec.L16:
            raise BadParameter("byteorder", "l16be is big-endian; codec=l16 is little-endian")
        audio = MediaFormat(codec=codec, rate_hz=settings.rate, channels=settings.channels)
        tracks = (Track.INBOUND, Track.OUTBOUND) if settings.channels == 2 else (track,)
        where = identify(request, message)
        started = StreamStarted(
            session_id=where.session_id,
            leg=where.leg,
            format=audio,
            clock=TrackClock(settings.clock),
            tracks=tracks,
            channel=settings.channel,
            call=settings.call,
            record=settings.record,
            keepalive=settings.keepalive,
            accepts_audio=True,
            returns_audio=settings.echo and Track.OUTBOUND in tracks,
        )
        self._step_bytes = audio.step_bytes
        return started


def _event(fields: Mapping[str, Any]) -> Event:
    match fields["event"]:
        case "dtmf":
            digit = fields.get("digit")
            if not isinstance(digit, str) or digit not in DTMF_DIGITS:
                raise BadPayload("digit", "one of 0-9 * # A-D is expected")
            return Dtmf(digit)
        case "mark":
            name = fields.get("name")
            if not isinstance(name, str) or not is_customer_id(name):
                raise BadPayload("name", "1 to 256 printable characters are expected")
            return Mark(name)
        case "pause":
            return Paused()
        case "resume":
            return Resumed()
        case "stop":
            return StreamStopped()
        case str():
            return Ignored(Reason.UNKNOWN_EVENT)
        case _:
            raise BadPayload("event", "text is expected")
