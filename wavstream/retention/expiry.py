"""When a recording expires.

A recording is kept for a number of whole hours from its stop: its own, else its app's, else the server's. The moment
is fixed at the stop; neither reading the recording nor a later change of a setting moves it. There is no "for ever":
hours are 1 to 87600 (ten years), checked where they come in. A legal hold suspends the rule for as long as it lasts.
Where another store serves the files, how long they are kept is not ours to say, and no recording expires.

The hours are those of the wall clock, and so is the stop from which they count (``Clocks.on_wall``): ``ended_at`` is
stamped by the journal's clock, which the wall clock may have left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from wavstream.model.app import App
from wavstream.model.recording import Recording, Status


def expires_at(
    ended_at: datetime, *, recording_hours: int | None, app_hours: int | None, server_hours: int
) -> datetime:
    """Return when a recording that stopped at ``ended_at`` must be gone."""
    chosen = (hours for hours in (recording_hours, app_hours) if hours is not None)
    return ended_at + timedelta(hours=next(chosen, server_hours))


def is_expired(recording: Recording, now: datetime) -> bool:
    """Return whether the recording must not be handed out any more, be it swept already or not."""
    over = recording.expires_at is not None and recording.expires_at <= now
    return recording.status is Status.EXPIRED or (over and recording.hold is None)


class Expiry:
    """The rule with this server's hours, and with the hours of the app that owns the recording."""

    def __init__(
        self,
        app_of: Callable[[str], Awaitable[App | None]],
        *,
        server_hours: int,
        kept_elsewhere: bool,
        on_wall: Callable[[datetime], datetime] = lambda stamped: stamped,
    ) -> None:
        """Ask ``app_of`` at each stop, and ``on_wall`` (``Clocks.on_wall``) when that was by the wall clock.

        ``kept_elsewhere``: another store serves the files, and none expires here.
        """
        self._on_wall = on_wall
        self._app_of = app_of
        self._server_hours = server_hours
        self._kept_elsewhere = kept_elsewhere

    async def of(self, stopped: Recording) -> datetime | None:
        """Return when it expires; None: never. Raise DependencyError if the catalog fails."""
        assert stopped.ended_at is not None
        if self._kept_elsewhere:
            return None
        app = await self._app_of(stopped.app_id)
        return expires_at(
            self._on_wall(stopped.ended_at),
            recording_hours=stopped.options.retention_hours,
            app_hours=app.retention_hours if app is not None else None,
            server_hours=self._server_hours,
        )
