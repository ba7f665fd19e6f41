"""Recordings as rows and start records have them, without the parts that make them."""

from __future__ import annotations

from datetime import UTC, datetime

from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status

START = datetime(2027, 1, 15, 8, tzinfo=UTC)
"""When every recording is asked for, unless a test says otherwise."""
USUAL = RecordingOptions()


def a_recording(
    recording_id: str = "rec-1",
    options: RecordingOptions = USUAL,
    *,
    status: Status = Status.ONGOING,
    created_at: datetime = START,
    app_id: str = "default",
    session_id: str = "call-77",
    file_name: str | None = None,
    expires_at: datetime | None = None,
) -> Recording:
    """Return a recording; its files have its id as their name, unless a test says otherwise."""
    return Recording(
        id=recording_id,
        app_id=app_id,
        session_id=session_id,
        status=status,
        options=options,
        object_key=f"{app_id}/{recording_id}.wav",
        file_name=file_name or f"{recording_id}.wav",
        created_at=created_at,
        expires_at=expires_at,
    )
