"""Asterisk's ``chan_websocket``: binary messages of one codec frame each, and events in plain text or in JSON.

1. ``MEDIA_START`` describes the stream. Audio may come before it: two threads of Asterisk write (seen in 10 to 15 % of
   the calls of a loaded 22.7, issue 1712 of asterisk/asterisk), so audio is held until it is there.
2. Where it does not come, the stream is what the parameter ``format`` says, in the query or of the route, if something
   names its session. Else it is closed with a reason. A ``MEDIA_START`` that comes later still tells the ids.
3. One socket is one channel and has one track: what that channel hears. Which party's it is, and which direction of it,
   only the dialplan knows: ``v(call=...,leg=...,track=...)`` says it in the query.
4. After the start no message ends the stream: the recording is worth more than the mistake. JSON that is nested too
   deeply to be read is always refused.
5. No PING is sent unless the route says how often: Asterisk before 20.18, 22.8 and 23.2 hangs up on one (pull request
   1722 of asterisk/asterisk), and no message says the version. ``GET_STATUS`` takes its place, which all versions
   answer: a channel that is on hold, or whose silence is suppressed, sends nothing for as long as that lasts.
6. That is the only command. Asterisk hangs up when the socket closes, so ``HANGUP`` would say the same twice; what it
   queues of our audio is at most a tenth of a second, so there is nothing to flush, and no ``MEDIA_XOFF`` to obey,
   which comes at 18 s. One that has more than 128 bytes would be ignored.
7. Positions count samples, and not arrivals, though comfort noise is left out without a word: silence is found in both
   ways, and only so a stall, whose audio comes in one burst, is told from it.

Sources: ``channels/chan_websocket.c`` of asterisk/asterisk; https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.early import EarlyAudio
from wavstream.dialects.events import (
    CallInfo,
    Dtmf,
    Event,
    Frame,
    Ignored,
    Outgoing,
    Reason,
    StreamStarted,
)
from wavstream.dialects.identity import TRACKS, Identity, identify, named_track
from wavstream.dialects.packet_codecs import PacketDecoder
from wavstream.dialects.parameters import (
    ACCEPTED,
    BYTE_ORDERS,
    ByteOrder,
    StreamParameters,
    first_fields,
    ordered,
    read_parameters,
    too_deep,
)
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import Codec, MediaFormat, PacketCodec, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

_FRAME_MS = 20
"""Of every codec here: what Asterisk makes of a message to it is cut into frames of this length."""


class _Format(NamedTuple):
    codec: Codec | PacketCodec
    rate_hz: int


_FORMATS: Mapping[str, _Format] = {
    "ulaw": _Format(Codec.PCMU, 8_000),
    "alaw": _Format(Codec.PCMA, 8_000),
    "slin": _Format(Codec.L16, 8_000),
    "slin12": _Format(Codec.L16, 12_000),
    "slin16": _Format(Codec.L16, 16_000),
    "slin24": _Format(Codec.L16, 24_000),
    "slin32": _Format(Codec.L16, 32_000),
    "slin44": _Format(Codec.L16, 44_100),
    "slin48": _Format(Codec.L16, 48_000),
    "g722": _Format(PacketCodec.G722, 16_000),
    "opus": _Format(PacketCodec.OPUS, 48_000),
}
"""By Asterisk's names. A packet codec's packets come one a message, without length or timestamp."""
_TOO_FAST = ("slin96", "slin192")
_ADVICE = "set c(slin16) or c(ulaw), or format of externalMedia, and Asterisk transcodes"
_SESSION = ("session_id", "call")
"""Names of the session's id, the most specific first."""
_NO_EFFECT = frozenset(
    ("MEDIA_XOFF", "MEDIA_XON", "QUEUE_DRAINED", "STATUS", "MEDIA_BUFFERING_COMPLETED", "MEDIA_MARK_PROCESSED")
)
"""What Asterisk says of audio from us, answers to a probe, or would answer to commands that we do not send."""

_IGNORED = {reason: (Ignored(reason),) for reason in Reason}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Parameters(StreamParameters, frozen=True, kw_only=True):
    byteorder: ByteOrder = "little"
    clock: Literal["contiguous", "arrival"] = "contiguous"
    two_way: bool = False


_ACCEPTED = {**ACCEPTED, "byteorder": BYTE_ORDERS, "clock": "contiguous or arrival", "two_way": "0 or 1"}


class AsteriskDialect(Dialect):
    """The dialect of one ``WebSocket`` channel that Asterisk has connected to us."""

    name: ClassVar[str] = "asterisk"
    server_pings: ClassVar[bool] = False
    playout_ms: ClassVar[int] = 100
    """Asterisk queues up to 1,000 frames and plays one each 20 ms."""
    ptime_ms: ClassVar[int | None] = _FRAME_MS
    is_plain: ClassVar[bool] = True
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream in Asterisk",
        rate="the format's rate",
        little_endian="byteorder=little",
        big_endian="byteorder=big",
        codec="the format's codec",
        codecs={Codec.PCMU: "ulaw", Codec.PCMA: "alaw", Codec.L16: "slin", Codec.L16BE: "slin"},
    )

    __slots__ = (
        "_decoder",
        "_early",
        "_has_media_start",
        "_position",
        "_request",
        "_speaks_json",
        "_started",
        "_step_bytes",
    )

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._early = EarlyAudio()
        self._started: StreamStarted | None = None
        self._has_media_start = self._speaks_json = False
        self._step_bytes = 0  # 0: not started
        self._decoder: PacketDecoder | None = None
        self._position = 0

    def opened(self) -> Sequence[Event]:
        """Return no event, since ``MEDIA_START`` follows; raise BadParameter if the URL or the route is wrong."""
        self._parameters()
        named_track(self._request)
        identify(self._request, session_names=_SESSION)
        self._default_format()
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of a message; raise BadPayload or BadParameter, after the start only for rule 4's JSON."""
        fields = _read(message)
        if fields is None:
            if self._step_bytes:
                return _IGNORED[Reason.FREE_TEXT]
            raise BadPayload("text", "MEDIA_START is expected, in plain text or in JSON")
        event = fields.get("event")
        if event == "MEDIA_START":
            self._speaks_json = message.lstrip()[:1] == b"{"
            return self._media_start(fields)
        if event == "DTMF_END":
            digit = fields.get("digit")
            if not self._step_bytes:
                return _IGNORED[Reason.BEFORE_START]
            if isinstance(digit, str) and digit in DTMF_DIGITS:
                return (Dtmf(digit),)
            return _IGNORED[Reason.BAD_DIGIT]
        if event == "ERROR":
            return _IGNORED[Reason.PEER_ERROR]
        return () if isinstance(event, str) and event in _NO_EFFECT else _IGNORED[Reason.UNKNOWN_EVENT]

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return the frame of whole samples, or those of packets; before the start hold them (rule 1)."""
        step_bytes = self._step_bytes
        if not step_bytes:
            return () if self._early.hold(payload) else self._start_by_default()
        if self._decoder is not None:
            return self._packets(self._decoder, payload, messages)
        samples, rest_bytes = divmod(len(payload), step_bytes)
        if rest_bytes:  # no codec frame has half a sample
            return _IGNORED[Reason.BAD_MEDIA]
        if not samples:
            return ()
        position = self._position
        self._position = position + samples
        return (Frame(0, position, samples, payload, messages),)

    def waited(self) -> Sequence[Event]:
        """Start a stream whose ``MEDIA_START`` has not come (rule 2); raise BadParameter."""
        return self._start_by_default()

    def ended(self) -> Sequence[Event]:
        """Start a stream that ended while its audio was held, if enough is known of it."""
        is_known = self._default_format() is not None and self._identity({}).session_id is not None
        return self._start_by_default() if self._early.held_bytes and is_known else ()

    def message(self, payload: bytes) -> Outgoing:
        """Return a frame of the channel's own codec: exactly one of Asterisk's, which drops what is left over."""
        return Outgoing(is_text=False, data=payload)

    def probe(self) -> Outgoing | None:
        """Return ``GET_STATUS`` in the form that Asterisk itself uses; None before that is known (rule 5)."""
        if not self._has_media_start:
            return None
        return Outgoing(is_text=True, data=b'{"command":"GET_STATUS"}' if self._speaks_json else b"GET_STATUS")

    def _packets(self, decoder: PacketDecoder, payload: bytes, messages: int) -> Sequence[Event]:
        """Return the frames of packets of one size, one behind the other; of a broken one the reason."""
        events: list[Event] = []
        size = len(payload) // messages
        for number in range(messages if size else 0):
            audio = decoder.decode(payload[number * size : (number + 1) * size])
            if not audio:
                events.append(Ignored(Reason.BAD_MEDIA))
                continue
            samples = len(audio) // 2
            events.append(Frame(0, self._position, samples, audio))
            self._position += samples
        return events

    def _media_start(self, fields: Mapping[str, Any]) -> Sequence[Event]:
        named = _format_named(fields.get("format"))
        if self._started is None:
            if isinstance(named, BadParameter):
                raise named
            self._has_media_start = True
            return self._start(named, fields)
        if self._has_media_start:
            return _IGNORED[Reason.SECOND_START]
        self._has_media_start = True
        facts: tuple[Event, ...] = (CallInfo(CallFacts(vendor_ids=_vendor_ids(fields))),)
        return facts if named == self._default_format() else (*facts, *_IGNORED[Reason.OTHER_FORMAT])

    def _start_by_default(self) -> Sequence[Event]:
        default = self._default_format()
        if default is None:
            raise BadParameter(
                "format", "no MEDIA_START came: Asterisk's format has to stand in the query, as v(format=slin16), or "
                "in the route"
            )  # fmt: skip
        return self._start(default, {})

    def _start(self, form: _Format, fields: Mapping[str, Any]) -> Sequence[Event]:
        """Return the start, and the audio that was held; ``fields``: of ``MEDIA_START``, if it is there."""
        parameters = self._parameters()
        where = self._identity(fields)
        if isinstance(form.codec, PacketCodec):
            self._decoder = PacketDecoder(form.codec, "format")
            audio = MediaFormat(codec=Codec.L16, rate_hz=self._decoder.rate_hz)
        else:
            audio = MediaFormat(codec=ordered(form.codec, parameters.byteorder), rate_hz=form.rate_hz)
        track = named_track(self._request, _said(fields)) or Track.INBOUND
        self._started = started = StreamStarted(
            session_id=where.session_id,
            leg=where.leg,
            format=audio,
            clock=TrackClock(parameters.clock),
            tracks=(track,),
            channel=parameters.channel,
            call=replace(parameters.call, vendor_ids=_vendor_ids(fields)),
            record=parameters.record,
            keepalive=parameters.keepalive,
            accepts_audio=parameters.two_way and self._decoder is None and _fits(fields, audio),
            wire_codec=form.codec.value if self._decoder is not None else None,
        )
        self._step_bytes = audio.step_bytes
        frames = [event for payload in self._early.take() for event in self.binary(payload)]
        return (started, *frames)

    def _identity(self, fields: Mapping[str, Any]) -> Identity:
        return identify(
            self._request, _said(fields), session_names=_SESSION, call_id=_vendor_ids(fields).get("channel_id")
        )

    def _parameters(self) -> _Parameters:
        request = self._request
        return read_parameters({**request.defaults, **request.query}, _Parameters, _ACCEPTED)

    def _default_format(self) -> _Format | None:
        """Return the format of the URL or of the route; raise BadParameter for one that cannot be."""
        name = self._request.query.get("format", self._request.defaults.get("format"))
        form = None if name is None else _format_named(name)
        if isinstance(form, BadParameter):
            raise form
        return form


def _read(message: bytes) -> Mapping[str, Any] | None:
    """Return the fields of an event, its name as ``event``; None: it is none. Raise BadPayload for rule 4's JSON."""
    if message.lstrip()[:1] != b"{":
        return _read_plain_text(message)
    try:
        return first_fields(_decode(message))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    except RecursionError:
        raise too_deep() from None


def _read_plain_text(message: bytes) -> Mapping[str, Any] | None:
    """Return the fields of ``NAME key:value key:value``; values end at the next space, but for that of an ERROR."""
    try:
        words = message.decode().split(" ")
    except UnicodeDecodeError:
        return None
    event = words[0].strip()
    if not event.replace("_", "").isalpha() or not event.isupper():
        return None
    pairs = (word.strip().partition(":") for word in words[1:])  # names of channels have colons too
    return {"event": event} | dict(
        first_fields({key: value for key, colon, value in pairs if colon and key != "event"})
    )


def _format_named(name: object) -> _Format | BadParameter:
    """Return the format of this name; the error, if there is none that can be recorded."""
    form = _FORMATS.get(name) if isinstance(name, str) else None
    if form is not None:
        return form
    if name in _TOO_FAST:
        return BadParameter("format", f"{name} is above 48,000 Hz; {_ADVICE}")
    return BadParameter("format", f"{ascii(name)[:20]} is none that is recorded; {_ADVICE}")


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return which of the channel's variables say where the stream belongs.

    They belong to the dialplan: one that happens to have a name of ours, and makes no sense, is passed over.
    """
    variables = fields.get("channel_variables")
    if not isinstance(variables, dict):
        return {}
    ids = {name: variables.get(name) for name in (*_SESSION, "leg")}
    said = {name: value for name, value in ids.items() if isinstance(value, str) and is_customer_id(value)}
    track = variables.get("track")
    return said | {"track": track} if isinstance(track, str) and track in TRACKS else said


def _vendor_ids(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``MEDIA_START`` calls the channel; the versions before 20.17 and 22.7 leave out ``channel_id``."""
    ids: dict[str, str] = {}
    for name in ("channel_id", "channel", "connection_id"):
        value = fields.get(name)
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        if is_customer_id(text):
            ids[name] = text
    return ids


def _fits(fields: Mapping[str, Any], audio: MediaFormat) -> bool:
    """Return whether our messages are whole frames of Asterisk's; 0 is passthrough, which times nothing."""
    frame_bytes = audio.rate_hz * _FRAME_MS // 1_000 * audio.step_bytes
    size = fields.get("optimal_frame_size", frame_bytes)
    try:
        size_bytes = int(size)
    except (TypeError, ValueError, OverflowError):
        return False
    return size_bytes > 0 and frame_bytes % size_bytes == 0
