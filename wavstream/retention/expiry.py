"""When a recording that has just stopped will expire, by all that has a say in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from wavstream.model.app import App
from wavstream.model.recording import Recording
from wavstream.retention.policy import expires_at


class Expiry:
    """The hours of the recording, its app and the server."""

    def __init__(
        self, app_of: Callable[[str], Awaitable[App | None]], *, server_hours: int, kept_elsewhere: bool
    ) -> None:
        """``app_of`` is asked at each stop; ``kept_elsewhere``: another store serves the files, none expires here."""
        self._app_of = app_of
        self._server_hours = server_hours
        self._kept_elsewhere = kept_elsewhere

    async def of(self, stopped: Recording) -> datetime | None:
        """When it expires; None: never. Raises DependencyError if the catalog fails."""
        assert stopped.ended_at is not None
        if self._kept_elsewhere:
            return None
        app = await self._app_of(stopped.app_id)
        return expires_at(
            stopped.ended_at,
            recording_hours=stopped.options.retention_hours,
            app_hours=app.retention_hours if app is not None else None,
            server_hours=self._server_hours,
        )
