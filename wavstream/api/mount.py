"""The applications of the vendors' APIs, before ours: each takes the requests to its addresses out of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from starlette.types import ASGIApp, Receive, Scope, Send


class Mounted:
    """One application, and where it is."""

    def __init__(self, paths: Sequence[str], create: Callable[[], ASGIApp]) -> None:
        """``paths``: what its addresses begin with; one without a slash at its end is a whole address."""
        self.paths = paths
        self._create = create

    @cached_property
    def app(self) -> ASGIApp:
        """The application, made when it is asked for first."""
        return self._create()


class FacadeMount:
    """ASGI middleware that takes the requests of these applications and passes on all others."""

    def __init__(self, app: ASGIApp, *, mounted: Sequence[Mounted]) -> None:
        self._app = app
        self._exact = {path: each for each in mounted for path in each.paths if not path.endswith("/")}
        self._begins = [(path, each) for each in mounted for path in each.paths if path.endswith("/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it (ASGI)."""
        await (self._app_of(scope["path"]) if scope["type"] == "http" else self._app)(scope, receive, send)

    def _app_of(self, path: str) -> ASGIApp:
        begins = (each for start, each in self._begins if path.startswith(start))
        found = self._exact.get(path) or next(begins, None)
        return self._app if found is None else found.app
