"""The rows of apps that ask often, without asking the catalog each time, and the options of their recordings.

A recording has the options that its request names. What that leaves out is the app's, and else the server's. This holds
for whatever starts it: a request of any API, or a stream. A stream introduces itself where nothing can be waited for.
Its app was read when its key or token was checked, so ``last_options`` knows it.
"""

from __future__ import annotations

from collections.abc import Callable

from wavstream.catalog.apps import Apps
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions

CACHE_TTL_S = 10.0
"""Seconds that an answer of the catalog is believed: short for a key that was taken away, long for a busy server."""


class AppCache:
    """Apps as they are, or were at most ``CACHE_TTL_S`` ago. To be asked for apps that have shown their key."""

    def __init__(self, apps: Apps, clock: Callable[[], float], *, server_options: RecordingOptions) -> None:
        """Begin empty: ``clock`` gives monotonic seconds, and apps without options have ``server_options``."""
        self._apps = apps
        self._clock = clock
        self._server_options = server_options
        self._known: dict[str, tuple[float, App | None]] = {}
        """By id: until when it is believed, and the app; None: there is none."""

    async def get(self, app_id: str) -> App | None:
        """Return the app; None: there is none of that id. Raise DependencyError if the catalog fails."""
        until, app = self._known.get(app_id, (0.0, None))
        now = self._clock()
        if now >= until:
            app = await self._apps.get(app_id)
            self._known[app_id] = now + CACHE_TTL_S, app
        return app

    async def options(self, app_id: str) -> RecordingOptions:
        """Return what the app's recordings are where nothing else is said; raise DependencyError as ``get`` does."""
        return self._options_of(await self.get(app_id))

    def last_options(self, app_id: str) -> RecordingOptions:
        """Return the options as they were last read, however long ago; of an app that was not read, the server's."""
        _, app = self._known.get(app_id, (0.0, None))
        return self._options_of(app)

    def forget(self, app_id: str) -> None:
        """Read the app anew when it is asked for next, since it was changed."""
        _, app = self._known.get(app_id, (0.0, None))
        self._known[app_id] = 0.0, app

    def forget_all(self) -> None:
        """Read every app anew when it is asked for next."""
        self._known = {app_id: (0.0, app) for app_id, (_, app) in self._known.items()}

    def _options_of(self, app: App | None) -> RecordingOptions:
        return self._server_options if app is None else app.options(self._server_options)
