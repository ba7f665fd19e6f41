"""FreeSWITCH's ``mod_audio_fork`` and ``mod_audio_stream``: binary messages of 16-bit samples, and text of any kind.

A stream starts exactly once. Neither module says what it sends, unless it was told to, so what starts it is this:

1. Text before the start. A JSON object is the metadata, and is used with the URL; any other text ends the wait for one.
2. Audio, if the URL names the session and the rate. Else the audio is held until there is text: ``mod_audio_stream``
   sends what it heard while it was connecting, and only then its metadata. There is no clock here, so the wait is
   ``HELD_BYTES`` long; then, or at the stream's end, the URL and the defaults say all.

After the start nothing that is sent ends the stream, for what is recorded is worth more than what is wrong with it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import Outgoing, UpgradeRequest
from wavstream.dialects.events import (
    CallInfo,
    Dtmf,
    Event,
    Frame,
    Ignored,
    Mark,
    Paused,
    Resumed,
    StreamStopped,
)
from wavstream.dialects.freeswitch_start import StreamMetadata
from wavstream.dialects.json_documents import read_documents
from wavstream.dialects.reasons import Reason
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

HELD_BYTES = 64_000
"""Two seconds of 16 kHz mono or of 8 kHz stereo."""
_EVENTS = frozenset(("dtmf", "mark", "pause", "resume", "stop"))


class AudioForkDialect:
    """``mod_audio_fork``, as drachtio has it and as jambonz has it."""

    name: ClassVar[str] = "audio-fork"
    server_pings: ClassVar[bool] = True
    playout_ms: ClassVar[int] = 100
    """The module has a buffer for what it streams to the channel."""
    ptime_ms: ClassVar[int | None] = None
    whole_sounds: ClassVar[bool] = False
    _empty_is_end: ClassVar[bool] = True
    """What ``graceful-shutdown`` sends; the module then waits until we close."""

    __slots__ = ("_held", "_held_bytes", "_introduction", "_position", "_rest", "_step_bytes")

    def __init__(self, request: UpgradeRequest) -> None:
        self._introduction = StreamMetadata(request)
        self._step_bytes = 0  # 0: not started
        self._position = 0
        self._rest = b""
        self._held: list[bytes] = []
        self._held_bytes = 0

    def opened(self) -> Sequence[Event]:
        """The metadata, if there are any, are yet to come; raises BadParameter for what is wrong in the URL."""
        self._introduction.read({})
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        """Any number of JSON documents, or free text; raises BadParameter before the start, nothing after it."""
        documents, is_all = read_documents(message)
        events: list[Event] = []
        for document in documents:
            events += self._document(document)
        if not is_all:
            events += (*self._started(), Ignored(Reason.FREE_TEXT))
        return events

    def binary(self, payload: bytes) -> Sequence[Event]:
        """Samples; the bytes of one that is not whole yet wait for the next message. Raises BadParameter."""
        step_bytes = self._step_bytes
        if not step_bytes:
            return self._early(payload)
        if not payload:
            return (StreamStopped(),) if self._empty_is_end else ()
        if self._rest:
            payload = self._rest + payload
            self._rest = b""
        samples, rest_bytes = divmod(len(payload), step_bytes)
        if rest_bytes:
            self._rest = payload[-rest_bytes:]
            payload = payload[:-rest_bytes]
            if not samples:
                return ()
        position = self._position
        self._position = position + samples
        return (Frame(0, position, samples, payload),)

    def ended(self) -> Sequence[Event]:
        """The audio of a stream that was over before it was known what it is."""
        return self._started() if self._held_bytes and self._introduction.url_names_session else ()

    def message(self, payload: bytes) -> Outgoing:
        """The samples as they are, for a fork with ``bidirectionalAudio.streaming``."""
        return Outgoing(is_text=False, data=payload)

    def clear(self) -> Outgoing | None:
        """There is none."""
        return None

    def _early(self, payload: bytes) -> Sequence[Event]:
        """Audio before the start."""
        ends = self._empty_is_end and not payload
        self._held.append(payload)
        self._held_bytes += len(payload)
        if ends or self._introduction.url_says_all or self._held_bytes >= HELD_BYTES:
            return self._started()
        return ()

    def _document(self, document: object) -> Sequence[Event]:
        if not isinstance(document, dict):
            return (*self._started(), Ignored(Reason.FREE_TEXT))
        kind = document.get("event")
        if isinstance(kind, str) and kind in _EVENTS:
            return (*self._started(), _event(kind, document))
        if not self._step_bytes:
            return self._started(document)
        if "event" in document or "type" in document:
            return (Ignored(Reason.UNKNOWN_EVENT),)
        call = self._introduction.call(document)
        return (CallInfo(call), *self._contradicted(document))

    def _started(self, metadata: Mapping[str, Any] | None = None) -> Sequence[Event]:
        """Start the stream, if it has not started, with the audio that was held."""
        if self._step_bytes:
            return ()
        metadata = metadata or {}
        started = self._introduction.read(metadata)
        self._step_bytes = started.format.step_bytes
        held, self._held = self._held, []
        frames = [event for payload in held for event in self.binary(payload)]
        return (started, *self._contradicted(metadata), *frames)

    def _contradicted(self, metadata: Mapping[str, Any]) -> Sequence[Event]:
        return (Ignored(Reason.OTHER_FORMAT),) if self._introduction.is_contradicted_by(metadata) else ()


class AudioStreamDialect(AudioForkDialect):
    """``mod_audio_stream``."""

    name: ClassVar[str] = "audio-stream"
    whole_sounds: ClassVar[bool] = True
    """The module writes a file for each message, and the application plays it."""
    _empty_is_end: ClassVar[bool] = False

    __slots__ = ()

    def message(self, payload: bytes) -> Outgoing:
        """``streamAudio`` with a whole sound."""
        data = {
            "audioDataType": "raw",
            "sampleRate": self._introduction.playback.rate_hz,
            "audioData": base64.b64encode(payload).decode(),
        }
        return Outgoing(is_text=True, data=msgspec.json.encode({"type": "streamAudio", "data": data}))


def _event(kind: str, fields: Mapping[str, Any]) -> Event:
    match kind:
        case "dtmf":
            digit = fields.get("dtmf", fields.get("digit"))
            if isinstance(digit, str) and digit in DTMF_DIGITS:
                return Dtmf(digit)
            return Ignored(Reason.BAD_DIGIT)
        case "mark":
            name = fields.get("name")
            if isinstance(name, str) and is_customer_id(name):
                return Mark(name)
            return Ignored(Reason.BAD_MARK)
        case "pause":
            return Paused()
        case "resume":
            return Resumed()
        case _:
            return StreamStopped()
