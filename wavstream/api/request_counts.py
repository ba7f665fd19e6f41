"""How many requests came, how they were answered and how long that took, by the template of their route.

Only words of ours are labels: the template (``/v1/recordings/{recording_id}``), one of the methods that there are, and
the status. A request that no route was asked for, such as one without a key, counts under the route ``none``; one whose
client left before the answer began, under the status ``none``. The time is that to the beginning of the answer: how
long its body takes is for whoever reads it to say.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavstream.api.elsewhere import HANDED_OVER
from wavstream.metrics import Histogram

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NONE = "none"
_FAILED = ("500", "503")
"""Counted as 0 from a route's first request on: Prometheus sees no increase in a series that begins with 1."""
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class RequestCounts:
    """The requests since the process began."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, str]] = Counter()
        """By method, route and status."""
        self.times = Histogram(BOUNDS_S, ("method", "route"))

    def add(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count a request that was answered after so many seconds; None: its client left before."""
        method = method if method in _METHODS else "other"
        for failed in _FAILED:
            self.answered.setdefault((method, route, failed), 0)
        self.answered[method, route, NONE if status is None else str(status)] += 1
        if status is not None:
            self.times.observe(seconds, method, route)


class CountRequests:
    """ASGI middleware, around all others, that counts."""

    def __init__(self, app: ASGIApp, *, counts: RequestCounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._counts = counts
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when it has ended (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, seconds, status = self._clock(), 0.0, None

        async def note(message: Message) -> None:
            nonlocal seconds, status
            if message["type"] == "http.response.start":
                seconds, status = self._clock() - began_s, message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            if HANDED_OVER not in scope:  # another worker counts it
                route = getattr(scope.get("route"), "path", NONE)
                self._counts.add(scope["method"], route, status, seconds)
