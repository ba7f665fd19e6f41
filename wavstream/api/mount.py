"""The applications of the vendors' APIs, before ours: each takes the requests to its addresses out of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send


class Mounted(NamedTuple):
    """One application, and where it is."""

    paths: tuple[str, ...]
    """What its addresses begin with; one without a slash at its end is a whole address."""
    app: ASGIApp


class FacadeMount:
    """ASGI middleware that takes the requests of these applications and passes on all others."""

    def __init__(self, app: ASGIApp, *, mounted: Sequence[Mounted]) -> None:
        self._app = app
        self._exact = {path: each.app for each in mounted for path in each.paths if not path.endswith("/")}
        self._begins = [(path, each.app) for each in mounted for path in each.paths if path.endswith("/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it (ASGI)."""
        await (self._app_of(scope["path"]) if scope["type"] == "http" else self._app)(scope, receive, send)

    def _app_of(self, path: str) -> ASGIApp:
        begins = (app for start, app in self._begins if path.startswith(start))
        return self._exact.get(path) or next(begins, self._app)
