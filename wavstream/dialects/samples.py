"""Binary messages of 16-bit samples beside texts in JSON: what the dialects of that form have in common.

1. A message has any number of bytes. Those of an incomplete sample at its end wait for the next message.
2. One text may hold several JSON documents back to back: FreeSWITCH's modules join texts that wait for the same write.
   Each is taken by itself.
3. Audio that comes before the stream has said what it is, is held; its vendor's dialect says what ends that.
4. JSON that is nested too deeply to be read is no mistake of an application, and is always refused.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wavstream.dialects.base import Dialect, FormatNames, UpgradeRequest
from wavstream.dialects.early import EarlyAudio
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
from wavstream.dialects.joined_json import read_documents
from wavstream.errors import BadPayload
from wavstream.model.ids import is_customer_id
from wavstream.model.options import DTMF_DIGITS

APPLICATION_EVENTS = frozenset(("dtmf", "mark", "pause", "resume", "stop"))
"""What an application may send of its own, where the media server passes its texts on: values of ``event``."""


class SampleDialect(Dialect):
    """The dialect of one stream whose audio is raw 16-bit samples; its vendor's derives from this."""

    is_plain: ClassVar[bool] = True
    format_names: ClassVar[FormatNames] = FormatNames(
        who="Whoever starts the stream",
        rate="rate",
        little_endian="byteorder=little",
        big_endian="byteorder=big",
        channels="channels",
    )
    _empty_is_end: ClassVar[bool] = False
    """Whether an empty message says that the stream is over; else it says nothing."""

    __slots__ = ("_early", "_position", "_rest", "_step_bytes")

    def __init__(self, request: UpgradeRequest) -> None:
        self._step_bytes = 0  # 0: not started
        self._position = 0
        self._rest = b""
        self._early = EarlyAudio()

    def text(self, message: bytes) -> Sequence[Event]:
        """Return the events of JSON documents or free text (rule 2); raise BadParameter or BadPayload."""
        documents, is_all = read_documents(message)
        events: list[Event] = []
        for document in documents:
            fields = document.value
            events += self._fields(fields) if isinstance(fields, dict) else self._free_text()
        if not is_all:
            events += self._free_text()
        return events

    def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
        """Return a frame of whole samples (rule 1). Raise BadParameter or BadPayload at the start."""
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
        """Start a stream whose text has not come with what else is known; raise MediaError if that is not enough."""
        return self._start({})

    def ended(self) -> Sequence[Event]:
        """Start a stream that ended while its audio was held, if enough is known; raise BadParameter."""
        return self._start({}) if self._early.held_bytes and self._can_start_alone else ()

    def message(self, payload: bytes) -> Outgoing:
        """Return the samples as they are."""
        return Outgoing(is_text=False, data=payload)

    @property
    def _can_start_alone(self) -> bool:
        """Whether a stream that is over may start without any text."""
        return False

    @abstractmethod
    def _begin(self, fields: Mapping[str, Any]) -> StreamStarted:
        """Return the start, from the fields of the text that starts the stream; raise MediaError."""

    @abstractmethod
    def _fields(self, fields: dict[str, Any]) -> Sequence[Event]:
        """Return the events of a JSON object; raise MediaError before the start."""

    def _free_text(self) -> Sequence[Event]:
        """Return the events of what is no JSON object; raise BadPayload before the start."""
        if not self._step_bytes:
            raise BadPayload("text", "a JSON object that says what the stream is, is expected first")
        return (Ignored(Reason.NOT_JSON),)

    def _hold(self, payload: bytes) -> Sequence[Event]:
        """Hold audio before the start (rule 3), as long as there is room; then start with what is known."""
        return () if self._early.hold(payload) else self._start({})

    def _start(self, fields: Mapping[str, Any]) -> Sequence[Event]:
        """Start the stream with the audio that was held; return no event if it has started before."""
        if self._step_bytes:
            return ()
        started = self._begin(fields)
        self._step_bytes = self._message_step_bytes(started)
        frames = [event for payload in self._early.take() for event in self.binary(payload)]
        return (started, *frames)

    def _message_step_bytes(self, started: StreamStarted) -> int:
        """Return the bytes of one sample of all channels in a message."""
        return started.format.step_bytes


def application_event(kind: str, fields: Mapping[str, Any]) -> Event:
    """Return the event that an application has sent as a text; ``kind`` is one of ``APPLICATION_EVENTS``."""
    match kind:
        case "dtmf":
            return key_event(fields.get("dtmf", fields.get("digit")))
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


def key_event(digit: object) -> Event:
    """Return the event of a key, which may be a number."""
    if isinstance(digit, int) and not isinstance(digit, bool) and 0 <= digit <= 9:
        digit = str(digit)
    if isinstance(digit, str) and digit in DTMF_DIGITS:
        return Dtmf(digit)
    return Ignored(Reason.BAD_DIGIT)
