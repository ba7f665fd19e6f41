"""The retention rule; pure.

A recording is kept for a number of whole hours from its stop: its own, else its app's, else the server's. The moment
is fixed at the stop; neither reading the recording nor a later change of a setting moves it. There is no "for ever":
hours are 1 to 87600 (ten years), checked where they come in. A legal hold suspends the rule for as long as it lasts.
Where another store serves the files, how long they are kept is not ours to say, and no recording expires.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from wavstream.model.recording import Recording, Status


def expires_at(
    ended_at: datetime, *, recording_hours: int | None, app_hours: int | None, server_hours: int
) -> datetime:
    """When a recording that stopped at ``ended_at`` must be gone."""
    chosen = (hours for hours in (recording_hours, app_hours) if hours is not None)
    return ended_at + timedelta(hours=next(chosen, server_hours))


def is_expired(recording: Recording, now: datetime) -> bool:
    """Whether the recording must not be handed out any more, be it swept already or not."""
    over = recording.expires_at is not None and recording.expires_at <= now
    return recording.status is Status.EXPIRED or (over and recording.hold is None)
