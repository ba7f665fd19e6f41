"""The events of a session, as its journal keeps them: one struct for each, stored as JSON.

A field may be added with a default. Nothing is ever renamed or removed, so that every older journal can be read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.options import PauseBehavior
from wavstream.model.origin import GATEWAY, NATIVE, Origin
from wavstream.model.recording import EndReason, Recording

PAUSED_BY_API = "api"
"""Holds a pause that a command began."""


def paused_by_leg(leg: str) -> str:
    """Return what holds a pause that a leg's media server began."""
    return f"leg:{leg}"


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a stream from its start. Its tracks are numbered ``first_track``, ``first_track + 1``."""

    stream: int
    leg: str
    dialect: str
    format: MediaFormat
    clock: TrackClock
    tracks: tuple[Track, ...]
    first_track: int
    channel: Channel | None = None
    is_named: bool = True
    """Whether it named its leg; False: the session did. Journals of before this field do not tell."""


class StreamSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that was open already when a recording started."""

    facts: StreamFacts
    joined_us: int
    position: int
    """Samples of each channel that it had sent by then."""
    floor_us: int | None
    """The smallest (arrival - media position) of its recent frames; None: it had sent nothing."""


class StreamOpened(msgspec.Struct, frozen=True, kw_only=True, tag="stream_opened"):
    """A stream started; its tracks may send from now on."""

    facts: StreamFacts


class StreamClosed(msgspec.Struct, frozen=True, kw_only=True, tag="stream_closed"):
    """A stream ended. ``clean``: as its peer wanted; else it was lost, and its leg may come back."""

    stream: int
    clean: bool
    late_us: int = 0
    """How late its last words may have been read, by our own fault; older journals do not tell."""


class RecordingStarted(msgspec.Struct, frozen=True, kw_only=True, tag="recording_started"):
    """A recording started, with everything that a fold, or a recovery without a catalog, must know."""

    recording: Recording
    streams: tuple[StreamSnapshot, ...]
    leg_order: tuple[str, ...]
    """Names of the session's legs, in order of arrival."""
    returns_beep: tuple[int, ...] = ()
    """Streams that were sent the recording's beep and return it on their outbound track."""


class SessionState(msgspec.Struct, frozen=True, kw_only=True, tag="session_state"):
    """What lasts, said again: for a reader that could not read the event that said it first (see ``restated``)."""

    recordings: tuple[Recording, ...]
    """Those that run, as they are."""
    streams: tuple[StreamSnapshot, ...]
    """The open ones."""
    leg_order: tuple[str, ...]


class RecordingPaused(msgspec.Struct, frozen=True, kw_only=True, tag="recording_paused"):
    """A recording was paused: nothing belongs to it until it is resumed."""

    recording_id: str
    journaled: bool
    """Whether frames are journaled all the same, since another recording goes on."""
    behavior: PauseBehavior | None = None
    """What the pause leaves in the file; None, in older journals: what the recording's options say."""
    held_by: tuple[str, ...] = (PAUSED_BY_API,)
    """Who wants it paused, from here on: noted again where that changes. Older journals do not tell; then nobody but
    the API may end the pause."""
    since_us: int | None = None
    """Since when it was paused, where that is earlier than the record: see ``amendments``."""
    begins: bool = False
    """Whether the pause begins here; False: it is noted again, or the journal is older and does not tell."""


class RecordingResumed(msgspec.Struct, frozen=True, kw_only=True, tag="recording_resumed"):
    """A recording was resumed."""

    recording_id: str


class RecordingStopped(msgspec.Struct, frozen=True, kw_only=True, tag="recording_stopped"):
    """A recording ended. Audio after ``end_us`` that it has already stays; silence is written up to ``end_us`` only."""

    recording_id: str
    reason: EndReason
    end_us: int
    cuts: bool = False
    """Whether audio after ``end_us`` is not in the file either: it was read after the command, which had waited."""
    since_us: int | None = None
    """Since when nothing belongs to it, where that is earlier than the record: see ``amendments``."""
    paused: bool = False
    """Whether it was paused when it ended; older journals do not tell."""
    late_us: int = 0
    """As a stream's end has it, for the streams that are open."""


class Digit(msgspec.Struct, frozen=True, kw_only=True, tag="digit"):
    """A stream reported a DTMF digit."""

    stream: int
    digit: str
    late_us: int = 0
    """As a recording's end has it: a digit may be one."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, tag="mark"):
    """A stream gave this moment a name."""

    stream: int
    name: str


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, tag="left_out"):
    """The call had no room for some of what its peers told; each number is of all of the call so far."""

    facts: int
    """Ids and other facts of the call."""
    events: int
    """Digits and marks."""


class TakenOver(msgspec.Struct, frozen=True, kw_only=True, tag="taken_over"):
    """Another node goes on with the session, from what it had of the journal (docs/decisions/0029)."""

    from_node: str
    to_node: str
    epoch: int
    """The new owner's, from 2."""
    behind_us: int
    """How long before this record the last of what it had was: what came in between is lost, or was never said."""


class ServerStopped(msgspec.Struct, frozen=True, tag="server_stopped"):
    """The server shut down in good order."""


class ServerStarted(msgspec.Struct, frozen=True, tag="server_started"):
    """The server started again: every earlier stream is lost."""


JournalEvent = (
    StreamOpened
    | StreamClosed
    | RecordingStarted
    | SessionState
    | RecordingPaused
    | RecordingResumed
    | RecordingStopped
    | Digit
    | Mark
    | LeftOut
    | TakenOver
    | ServerStopped
    | ServerStarted
)

encode = msgspec.json.Encoder(order="deterministic").encode
_decode: Any = msgspec.json.Decoder(JournalEvent).decode


def decode(content: bytes | memoryview) -> JournalEvent:
    """Return the event that this JSON is; raise msgspec.MsgspecError if it is none that is known.

    A recording of before November 2026 has its request id under the name ``command_uid``, and was kept alive by it. One
    that has a request id and no origin is the gateway's: no other API gave recordings a request id then.
    """
    event: JournalEvent = _decode(content)
    if not isinstance(event, RecordingStarted):
        return event
    recording = event.recording
    if b'"command_uid"' in bytes(content):
        request_id = msgspec.json.decode(content)["recording"].get("command_uid")
        if request_id is not None and recording.request_id is None:
            recording = replace(recording, request_id=request_id, keepalive=True)
    if recording.request_id is not None and recording.origin.api == NATIVE:
        recording = replace(recording, origin=Origin(api=GATEWAY))
    return event if recording is event.recording else msgspec.structs.replace(event, recording=recording)
