"""The rows of apps that ask often, without asking the catalog each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wavstream.access.tenancy import TRUST_S
from wavstream.model.app import App


class Rows(Protocol):
    """The catalog, as this needs it."""

    async def get_app(self, app_id: str) -> App | None:
        """The app, if there is one of that id."""


class KnownApps:
    """Apps as they are, or were at most ``TRUST_S`` ago. To be asked for apps that have shown their key."""

    def __init__(self, rows: Rows, clock: Callable[[], float]) -> None:
        """``clock`` gives monotonic seconds."""
        self._rows = rows
        self._clock = clock
        self._known: dict[str, tuple[float, App | None]] = {}

    async def get(self, app_id: str) -> App | None:
        """The app; None: there is none of that id. Raises DependencyError if the catalog fails."""
        until, app = self._known.get(app_id, (0.0, None))
        now = self._clock()
        if now >= until:
            app = await self._rows.get_app(app_id)
            self._known[app_id] = now + TRUST_S, app
        return app

    def forget(self, app_id: str) -> None:
        """The app was changed: read it anew."""
        self._known.pop(app_id, None)
