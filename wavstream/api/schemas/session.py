"""The JSON of live sessions and stream tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from wavstream.api.schemas.base import Answer
from wavstream.model.audio import Channel, Track, TrackClock
from wavstream.model.published import rfc3339
from wavstream.model.recording import Status
from wavstream.model.session import SessionView, Silence


class Level(Answer):
    """How loud a track is: its last frame, in dB of full scale; digital silence has -100. Null: nothing comes in."""

    track: Track
    rms_dbfs: float | None
    peak_dbfs: float | None


class Stream(Answer):
    """One open media stream."""

    leg: str
    dialect: str
    codec: str
    rate: int
    """Hertz."""
    clock: TrackClock
    tracks: list[Track]
    channel: Channel | None
    """Where it asked to go in a stereo file."""
    joined_at: datetime
    last_audio_at: datetime | None
    frames: int
    received_ms: int
    """Media time of all audio that it has sent."""
    silent_because: Silence | None
    """`nothing_yet` (no audio since it opened), `stalled` (none for a second); null: audio is coming in."""
    levels: list[Level]
    """One for each track."""


class RunningRecording(Answer):
    """A recording that takes audio, or will."""

    id: str
    status: Status


SESSION_EXAMPLE: dict[str, Any] = {
    "session_id": "call-77",
    "app_id": "default",
    "from": "+15550100",
    "to": "+15550199",
    "direction": "inbound",
    "vendor_ids": {},
    "created_at": "2026-11-01T10:00:00.000000Z",
    "legs": ["a", "b"],
    "away": ["b"],
    "streams": [
        {
            "leg": "a",
            "dialect": "pcm",
            "codec": "l16",
            "rate": 8000,
            "clock": "contiguous",
            "tracks": ["inbound"],
            "channel": None,
            "joined_at": "2026-11-01T10:00:00.000000Z",
            "last_audio_at": "2026-11-01T10:00:12.340000Z",
            "frames": 617,
            "received_ms": 12340,
            "silent_because": None,
            "levels": [{"track": "inbound", "rms_dbfs": -23.1, "peak_dbfs": -9.8}],
        }
    ],
    "recordings": [{"id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42", "status": "ongoing"}],
}


class Session(Answer):
    """A call that is live, or was announced and is waited for."""

    model_config = ConfigDict(json_schema_extra={"examples": [SESSION_EXAMPLE]})

    session_id: str
    app_id: str
    from_: str = Field(alias="from")
    to: str
    direction: str
    vendor_ids: dict[str, str]
    created_at: datetime
    """When it was announced, or its first stream opened."""
    legs: list[str]
    """All that were ever there, in order of arrival."""
    away: list[str]
    """Those whose stream was lost and may come back."""
    streams: list[Stream]
    recordings: list[RunningRecording]


class SessionList(Answer):
    """The live sessions of the app."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [SESSION_EXAMPLE]}]})

    data: list[Session]


class StreamToken(Answer):
    """A key that opens media streams for a short while."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "wst_ZGVmYXVsdA.c2ln", "session_id": "call-77", "expires_at": "2026-11-01T10:01:00.000000Z"}
            ]
        }
    )

    token: str
    """Give it as `token` in the address of the media socket, or as its bearer key."""
    session_id: str | None
    """The only session that it opens; null: any of the app."""
    expires_at: datetime


def session_json(view: SessionView) -> dict[str, Any]:
    """A ``Session`` as values that JSON knows."""
    return {
        "session_id": view.session_id,
        "app_id": view.app_id,
        "from": view.call.from_,
        "to": view.call.to,
        "direction": view.call.direction,
        "vendor_ids": view.call.vendor_ids,
        "created_at": rfc3339(view.created_at),
        "legs": view.legs,
        "away": view.away,
        "streams": [
            {
                "leg": stream.leg,
                "dialect": stream.dialect,
                "codec": stream.format.codec,
                "rate": stream.format.rate_hz,
                "clock": stream.clock,
                "tracks": stream.tracks,
                "channel": stream.channel,
                "joined_at": rfc3339(stream.joined_at),
                "last_audio_at": rfc3339(stream.last_audio_at),
                "frames": stream.frames,
                "received_ms": stream.received_ms,
                "silent_because": stream.silent_because,
                "levels": [
                    {"track": level.track, "rms_dbfs": level.rms_dbfs, "peak_dbfs": level.peak_dbfs}
                    for level in stream.levels
                ],
            }
            for stream in view.streams
        ],
        "recordings": [{"id": recording.id, "status": recording.status} for recording in view.recordings],
    }
