"""The JSON of a recording, described for readers of the OpenAPI document; ``model.published`` makes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from wavstream.api.schemas.base import Answer
from wavstream.model.hold import LegalHold
from wavstream.model.recording import EndReason, Integrity, LegReceipt, Status

RECORDING_EXAMPLE: dict[str, Any] = {
    "id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42",
    "session_id": "call-77",
    "app_id": "default",
    "status": "available",
    "end_reason": "stopped",
    "error": None,
    "format": "wav",
    "channels": "stereo",
    "track": "both",
    "sample_rate": 8000,
    "pause_behavior": "skip",
    "max_length_s": 0,
    "initial_timeout_s": 0.0,
    "end_silence_timeout_s": 0.0,
    "sensitivity": 44.0,
    "trim": "none",
    "beep": False,
    "terminators": "",
    "duration_ms": 61240,
    "size_bytes": 1959724,
    "audio_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "file_name": "call-77-1793527200.wav",
    "client_state": None,
    "metadata": {},
    "retention_hours": None,
    "from": "+15550100",
    "to": "+15550199",
    "direction": "inbound",
    "vendor_ids": {},
    "created_at": "2026-11-01T10:00:00.000000Z",
    "started_at": "2026-11-01T10:00:00.000000Z",
    "ended_at": "2026-11-01T10:01:01.240000Z",
    "expires_at": "2026-11-02T10:01:01.240000Z",
    "hold": None,
    "url": "http://127.0.0.1:8080/files/0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42/k1.Zm9vYmFy/call-77-1793527200.wav",
    "legs": [
        {
            "leg": "a",
            "track": "inbound",
            "channel": "left",
            "dialect": "pcm",
            "codec": "l16",
            "rate": 8000,
            "joined_ms": 0,
            "left_ms": 61240,
        }
    ],
    "integrity": {
        "samples": 979840,
        "lost_ms": 0,
        "late_frames": 0,
        "late_ms": 0,
        "duplicate_frames": 0,
        "reordered_frames": 0,
        "clock_restarts": 0,
        "redundant_frames": 0,
        "redundant_ms": 0,
        "paused_ms": 0,
        "after_limit_ms": 0,
        "clipped_samples": 0,
        "gaps": [{"leg": "b", "track": "inbound", "start_ms": 20300, "length_ms": 480, "cause": "stall"}],
        "gaps_omitted": 0,
        "pauses": [],
        "drift_ppm": {"a": 3, "b": -11},
        "trimmed_ms": {"start": 0, "end": 0},
        "paused_audio_in_journal": False,
    },
}


class Recording(Answer):
    """One recording of a session, from its start to its stop."""

    model_config = ConfigDict(json_schema_extra={"examples": [RECORDING_EXAMPLE]})

    id: str
    session_id: str
    app_id: str
    status: Status
    """accepted, ongoing, paused, completed (the file is being finished), available, absent (no audio), failed, expired
    or deleted."""
    end_reason: EndReason | None
    error: str | None
    """Why it failed, for a person."""
    format: Literal["wav", "mp3"]
    channels: Literal["mono", "stereo"]
    """Of the file."""
    track: Literal["both", "inbound", "outbound"]
    sample_rate: int | None
    """Hertz, of the file once it is finished, until then as asked for; null: not known before the first audio."""
    pause_behavior: Literal["skip", "silence"]
    max_length_s: int
    """Recorded seconds, like the two below; 0: no limit."""
    initial_timeout_s: float
    """0: it does not end because nobody speaks."""
    end_silence_timeout_s: float
    """0: it does not end because nobody speaks any more."""
    sensitivity: float
    trim: Literal["none", "silence"]
    beep: bool
    terminators: str
    """DTMF digits, each of which ends it; empty: none does."""
    duration_ms: int | None
    """Null, like size and hash, until the file is finished."""
    size_bytes: int | None
    audio_sha256: str | None
    """Of the bytes after the file's header (MP3: its first frame), hex; also the file's `ETag`."""
    file_name: str
    client_state: str | None
    metadata: dict[str, str]
    retention_hours: int | None
    from_: str = Field(alias="from")
    """The calling party, as the switch writes it; empty where it said nothing, as are the next three."""
    to: str
    direction: str
    vendor_ids: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    """When the session streamed, at the earliest when the recording was created."""
    ended_at: datetime | None
    expires_at: datetime | None
    """When the file goes; counted from the stop, never extended; null: not before it is erased."""
    hold: LegalHold | None
    """Null: nobody holds it; else it neither expires nor can it be erased."""
    url: str
    """Address of the file, the same from the start on; opens it without a key while the recording is available."""
    legs: list[LegReceipt]
    integrity: Integrity


class RecordingPage(Answer):
    """Recordings, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [RECORDING_EXAMPLE], "next_cursor": None}]})

    data: list[Recording]
    next_cursor: str | None
    """Give it as `cursor` to read on; null: there is no more."""
