"""FreeSWITCH's ``mod_audio_fork`` and ``mod_audio_stream``: binary messages of 16-bit samples, and text of any kind.

A stream starts exactly once. Neither module describes its audio unless it is told to, so the start is one of these:

1. Text starts the stream. A JSON object is the metadata, and is used with the URL; after any other text the URL and the
   defaults are used alone.
2. Audio starts it if the URL names the session and the rate. Else audio is held until there is text, since
   ``mod_audio_stream`` sends the audio of its connecting time first and its metadata then. When it has waited for as
   long as it may, in time or in bytes, or at the stream's end, the URL and the defaults are used alone.
3. After the start no message ends the stream as an error: the recording is worth more than the mistake. JSON that is
   nested too deeply to be read is no mistake of an application, and is always refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.early import EarlyAudio
from wavstream.dialects.events import (
    CallInfo,
    Dtmf,
    Event,
    Frame,
    Ignored,
    Mark,
    Outgoing,
    Paused,
    Reason,
    Resumed,
    StreamStopped,
)
from wavstream.dialects.freeswitch_start import StreamMetadata
from wavstream.dialects.parameters import first_fields, too_deep
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

_EVENTS = frozenset(("dtmf", "mark", "pause", "resume", "stop"))
_MAX_DOCUMENTS = 64
"""JSON documents in one text; a peer that sends more does not join texts, and each costs as much as a message."""
_SPACE = b" \t\r\n"
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
"""How msgspec says where a document ends that is not all of the text."""

_decode = msgspec.json.Decoder().decode


class AudioForkDialect(Dialect):
    """``mod_audio_fork``, in drachtio's and in jambonz' version."""

    name: ClassVar[str] = "audio-fork"
    playout_ms: ClassVar[int] = 100
    """The module buffers what it plays to the channel."""
    is_plain: ClassVar[bool] = True
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream",
        rate="rate",
        little_endian="byteorder=little",
        big_endian="byteorder=big",
        channels="channels",
    )
    _empty_is_end: ClassVar[bool] = True
    """``graceful-shutdown`` sends an empty message; the module then waits until we close."""

    __slots__ = ("_early", "_metadata", "_position", "_rest", "_step_bytes")

    def __init__(self, request: UpgradeRequest) -> None:
        self._metadata = StreamMetadata(request)
        self._step_bytes = 0  # 0: not started
        self._position = 0
        self._rest = b""
        self._early = EarlyAudio()

    def opened(self) -> Sequence[Event]:
        """Return no event, since metadata may follow; raise BadParameter if the URL is wrong."""
        self._metadata.read({})
        return ()

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of JSON documents or free text; raise BadParameter or BadPayload as rule 3 says."""
        documents, is_all = _read_documents(message)
        events: list[Event] = []
        for document in documents:
            events += self._document(document)
        if not is_all:
            events += (*self._start(), Ignored(Reason.FREE_TEXT))
        return events

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return a frame; bytes of an incomplete sample wait for the next message. Raise BadParameter at the start."""
        step_bytes = self._step_bytes
        if not step_bytes:
            return self._hold(payload)
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
        return (Frame(0, position, samples, payload, messages),)

    def waited(self) -> Sequence[Event]:
        """Start a stream whose text has not come (rule 2)."""
        return self._start()

    def ended(self) -> Sequence[Event]:
        """Start a stream that ended while its audio was held, if the URL names its session (rule 2)."""
        return self._start() if self._early.held_bytes and self._metadata.url_names_session else ()

    def message(self, payload: bytes) -> Outgoing:
        """Return the samples as they are, for a fork with ``bidirectionalAudio.streaming``."""
        return Outgoing(is_text=False, data=payload)

    def _hold(self, payload: bytes) -> Sequence[Event]:
        """Hold audio before the start, or start with it (rule 2)."""
        ends = self._empty_is_end and not payload
        has_room = self._early.hold(payload)
        if ends or self._metadata.url_says_all or not has_room:
            return self._start()
        return ()

    def _document(self, document: object) -> Sequence[Event]:
        if not isinstance(document, dict):
            return (*self._start(), Ignored(Reason.FREE_TEXT))
        kind = document.get("event")
        if isinstance(kind, str) and kind in _EVENTS:
            return (*self._start(), _event(kind, document))
        fields = first_fields(document)
        wide = (Ignored(Reason.TOO_MANY_FIELDS),) if len(fields) < len(document) else ()
        if not self._step_bytes:
            return (*self._start(fields), *wide)
        if "event" in document or "type" in document:
            return (Ignored(Reason.UNKNOWN_EVENT),)
        call = self._metadata.call(fields)
        return (CallInfo(call), *self._contradicted(fields), *wide)

    def _start(self, metadata: Mapping[str, Any] | None = None) -> Sequence[Event]:
        """Start the stream with the audio that was held; return no event if it has started before."""
        if self._step_bytes:
            return ()
        metadata = metadata or {}
        started = self._metadata.read(metadata)
        self._step_bytes = started.format.step_bytes
        frames = [event for payload in self._early.take() for event in self.binary(payload)]
        return (started, *self._contradicted(metadata), *frames)

    def _contradicted(self, metadata: Mapping[str, Any]) -> Sequence[Event]:
        return (Ignored(Reason.OTHER_FORMAT),) if self._metadata.is_contradicted_by(metadata) else ()


class AudioStreamDialect(AudioForkDialect):
    """``mod_audio_stream``."""

    name: ClassVar[str] = "audio-stream"
    whole_sounds: ClassVar[bool] = True
    """The module writes a file for each message, and the application plays it."""
    _empty_is_end: ClassVar[bool] = False

    __slots__ = ()

    def message(self, payload: bytes) -> Outgoing:
        """Return ``streamAudio`` with a whole sound."""
        data = {
            "audioDataType": "raw",
            "sampleRate": self._metadata.playback.rate_hz,
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


def _read_documents(message: bytes) -> tuple[list[object], bool]:
    """Return the JSON documents at the start of the text, and whether they are all of it; empty text has none.

    The documents stand back to back: FreeSWITCH's modules join texts that wait for the same write.
    """
    rest = message.decode("utf-8", "replace").encode().strip(_SPACE)
    documents: list[object] = []
    try:
        while rest and len(documents) < _MAX_DOCUMENTS:
            document, end = _first_document(rest)
            documents.append(document)
            rest = rest[end:]
    except msgspec.DecodeError:
        pass
    except RecursionError:
        raise too_deep() from None
    return documents, not rest and bool(documents)


def _first_document(text: bytes) -> tuple[object, int]:
    """Return the first JSON document of a text, and where the next one begins; raise msgspec.DecodeError.

    A text of one document is read once, as the standard library's scanner is ten times as slow as msgspec.
    """
    try:
        return _decode(text), len(text)
    except msgspec.DecodeError as error:
        trailing = _TRAILING.search(str(error))
        if trailing is None:
            raise
    end = int(trailing.group(1)) - 1  # it counts from 1
    return _decode(text[:end]), end
