"""The rewrite of ``mod_audio_fork`` (``lazyboson/mod_audio_fork``): it says what it sends, and comes back by itself.

Source: its ``DESIGN.md``, ``core/src/fork_session.cpp`` and ``core/src/protocol.cpp``.

1. Every connection begins with ``hello``: channel, rate, channels, and the metadata of whoever started it. The module
   measures the format itself, so nothing in the URL or the metadata changes it.
2. A fork that lost its connection dials for as long as the call lasts. It says ``hello`` again, then ``resume``, and
   sends what it kept of the time between, up to 10 s, five times as fast as real time. Only the oldest of that is ever
   dropped (``droppedMs``), so its end is always now. Positions simply count: where the backlog meets real time tells
   where it was said, and what was dropped is the gap before it (``docs/timeline.md``). That is surer than ``gapMs``
   and ``droppedMs``, which leave out up to 0.4 s that the lost connection had taken already.
3. The server may learn of a loss seconds after the fork is back. So a leg without a name has that of the channel
   (``callSid``): then the new connection takes the place of the old one, and is no further leg.
4. ``bye`` is the end, also where ``modify`` moves the fork to another server.
5. Every other text is the application's, passed on as it is: the events of FreeSWITCH's other modules are understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import CallInfo, Event, Ignored, Reason, StreamStarted, StreamStopped
from wavstream.dialects.parameters import first_fields
from wavstream.dialects.samples import APPLICATION_EVENTS, SampleDialect, application_event, key_event
from wavstream.dialects.stream_metadata import StreamMetadata
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.ids import is_customer_id

_MEASURED = frozenset(("type", "version", "rate", "channels", "encoding", "callSid", "metadata"))


class AudioFork2Dialect(SampleDialect):
    """The dialect of one connection of a fork."""

    name: ClassVar[str] = "audiofork2"
    playout_ms: ClassVar[int] = 100
    """The module has a jitter buffer for what it plays."""

    __slots__ = ("_metadata",)

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._metadata = StreamMetadata(request)

    def opened(self) -> Sequence[Event]:
        """Return no event, since ``hello`` follows; raise BadParameter if the URL is wrong."""
        self._metadata.read({})
        return ()

    @property
    def _can_start_alone(self) -> bool:
        return self._metadata.url_names_session and self._metadata.url_names_rate

    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        """Return the start by ``hello``, or by the URL if audio came and no ``hello``; raise BadParameter."""
        if not fields:
            if not self._metadata.url_names_rate:
                raise BadParameter("rate", "no hello came, and the URL has no rate; the fork must send hello first")
            return self._metadata.read({})
        if fields.get("encoding", "L16") != "L16":
            raise BadParameter("encoding", "L16 is accepted; the fork's own protocol has no other")
        said = fields.get("metadata")
        metadata = first_fields(said) if isinstance(said, dict) else {}
        channel = fields.get("callSid")
        call_sid = channel if isinstance(channel, str) and is_customer_id(channel) else None
        own = {"callSid": call_sid} if call_sid else {}
        measured = {"rate": fields.get("rate", 8_000), "channels": fields.get("channels", 1)}
        # It plays what it gets at the rate of hello, on one channel.
        measured["return_rate"] = measured["rate"]
        others = {name: value for name, value in metadata.items() if name not in _MEASURED}
        started = self._metadata.read(own | others, measured)
        return msgspec.structs.replace(started, leg=started.leg or call_sid)  # rule 3

    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        kind = fields.get("type")
        if not self._step_bytes:
            if kind != "hello":
                raise BadPayload("type", "hello is expected first")
            return self._start(fields)
        match kind:
            case "hello":
                return (Ignored(Reason.SECOND_START),)
            case "resume":  # rule 2: where its audio meets real time says the same, and more exactly
                return ()
            case "dtmf":
                return (key_event(fields.get("digit")),)
            case "bye":
                return (StreamStopped(),)
        return self._application(fields)

    def _application(self, fields: dict[str, Any]) -> Sequence[Event]:
        """Return the events of a text that an application has put into the stream (rule 5)."""
        kind = fields.get("event")
        if isinstance(kind, str) and kind in APPLICATION_EVENTS:
            return (application_event(kind, fields),)
        if "event" in fields or "type" in fields:
            return (Ignored(Reason.UNKNOWN_EVENT),)
        known = first_fields(fields)
        wide = (Ignored(Reason.TOO_MANY_FIELDS),) if len(known) < len(fields) else ()
        return (CallInfo(self._metadata.call(known)), *wide)
