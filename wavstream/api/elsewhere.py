"""A request for a session of another worker: its connection goes there, and is answered there. In all APIs alike.

1. Whatever asks for the session raises ``Elsewhere`` before it has changed anything. What was counted of the request is
   given back, for it counts where it is answered.
2. Only where the other worker takes nothing, for it is being started again, is there an answer here, in the API's own
   shape: that of any other limit.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wavstream.errors import WavstreamError
from wavstream.sessions.quotas import Quotas
from wavstream.workers.boundary import Elsewhere, WorkerUnavailable

CONNECTION = "wavstream.connection"
"""The ASGI extension that holds the connection of the request."""
HANDED_OVER = "wavstream.handed_over"
"""In the scope of a request that is answered elsewhere."""


class Connection(Protocol):
    """The connection of a request."""

    async def hand_over(self, worker: int) -> None:
        """Hand it to this worker, with the request; raise WorkerUnavailable."""
        ...


class AnsweredElsewhere(Response):
    """No answer: another worker gives it, or the peer is gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing (ASGI)."""


async def answered_elsewhere(request: Request, elsewhere: Elsewhere) -> Response:
    """Hand over the connection of the request; raise WorkerUnavailable."""
    connection: Connection = request.scope["extensions"][CONNECTION]["connection"]
    await connection.hand_over(elsewhere.worker)
    request.scope[HANDED_OVER] = True
    return AnsweredElsewhere()


def elsewhere_handler(
    quotas: Quotas, answer: Callable[[WavstreamError], Response]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return what an application does with ``Elsewhere``; ``answer`` is its shape of errors (rule 2)."""

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, Elsewhere)
        app_id: str | None = request.scope.get("state", {}).get("app_id")
        if app_id is not None:
            quotas.give_back_request(app_id, time.monotonic())  # rule 1
        try:
            return await answered_elsewhere(request, error)
        except WorkerUnavailable as unavailable:
            return answer(unavailable)

    return handle
