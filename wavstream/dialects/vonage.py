"""Vonage's WebSocket endpoint, and those who speak the same (Infobip, white-label platforms).

Source: developer.vonage.com, Voice API, concepts, WebSockets; the vonage serializer of pipecat for what clones send.

1. The socket is a party of the call and no tap: it hears all others mixed into one channel, and what it says they hear.
   So it always takes audio, and what it is sent does not come back.
2. The first text has the format in ``content-type``, which nothing else changes, and the keys of the NCCO's ``headers``
   at its top level: the parameters of the stream and the customer's own ids. Vonage's own id of the call is not there.
3. The end is the close: there is no message for it.
4. A message to Vonage has exactly 20 ms; other sizes are refused, or distort. It plays them from a buffer of its own,
   so one goes out in each 20 ms: bursts once crackled (Vonage/vonage-node-sdk#124).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import FormatNames, UpgradeRequest
from wavstream.dialects.events import CallInfo, Event, Ignored, Outgoing, Reason, StreamStarted
from wavstream.dialects.identity import named_track
from wavstream.dialects.parameters import first_fields
from wavstream.dialects.samples import SampleDialect, key_event
from wavstream.dialects.stream_metadata import StreamMetadata
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import Track

_L16 = re.compile(r'\s*audio/l16\s*(?:;.*?\brate\s*=\s*"?(\d{1,6})"?.*)?', re.IGNORECASE)
"""RFC 2586; Vonage writes ``audio/l16;rate=16000``."""
_ACCEPTED = "audio/l16;rate=8000, 16000 or 24000 is accepted"
_QUIET = frozenset(("websocket:cleared", "websocket:notify", "websocket:media:update"))
"""Answers to commands, and what the platform says of its own: nothing of them is of the recording."""


class VonageDialect(SampleDialect):
    """The dialect of one WebSocket leg of a call."""

    name: ClassVar[str] = "vonage"
    playout_ms: ClassVar[int] = 20
    ptime_ms: ClassVar[int | None] = 20
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever writes the NCCO",
        rate="the rate in content-type",
        little_endian="byteorder=little in the URI",
        big_endian="byteorder=big in the URI",
    )

    __slots__ = ("_metadata", "_request")

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._request = request
        self._metadata = StreamMetadata(request)

    def opened(self) -> Sequence[Event]:
        """Return no event, since the format follows; raise BadParameter if the URL is wrong."""
        self._metadata.read({}, {"channels": 1})
        return ()

    def clear(self) -> Outgoing | None:
        """Return the command that empties Vonage's buffer, of up to a minute."""
        return Outgoing(is_text=True, data=b'{"action":"clear"}')

    @property
    def _can_start_alone(self) -> bool:
        return self._metadata.url_names_session and self._metadata.url_names_rate

    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        """Return the start by the first text, or by the URL if none came (rule 2); raise BadParameter."""
        rate = _rate(fields.get("content-type"))
        if rate is None and not self._metadata.url_names_rate:
            raise BadParameter("content-type", f"missing, and the URI has no rate; {_ACCEPTED}")
        measured: dict[str, Any] = {"channels": 1} if rate is None else {"channels": 1, "rate": rate}
        if rate is not None:
            measured["return_rate"] = rate
        headers = _headers(fields)
        started = self._metadata.read(headers, measured)
        return msgspec.structs.replace(
            started,
            tracks=(named_track(self._request, _track(headers)) or Track.INBOUND,),
            accepts_audio=True,  # rule 1
            playback=None,  # the format that it sends
            returns_audio=False,
        )

    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        kind = fields.get("event")
        if kind == "websocket:connected":
            return (Ignored(Reason.SECOND_START),) if self._step_bytes else self._start(first_fields(fields))
        if not self._step_bytes:
            if isinstance(kind, str):
                return (Ignored(Reason.BEFORE_START),)
            raise BadPayload("event", "websocket:connected is expected first")
        if kind == "websocket:dtmf":
            return (key_event(_digit(fields)),)
        if isinstance(kind, str) and kind in _QUIET:
            return ()
        if "event" in fields:
            return (Ignored(Reason.UNKNOWN_EVENT),)
        return (CallInfo(self._metadata.call(first_fields(fields))),)


def _headers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the NCCO's headers, which stand among those of the event itself (rule 2)."""
    return {name: value for name, value in fields.items() if name not in ("event", "content-type")}


def _track(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the track among the headers, unless the customer means something else by the word."""
    return headers if headers.get("track") in ("inbound", "outbound") else {}


def _digit(fields: Mapping[str, Any]) -> object:
    """Return the key; earlier versions had it one level deeper."""
    deeper = fields.get("dtmf")
    return fields.get("digit", deeper.get("digit") if isinstance(deeper, dict) else deeper)


def _rate(content_type: object) -> str | None:
    """Return the rate of the content type; None: it has none; raise BadParameter if it is another codec."""
    if content_type is None:
        return None
    found = _L16.fullmatch(content_type) if isinstance(content_type, str) and len(content_type) <= 256 else None
    if found is None:
        raise BadParameter("content-type", _ACCEPTED)
    return found[1]
