"""FreeSWITCH's ``mod_audio_fork`` and ``mod_audio_stream``: binary messages of 16-bit samples, and text of any kind.

A stream starts exactly once. Neither module describes its audio unless it is told to, so the start is one of these:

1. Text starts the stream. A JSON object is the metadata, and is used with the URL; after any other text the URL and the
   defaults are used alone.
2. Audio starts it if the URL names the session and the rate. Else audio is held until there is text, since
   ``mod_audio_stream`` sends the audio of its connecting time first and its metadata then. When it has waited for as
   long as it may, in time or in bytes, or at the stream's end, the URL and the defaults are used alone.
3. After the start no message ends the stream as an error: the recording is worth more than the mistake.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import CallInfo, Event, Ignored, Outgoing, Reason, StreamStarted
from wavstream.dialects.parameters import first_fields
from wavstream.dialects.samples import APPLICATION_EVENTS, SampleDialect, application_event
from wavstream.dialects.stream_metadata import StreamMetadata


class AudioForkDialect(SampleDialect):
    """``mod_audio_fork``, in drachtio's and in jambonz' version."""

    name: ClassVar[str] = "audio-fork"
    playout_ms: ClassVar[int] = 100
    """The module buffers what it plays to the channel."""
    _empty_is_end: ClassVar[bool] = True
    """``graceful-shutdown`` sends an empty message; the module then waits until we close."""

    __slots__ = ("_metadata",)

    def __init__(self, request: UpgradeRequest) -> None:
        super().__init__(request)
        self._metadata = StreamMetadata(request)

    def opened(self) -> Sequence[Event]:
        """Return no event, since metadata may follow; raise BadParameter if the URL is wrong."""
        self._metadata.read({})
        return ()

    @property
    def whole_sounds(self) -> bool:
        """Whether the fork takes sounds and no stream: drachtio's, and jambonz' where it does not stream back."""
        return self._metadata.returns_sounds

    def message(self, payload: bytes) -> Outgoing:
        """Return the samples for a fork with ``bidirectionalAudio.streaming``, else ``playAudio`` with a whole sound.

        Source: ``lws_glue.cpp`` of drachtio's and of jambonz' module, ``processIncomingMessage``.
        """
        if not self._metadata.returns_sounds:
            return Outgoing(is_text=False, data=payload)
        data = {
            "audioContentType": "raw",
            "sampleRate": self._metadata.playback.rate_hz,
            "audioContent": base64.b64encode(payload).decode(),
        }
        return Outgoing(is_text=True, data=msgspec.json.encode({"type": "playAudio", "data": data}))

    @property
    def _can_start_alone(self) -> bool:
        return self._metadata.url_names_session

    def _hold(self, payload: bytes) -> Sequence[Event]:
        """Hold audio before the start, or start with it (rule 2)."""
        ends = self._empty_is_end and not payload
        has_room = self._early.hold(payload)
        return self._start({}) if ends or self._metadata.url_says_all or not has_room else ()

    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        kind = fields.get("event")
        if isinstance(kind, str) and kind in APPLICATION_EVENTS:
            return (*self._start({}), application_event(kind, fields))
        known = first_fields(fields)
        wide = (Ignored(Reason.TOO_MANY_FIELDS),) if len(known) < len(fields) else ()
        if not self._step_bytes:
            return (*self._start(known), *wide)
        if "event" in fields or "type" in fields:
            return (Ignored(Reason.UNKNOWN_EVENT),)
        return (CallInfo(self._metadata.call(known)), *self._contradicted(known), *wide)

    def _free_text(self) -> Sequence[Event]:
        return (*self._start({}), Ignored(Reason.FREE_TEXT))

    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        return self._metadata.read(fields)

    def _start(self, fields: Mapping[str, Any]) -> Sequence[Event]:
        started = super()._start(fields)
        return (*started[:1], *self._contradicted(fields), *started[1:]) if started else ()

    def _contradicted(self, metadata: Mapping[str, Any]) -> Sequence[Event]:
        return (Ignored(Reason.OTHER_FORMAT),) if self._metadata.is_contradicted_by(metadata) else ()


class AudioStreamDialect(AudioForkDialect):
    """``mod_audio_stream``."""

    name: ClassVar[str] = "audio-stream"
    _empty_is_end: ClassVar[bool] = False

    __slots__ = ()

    @property
    def whole_sounds(self) -> bool:
        """Say yes: the module writes a file for each message, and the application plays it."""
        return True

    def message(self, payload: bytes) -> Outgoing:
        """Return ``streamAudio`` with a whole sound."""
        data = {
            "audioDataType": "raw",
            "sampleRate": self._metadata.playback.rate_hz,
            "audioData": base64.b64encode(payload).decode(),
        }
        return Outgoing(is_text=True, data=msgspec.json.encode({"type": "streamAudio", "data": data}))
