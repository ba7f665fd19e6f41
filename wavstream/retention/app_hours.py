"""How long each app keeps its recordings, without asking the catalog at every stop.

Two hundred calls that end in the same second would be two hundred reads; an answer is believed for ``TRUST_S``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wavstream.model.app import App

TRUST_S = 10.0


class Apps(Protocol):
    """The catalog, as this needs it."""

    async def get_app(self, app_id: str) -> App | None:
        """The app, if there is one of that id."""


class AppHours:
    """The hours of each app that has its own."""

    def __init__(self, apps: Apps, clock: Callable[[], float]) -> None:
        self._apps = apps
        self._clock = clock
        self._known: dict[str, tuple[float, int | None]] = {}

    async def of(self, app_id: str) -> int | None:
        """The app's own hours; None: it goes by the server's. Raises DependencyError if the catalog fails."""
        until, hours = self._known.get(app_id, (0.0, None))
        now = self._clock()
        if now >= until:
            app = await self._apps.get_app(app_id)
            hours = app.retention_hours if app is not None else None
            self._known[app_id] = now + TRUST_S, hours
        return hours
