"""A live session as it looks from outside at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.recording import Recording


class Silence(StrEnum):
    """Why a stream that is open gives no audio."""

    NOTHING_YET = "nothing_yet"
    """It has sent no audio since it opened."""
    STALLED = "stalled"
    """It has sent audio, but none for the last second."""


@dataclass(frozen=True, slots=True)
class Level:
    """How loud a track is at present, in dB of full scale; None: nothing comes in."""

    track: Track
    rms_dbfs: float | None = None
    peak_dbfs: float | None = None


@dataclass(frozen=True, slots=True)
class StreamView:
    """One open media stream."""

    leg: str
    dialect: str
    format: MediaFormat
    clock: TrackClock
    tracks: tuple[Track, ...]
    channel: Channel | None
    """Where it asked to go in a stereo file."""
    joined_at: datetime
    """Aware, UTC."""
    last_audio_at: datetime | None
    """Aware, UTC; None: it has sent no audio yet."""
    frames: int
    received_ms: int
    """Media time of all audio that it has sent."""
    silent_because: Silence | None
    """None: audio is coming in."""
    levels: tuple[Level, ...]
    """Of each track's last frame."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """One call that is live, or was announced and is waited for."""

    session_id: str
    app_id: str
    created_at: datetime
    """When it was announced or its first stream opened; aware, UTC."""
    call: CallFacts
    legs: tuple[str, ...] = ()
    """Names of all legs that were ever there, in order of arrival."""
    away: tuple[str, ...] = ()
    """Legs whose stream was lost and may come back within the reconnect wait."""
    streams: tuple[StreamView, ...] = ()
    recordings: tuple[Recording, ...] = ()
    """Those that are running: accepted, ongoing or paused."""
