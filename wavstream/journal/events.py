"""What happens in a session besides audio, as its journal keeps it: one struct an event, stored as JSON.

A field may be added with a default; nothing is ever renamed or removed, or journals of before could not be read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.recording import EndReason, Recording


class StreamFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream said of itself when it started. ``tracks`` are numbered ``first_track``, ``first_track + 1``."""

    stream: int
    leg: str
    dialect: str
    format: MediaFormat
    clock: TrackClock
    tracks: tuple[Track, ...]
    first_track: int
    channel: Channel | None = None


class StreamSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that was there already when a recording started."""

    facts: StreamFacts
    joined_us: int
    position: int
    """Samples of each channel that it had sent."""
    floor_us: int | None
    """The smallest (arrival - media position) of its recent frames; None: it has sent nothing yet."""


class StreamOpened(msgspec.Struct, frozen=True, kw_only=True, tag="stream_opened"):
    """A stream started; its tracks may send from now on."""

    facts: StreamFacts


class StreamClosed(msgspec.Struct, frozen=True, kw_only=True, tag="stream_closed"):
    """A stream is over. ``clean``: by its own will; else it was lost and its leg may come back."""

    stream: int
    clean: bool


class RecordingStarted(msgspec.Struct, frozen=True, kw_only=True, tag="recording_started"):
    """A recording starts here. It carries all that a fold, or a recovery without a catalog, must know."""

    recording: Recording
    streams: tuple[StreamSnapshot, ...]
    leg_order: tuple[str, ...]
    """Names of the session's legs in order of arrival."""
    returns_beep: tuple[int, ...] = ()
    """Streams that were sent the recording's beep and bring it back on their outbound track."""


class RecordingPaused(msgspec.Struct, frozen=True, kw_only=True, tag="recording_paused"):
    """From here on nothing belongs to this recording, until it is resumed."""

    recording_id: str
    journaled: bool
    """Whether frames keep coming into the journal because another recording runs on."""


class RecordingResumed(msgspec.Struct, frozen=True, kw_only=True, tag="recording_resumed"):
    """The pause of this recording is over."""

    recording_id: str


class RecordingStopped(msgspec.Struct, frozen=True, kw_only=True, tag="recording_stopped"):
    """The recording ends. What it has of later than ``end_us`` stays; silence is written up to ``end_us`` only."""

    recording_id: str
    reason: EndReason
    end_us: int


class Digit(msgspec.Struct, frozen=True, kw_only=True, tag="digit"):
    """A DTMF digit that the stream reported."""

    stream: int
    digit: str


class Mark(msgspec.Struct, frozen=True, kw_only=True, tag="mark"):
    """A name that the stream gave to this moment."""

    stream: int
    name: str


class ServerStopped(msgspec.Struct, frozen=True, tag="server_stopped"):
    """The server shut down in good order."""


class ServerStarted(msgspec.Struct, frozen=True, tag="server_started"):
    """The server is back: every stream of before is lost."""


JournalEvent = (
    StreamOpened
    | StreamClosed
    | RecordingStarted
    | RecordingPaused
    | RecordingResumed
    | RecordingStopped
    | Digit
    | Mark
    | ServerStopped
    | ServerStarted
)

encode = msgspec.json.Encoder(order="deterministic").encode
decode: Any = msgspec.json.Decoder(JournalEvent).decode
