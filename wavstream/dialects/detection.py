"""Which dialect a stream speaks that was opened at ``/media``: found out, and then spoken.

The evidence is looked at in the order of two tables, and the first row that fits decides: ``_BY_UPGRADE`` when the
socket is open (the answer to the upgrade never waits for it), then ``_BY_TEXT`` at the first text. Rules:

1. ``connected`` is sent by several vendors: it alone decides nothing unless it says more, and is kept. Its start may
   come as late as the server lets a stream be silent (a vendor may connect before the call is answered), and nothing
   but the start, or the route, says what the stream is.
2. Audio before any text is kept (``early``). When it has waited for as long as it may, or at a text that shows nothing,
   the stream is what the route says (``dialect`` among its parameters), else what its upgrade hints at (``codec`` in
   the query is ours), else 16-bit samples as FreeSWITCH sends them.
3. What was kept is given to the dialect in its order, and after that there is no trace of this. What the dialect
   refuses is refused as its own.
4. A row may name a vendor that has no dialect here. Its stream is refused with that name: taken for something else it
   were a silent recording.

Sources of the rows: the documentation and code of each vendor, named in its dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.early import EarlyAudio
from wavstream.dialects.events import Detected, Event, Refused, StreamStarted
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.joined_json import objects_in
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter, BadPayload, MediaError
from wavstream.model.audio import Codec

_MAX_KEPT_TEXTS = 4
"""Texts that decide nothing; no vendor sends more than one."""
_TELNYX_TOKEN = "x-telnyx-streaming-auth-token"
_OURS = tuple(codec.value for codec in Codec)

_Fields = Mapping[str, Any]


class _Upgrade(NamedTuple):
    """A row of evidence in the request."""

    what: str
    fits: Callable[[Mapping[str, str]], bool]
    """Asked of the headers, names in lower case, or of the query."""
    dialect: str


class _Text(NamedTuple):
    """A row of evidence in the first text."""

    what: str
    fits: Callable[[_Fields], bool]
    """Asked of the fields of a JSON object."""
    dialect: str | None
    """None: the next text will tell. One that is not in the registry is refused (rule 4)."""


def _asks_for(subprotocol: str) -> Callable[[Mapping[str, str]], bool]:
    def fits(headers: Mapping[str, str]) -> bool:
        asked = headers.get("sec-websocket-protocol", "").split(",")
        return subprotocol in (each.strip() for each in asked)

    return fits


def _start_with(*names: str) -> Callable[[_Fields], bool]:
    """Return the test for a ``start`` event in which the object ``start``, or the event itself, has all these names."""

    def fits(fields: _Fields) -> bool:
        start = fields.get("start")
        if fields.get("event") != "start" or not isinstance(start, dict):
            return False
        return all(name in start or name in fields for name in names)

    return fits


def _is_signalwire_start(fields: _Fields) -> bool:
    """Return whether a start in Twilio's form has ids that are no Twilio's, or a codec that Twilio has not."""
    if not _start_with("streamSid")(fields):
        return False
    start = fields["start"]
    form = start.get("mediaFormat")
    encoding = form.get("encoding") if isinstance(form, dict) else None
    is_l16 = isinstance(encoding, str) and encoding.lower().startswith("audio/x-l16")
    ids = (start.get("streamSid", fields.get("streamSid")), start.get("callSid"))
    return is_l16 or any(isinstance(each, str) and len(each) == 36 and each.count("-") == 4 for each in ids)


def _has_telnyx_token(fields: _Fields) -> bool:
    """Return whether a ``connected`` has the token of Telnyx: it was seen at both places."""
    within = fields.get("connected")
    return fields.get("event") == "connected" and (
        _TELNYX_TOKEN in fields or (isinstance(within, dict) and _TELNYX_TOKEN in within)
    )


_BY_UPGRADE = (
    _Upgrade(
        "a header of AudioHook",
        lambda headers: not headers.keys().isdisjoint(("audiohook-session-id", "audiohook-organization-id")),
        "audiohook",
    ),
    _Upgrade("signed by Twilio", lambda headers: "x-twilio-signature" in headers, "twilio"),
    _Upgrade("a token of Telnyx", lambda headers: _TELNYX_TOKEN in headers, "telnyx"),
    _Upgrade("jambonz' subprotocol", _asks_for("audio.jambonz.org"), "jambonz"),
    _Upgrade("mod_audio_fork's subprotocol", _asks_for("audio.drachtio.org"), "audio-fork"),
    _Upgrade("the rewritten fork's subprotocol", _asks_for("audiofork"), "audiofork2"),
    _Upgrade("Asterisk's subprotocol", _asks_for("media"), "asterisk"),
)
_HINTS = (
    _Upgrade(
        # libwsc, its WebSocket client, offers a window of 512 bytes, and nobody else does; others may use libwsc.
        "mod_audio_stream's offer to compress",
        lambda headers: "client_max_window_bits=9" in headers.get("sec-websocket-extensions", ""),
        "audio-stream",
    ),
)
"""What counts where nothing else does (rule 2)."""
_QUERY_HINT = _Upgrade("our own codec in the query", lambda query: "codec" in query, "pcm")

_BY_TEXT = (
    _Text("Asterisk's MEDIA_START", lambda fields: fields.get("event") == "MEDIA_START", "asterisk"),
    _Text(
        "AudioHook's open",
        lambda fields: fields.get("version") == "2" and fields.get("type") == "open" and "seq" in fields,
        "audiohook",
    ),
    _Text(
        "the rewritten fork's hello",
        lambda fields: fields.get("type") == "hello" and fields.get("encoding") == "L16" and "callSid" in fields,
        "audiofork2",
    ),
    _Text(
        "VoiceAI Connect of AudioCodes",
        lambda fields: fields.get("type") in ("session.initiate", "connection.validate"),
        "audiocodes",
    ),
    _Text("Sinch's connect", lambda fields: fields.get("command") == "connect" and "applicationKey" in fields, "sinch"),
    _Text("Vonage's first message", lambda fields: fields.get("event") == "websocket:connected", "vonage"),
    _Text("Bandwidth's start", lambda fields: fields.get("eventType") == "start" and "metadata" in fields, "bandwidth"),
    _Text(
        "SignalWire's connected",
        lambda fields: fields.get("event") == "connected" and fields.get("version") == "0.2.0",
        "signalwire",
    ),
    _Text("Telnyx' connected, with its token", _has_telnyx_token, "telnyx"),
    _Text("connected", lambda fields: fields.get("event") == "connected", None),  # rule 1
    _Text("Telnyx' start", _start_with("call_control_id"), "telnyx"),
    _Text("Plivo's start", _start_with("callId", "streamId"), "plivo"),
    _Text("Exotel's start", _start_with("stream_sid"), "exotel"),
    _Text("SignalWire's start", _is_signalwire_start, "signalwire"),
    _Text("Twilio's start, or a clone's", _start_with("streamSid"), "twilio"),
    _Text("a start in Twilio's form without an id of the stream", _start_with("callSid"), "twilio"),
    _Text("Voximplant's start", _start_with("mediaFormat"), "voximplant"),
    _Text(
        "jambonz' first message",
        lambda fields: "sampleRate" in fields and "mixType" in fields and "callSid" in fields,
        "jambonz",
    ),
    _Text("LiveKit's word of a mute", lambda fields: fields.keys() == {"muted"}, "livekit"),
    _Text("our own settings", lambda fields: fields.get("codec") in _OURS and "event" not in fields, "pcm"),
)

_PLAIN = _Text("Asterisk's MEDIA_START in plain text", lambda fields: False, "asterisk")
"""The only first text of a vendor that is no JSON."""


class AutoDialect(Dialect):
    """Takes the first messages of a stream, until it is known what it speaks."""

    name: ClassVar[str] = "auto"
    server_pings: ClassVar[bool] = False
    """Asterisk's earlier versions hang up on a PING, and it may be one."""
    format_names: ClassVar[FormatNames] = AudioForkDialect.format_names

    __slots__ = ("_early", "_request", "_texts")

    def __init__(self, request: UpgradeRequest) -> None:
        self._request = request
        self._early = EarlyAudio()
        self._texts: list[tuple[int, bytes]] = []
        """Each with the number of binary messages before it."""

    def opened(self) -> Sequence[Event]:
        """Return the dialect that the request shows, with its first events, if it shows one."""
        found = _shown(_BY_UPGRADE, self._request.headers)
        return () if found is None else self._become(found.dialect, found.what)

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the dialect that this text shows, with the events of all that came; raise MediaError."""
        row = _shown_by(message)
        if row is not None and row.dialect is None and len(self._texts) < _MAX_KEPT_TEXTS - 1:
            self._texts.append((len(self._early), message))  # rule 1
            return ()
        name = self._default() if row is None or row.dialect is None else row.dialect
        self._texts.append((len(self._early), message))
        return self._become(name, "" if row is None else row.what)

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Keep it; behind so much it is not waited for a text any longer (rule 2); raise MediaError."""
        return () if self._early.hold(payload) else self._become(self._default())

    def waited(self) -> Sequence[Event]:
        """Take the dialect of rule 2, and have it wait no longer either; one that said ``connected`` waits (rule 1)."""
        return self._become(self._default(), last=_waited) if self._has_default else ()

    def ended(self) -> Sequence[Event]:
        """Return the audio that was kept as the dialect of rule 2 has it; raise MediaError if there is none."""
        return self._become(self._default(), last=_ended) if self._early else ()

    def _become(
        self, name: str, what: str = "", *, last: Callable[[Dialect], Sequence[Event]] | None = None
    ) -> Sequence[Event]:
        """Return the dialect, and the events of what was kept (rule 3); ``last``: asked if it has not started then."""
        kind = DIALECTS.get(name)
        if kind is None:  # rule 4
            raise BadParameter("dialect", f"{what or name}: there is no dialect for it, or not in this version")
        dialect = kind(self._request)
        events: list[Event] = [Detected(dialect)]
        try:
            events += dialect.opened()
            for is_text, message in self._take():
                events += dialect.text(message) if is_text else dialect.binary(message)
            if last is not None and not any(isinstance(event, StreamStarted) for event in events):
                events += last(dialect)
        except MediaError as error:
            events.append(Refused(error))
        return events

    def _take(self) -> Iterator[tuple[bool, bytes]]:
        """Yield what was kept, in its order, and whether it is text."""
        texts, self._texts = self._texts, []
        done = 0
        audio = self._early.take()
        for before, text in texts:
            yield from ((False, payload) for payload in audio[done:before])
            yield True, text
            done = before
        yield from ((False, payload) for payload in audio[done:])

    @property
    def _has_default(self) -> bool:
        """Whether anything says what the stream is that shows nothing; not behind ``connected`` (rule 1)."""
        return not self._texts or "dialect" in self._request.defaults

    def _default(self) -> str:
        """Return the dialect of rule 2; raise BadPayload if there is none."""
        if not self._has_default:
            raise BadPayload("event", "connected, and then no start that a known vendor sends")
        hint = _QUERY_HINT if _QUERY_HINT.fits(self._request.query) else _shown(_HINTS, self._request.headers)
        return self._request.defaults.get("dialect", AudioForkDialect.name if hint is None else hint.dialect)


def _shown(rows: Sequence[_Upgrade], headers: Mapping[str, str]) -> _Upgrade | None:
    return next((row for row in rows if row.fits(headers)), None)


def _shown_by(message: bytes) -> _Text | None:
    """Return the row that fits a text, or the first of the documents in it that tells; None: it may be anything."""
    if message.startswith(b"MEDIA_START "):
        return _PLAIN
    if not message.lstrip().startswith(b"{"):
        return None
    rows = (next((row for row in _BY_TEXT if row.fits(fields)), None) for fields in objects_in(message))
    shown = None
    for row in rows:
        if row is not None and row.dialect is not None:
            return row
        shown = shown or row
    return shown


def _waited(dialect: Dialect) -> Sequence[Event]:
    return dialect.waited()


def _ended(dialect: Dialect) -> Sequence[Event]:
    return dialect.ended()
