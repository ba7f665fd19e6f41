"""A live session as it looks from outside at one moment: the JSON objects in which it is shown."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wavstream.model.audio import Channel, Track, TrackClock
from wavstream.model.document import Document
from wavstream.model.recording import Status
from wavstream.model.times import Moment


class Silence(StrEnum):
    """Why a stream that is open gives no audio."""

    NOTHING_YET = "nothing_yet"
    """It has sent no audio since it opened."""
    STALLED = "stalled"
    """It has sent audio, but none for the last second."""


class Level(Document):
    """How loud a track is: its last frame, in dB of full scale; digital silence has -100. Null: nothing comes in."""

    track: Track
    rms_dbfs: float | None
    peak_dbfs: float | None


class TrackPace(Document):
    """How much audio of a track comes in how much time: 1 is real time. Null: not known, as in the first 10 s."""

    track: Track
    pace: float | None


class StreamView(Document):
    """One open media stream."""

    leg: str
    dialect: str
    codec: str
    """On the wire: `l16`, `l16be`, `pcmu`, `pcma`, or `g722`, `opus`, `amr-wb`, which are decoded as they arrive."""
    rate: int
    """Hertz, of what it is decoded to."""
    clock: TrackClock
    tracks: tuple[Track, ...]
    channel: Channel | None
    """Where it asked to go in a stereo file."""
    joined_at: Moment
    last_audio_at: Moment | None
    frames: int
    received_ms: int
    """Media time of all audio that it has sent."""
    silent_because: Silence | None
    """`nothing_yet` (no audio since it opened), `stalled` (none for a second); null: audio is coming in."""
    levels: tuple[Level, ...]
    """One for each track."""
    paces: tuple[TrackPace, ...]
    """One for each track."""
    suspicions: tuple[str, ...]
    """What was probably described wrongly of it, and who has to set what: a sentence or two each."""


class RunningRecording(Document):
    """A recording that takes audio, or will."""

    id: str
    status: Status


class SessionView(Document):
    """A call that is live, or was announced and is waited for."""

    session_id: str
    app_id: str
    from_: Annotated[str, Field(alias="from")]
    to: str
    direction: str
    vendor_ids: dict[str, str]
    created_at: Moment
    """When it was announced, or its first stream opened."""
    legs: tuple[str, ...]
    """All that were ever there, in order of arrival."""
    away: tuple[str, ...]
    """Those whose stream was lost and may come back."""
    streams: tuple[StreamView, ...]
    recordings: tuple[RunningRecording, ...]
