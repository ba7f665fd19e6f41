"""The answers that are not documents of ``model``, and examples of both, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from wavstream.model.document import Document, RecordingDocument
from wavstream.model.session import SessionView
from wavstream.model.times import Moment


class WrongField(Document):
    """One wrong field of a request."""

    pointer: str
    """JSON pointer of the field in the body; for a parameter or header its name."""
    detail: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "/channels: accepted: mono, stereo",
                    "errors": [{"pointer": "/channels", "detail": "accepted: mono, stereo"}],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str | None = None
    """What to do about it."""
    state: str | None = None
    """With 409: the state that the recording is in."""
    errors: list[WrongField] | None = None
    """With 422: every wrong field."""


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
    "transcription": False,
    "transcription_language": None,
    "duration_ms": 61240,
    "size_bytes": 1959724,
    "audio_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "file_name": "call-77-1793527200.wav",
    "client_state": None,
    "metadata": {},
    "retention_hours": 24,
    "from": "+15550100",
    "to": "+15550199",
    "direction": "inbound",
    "vendor_ids": {},
    "api": "native",
    "created_at": "2026-11-01T10:00:00.000000Z",
    "updated_at": "2026-11-01T10:01:01.240000Z",
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
            "pace": 1.0,
            "suspicions": [],
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
        "pauses_omitted": 0,
        "facts_omitted": 0,
        "events_omitted": 0,
        "drift_ppm": {"a": 3, "b": -11},
        "trimmed_ms": {"start": 0, "end": 0},
        "paused_audio_in_journal": False,
        "take_overs": [],
    },
}


class RecordingPage(Document):
    """Recordings, newest first."""

    data: list[RecordingDocument]
    next_cursor: str | None
    """Give it as `cursor` to read on; null: there is no more."""


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
            "paces": [{"track": "inbound", "pace": 1.0}],
            "suspicions": [],
        }
    ],
    "recordings": [{"id": "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42", "status": "ongoing"}],
}


class SessionList(Document):
    """Live sessions of the app, oldest first."""

    data: list[SessionView]
    next_cursor: str | None = None
    """Give it as `cursor` to read on; left out if there is no more."""
    workers_left_out: list[int | str] | None = None
    """Workers of the server that are being started again, or nodes of its cluster that do not answer, by name: their
    sessions are not in this page. Left out if all are."""


class StreamToken(Document):
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
    expires_at: Moment


EXAMPLES: dict[str, dict[str, Any]] = {
    "Recording": RECORDING_EXAMPLE,
    "RecordingPage": {"data": [RECORDING_EXAMPLE], "next_cursor": None},
    "Session": SESSION_EXAMPLE,
    "SessionList": {"data": [SESSION_EXAMPLE]},
}
"""By the name of its schema, an example that shows nulls, which the framework would leave out."""
