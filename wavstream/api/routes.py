"""Routes that FastAPI reads when they are asked for first: signatures, types of answers, what the document says.

An application with the vendors' APIs has 90 routes. To read them all took a third of a second of a core at each start.
To read one takes 4 ms, within the first request to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, params
from fastapi.routing import APIRoute
from starlette.routing import compile_path

_MAKING = threading.RLock()


class MadeWhenAsked(APIRoute):
    """A route that knows its path and its methods; all else is made when it is first looked at."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: Iterable[str] | None = None, **said: Any
    ) -> None:
        """Keep what was said, as FastAPI's own route takes it."""
        self.path, self.endpoint = path, endpoint
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self.methods = {method.upper() for method in methods or ("GET",)}
        self._said: dict[str, Any] | None = said

    def depend_on(self, dependencies: Sequence[params.Depends]) -> None:
        """Have these before its own dependencies; for a route that nobody has looked at."""
        assert self._said is not None
        self._said["dependencies"] = [*dependencies, *(self._said["dependencies"] or ())]

    def __getattr__(self, name: str) -> Any:
        # Only what is not there comes here. The document of all routes is made in a thread beside the loop.
        with _MAKING:
            if (said := self.__dict__.get("_said")) is not None and not name.startswith("__"):
                self._said = None
                super().__init__(self.path, self.endpoint, methods=self.methods, **said)
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class Router(APIRouter):
    """A router of such routes."""

    def __init__(self, **said: Any) -> None:
        super().__init__(route_class=MadeWhenAsked, **said)


def add_routes(app: FastAPI, router: Router) -> None:
    """Add a router's routes as they are, which depend on what all of the application do.

    ``include_router`` reads every route a second time, on the loop, while the first request waits.
    """
    for route in router.routes:
        assert isinstance(route, MadeWhenAsked)
        route.depend_on(app.router.dependencies)
    app.router.routes.extend(router.routes)
