"""Which dialect a stream speaks that was opened at ``/media``: found out, and then spoken.

The evidence is looked at in the order of two tables, and the first row that fits decides: ``_BY_UPGRADE`` when the
socket is open (the answer to the upgrade never waits for it), then ``_BY_TEXT`` at the first text. Rules:

1. ``connected`` is sent by several vendors: it alone decides nothing unless it says more, and is kept for the dialect.
2. Audio before any text is kept (``early``). When it has waited for as long as it may, the stream is what the route
   says (``dialect`` among its parameters), or else 16-bit samples as FreeSWITCH sends them.
3. What was kept is given to the dialect in its order, and after that there is no trace of this.

Sources of the rows: the documentation and code of each vendor, named in its dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.early import EarlyAudio
from wavstream.dialects.events import Detected, Event
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.parameters import too_deep
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter

_MAX_KEPT_TEXTS = 4
"""Texts that decide nothing; no vendor sends more than one."""

_Fields = Mapping[str, Any]


class _Upgrade(NamedTuple):
    """A row of evidence in the request."""

    what: str
    fits: Callable[[Mapping[str, str]], bool]
    """Asked of the headers, names in lower case."""
    dialect: str


class _Text(NamedTuple):
    """A row of evidence in the first text."""

    what: str
    fits: Callable[[_Fields], bool]
    """Asked of the fields of a JSON object."""
    dialect: str | None
    """None: the next text will tell."""


def _asks_for(subprotocol: str) -> Callable[[Mapping[str, str]], bool]:
    def fits(headers: Mapping[str, str]) -> bool:
        asked = headers.get("sec-websocket-protocol", "").split(",")
        return subprotocol in (each.strip() for each in asked)

    return fits


def _start_with(*names: str) -> Callable[[_Fields], bool]:
    """Return the test for a ``start`` event in which the object ``start`` has all these names."""

    def fits(fields: _Fields) -> bool:
        start = fields.get("start")
        return fields.get("event") == "start" and isinstance(start, dict) and all(name in start for name in names)

    return fits


def _is_signalwire_start(fields: _Fields) -> bool:
    """Return whether a start in Twilio's form has ids that are no Twilio's, or a codec that Twilio has not."""
    if not _start_with("streamSid")(fields):
        return False
    start = fields["start"]
    form = start.get("mediaFormat")
    encoding = form.get("encoding") if isinstance(form, dict) else None
    is_l16 = isinstance(encoding, str) and encoding.lower().startswith("audio/x-l16")
    ids = (start.get("streamSid"), start.get("callSid"))
    return is_l16 or any(isinstance(each, str) and len(each) == 36 and each.count("-") == 4 for each in ids)


_BY_UPGRADE = (
    _Upgrade(
        "a header of AudioHook",
        lambda headers: not headers.keys().isdisjoint(("audiohook-session-id", "audiohook-organization-id")),
        "audiohook",
    ),
    _Upgrade("signed by Twilio", lambda headers: "x-twilio-signature" in headers, "twilio"),
    _Upgrade("a token of Telnyx", lambda headers: "x-telnyx-streaming-auth-token" in headers, "telnyx"),
    _Upgrade("jambonz' subprotocol", _asks_for("audio.jambonz.org"), "jambonz"),
    _Upgrade("mod_audio_fork's subprotocol", _asks_for("audio.drachtio.org"), "audio-fork"),
    _Upgrade("the rewritten fork's subprotocol", _asks_for("audiofork"), "audiofork2"),
    _Upgrade("Asterisk's subprotocol", _asks_for("media"), "asterisk"),
    _Upgrade(
        # libwsc offers a window of 512 bytes, and nobody else does.
        "mod_audio_stream's offer to compress",
        lambda headers: "client_max_window_bits=9" in headers.get("sec-websocket-extensions", ""),
        "audio-stream",
    ),
)

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
    _Text("Vonage's first message", lambda fields: fields.get("event") == "websocket:connected", "vonage"),
    _Text("Bandwidth's start", lambda fields: fields.get("eventType") == "start" and "metadata" in fields, "bandwidth"),
    _Text(
        "SignalWire's connected",
        lambda fields: fields.get("event") == "connected" and fields.get("version") == "0.2.0",
        "signalwire",
    ),
    _Text(
        "Telnyx' connected, with its token",
        lambda fields: fields.get("event") == "connected" and "x-telnyx-streaming-auth-token" in str(fields),
        "telnyx",
    ),
    _Text("connected", lambda fields: fields.get("event") == "connected", None),  # rule 1
    _Text("Telnyx' start", _start_with("call_control_id"), "telnyx"),
    _Text("Plivo's start", _start_with("callId", "streamId"), "plivo"),
    _Text("Exotel's start", _start_with("stream_sid"), "exotel"),
    _Text("SignalWire's start", _is_signalwire_start, "signalwire"),
    _Text("Twilio's start, or a clone's", _start_with("streamSid"), "twilio"),
    _Text(
        "jambonz' first message",
        lambda fields: "sampleRate" in fields and "mixType" in fields and "callSid" in fields,
        "jambonz",
    ),
    _Text("our own settings", lambda fields: "codec" in fields and "event" not in fields, "pcm"),
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


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
        self._texts: list[bytes] = []

    def opened(self) -> Sequence[Event]:
        """Return the dialect that the request shows, with its first events, if it shows one."""
        headers = self._request.headers
        found = next((row.dialect for row in _BY_UPGRADE if row.fits(headers)), None)
        return () if found is None else self._become(found)

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the dialect that this text shows, with the events of all that came; raise what it raises."""
        self._texts.append(message)
        found = self._shown_by(message)
        if found is None and len(self._texts) < _MAX_KEPT_TEXTS:
            return ()
        return self._become(found or self._default())

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Keep it; behind so much it is not waited for a text any longer (rule 2)."""
        return () if self._early.hold(payload) else self._become(self._default())

    def waited(self) -> Sequence[Event]:
        """Take the dialect of rule 2, and have it wait no longer either."""
        events = self._become(self._default())
        assert isinstance(events[0], Detected)
        is_started = any(type(event).__name__ == "StreamStarted" for event in events)
        return events if is_started else (*events, *events[0].dialect.waited())

    def ended(self) -> Sequence[Event]:
        """Return what was kept as the dialect of rule 2 has it."""
        if not self._early and not self._texts:
            return ()
        events = self._become(self._default())
        assert isinstance(events[0], Detected)
        return (*events, *events[0].dialect.ended())

    def _become(self, name: str) -> Sequence[Event]:
        """Return the dialect, and the events of what was kept (rule 3)."""
        dialect = DIALECTS[name](self._request)
        events: list[Event] = [Detected(dialect), *dialect.opened()]
        for payload in self._early.take():
            events += dialect.binary(payload)
        for text in self._texts:
            events += dialect.text(text)
        self._texts.clear()
        return events

    def _shown_by(self, message: bytes) -> str | None:
        if message.startswith(b"MEDIA_START "):
            return "asterisk"
        try:
            fields = _decode(message)
        except RecursionError:
            raise too_deep() from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._default()
        for row in _BY_TEXT:
            if row.fits(fields):
                return row.dialect
        return self._default()

    def _default(self) -> str:
        name = self._request.defaults.get("dialect", AudioForkDialect.name)
        if name not in DIALECTS:
            raise BadParameter("dialect", "the route names a dialect that does not exist")
        return name
