"""When a recording that has just stopped will expire, by all that has a say in it."""

from __future__ import annotations

from datetime import datetime

from wavstream.model.recording import Recording
from wavstream.retention.app_hours import AppHours
from wavstream.retention.policy import expires_at


class Expiry:
    """The hours of the recording, its app and the server."""

    def __init__(self, app_hours: AppHours, *, server_hours: int, kept_elsewhere: bool) -> None:
        """``kept_elsewhere``: another store serves the files, and nothing expires here."""
        self._app_hours = app_hours
        self._server_hours = server_hours
        self._kept_elsewhere = kept_elsewhere

    async def of(self, stopped: Recording) -> datetime | None:
        """When it expires; None: never. Raises DependencyError if the catalog fails."""
        assert stopped.ended_at is not None
        if self._kept_elsewhere:
            return None
        return expires_at(
            stopped.ended_at,
            recording_hours=stopped.options.retention_hours,
            app_hours=await self._app_hours.of(stopped.app_id),
            server_hours=self._server_hours,
        )
