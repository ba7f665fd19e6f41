"""``/v1/live``: everything of an app that is live, as one stream of server-sent events.

The connection itself is the bound on what is kept for a page: what it does not take is not written, and it is told of
the newest state when it takes more (``listening.live_pages``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header, Response
from starlette.types import Receive, Scope, Send

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId, KeyId
from wavstream.api.routes import Router
from wavstream.listening.live_pages import Page

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID", max_length=4_096, description="Of the last event that was read, to go on from there."
    ),
]


def routes(parts: ApiDependencies) -> Router:
    """Return the route of what is live."""
    router = Router(prefix="/v1", tags=["sessions"])

    @router.get(
        "/live",
        operation_id="watchLive",
        summary="Watch what is live",
        description="Server-sent events: every session and leg of the app with its level, what becomes of them, and "
        "where a leg is silent, why.",
        response_class=Response,
        responses={
            200: {"description": "Events, until the caller leaves", "content": {"text/event-stream": {}}},
            **problems(401, 503),
        },
    )
    async def watch(app_id: AppId, key_id: KeyId, last_event_id: LastEventId = None) -> Response:
        page = parts.pages.look(app_id, key_id=key_id)
        return EventStream(page, page.events(last_event_id=last_event_id, now=parts.now))

    return router


class EventStream(Response):
    """The events that a page is told, as the body of a response; the page has left when it ends."""

    def __init__(self, page: Page, events: AsyncIterator[bytes]) -> None:
        self._page = page
        self._events = events
        super().__init__(headers=_HEADERS)
        del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        gone = asyncio.create_task(_until_gone(receive, self._page))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self._events:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._page.leave()


async def _until_gone(receive: Receive, page: Page) -> None:
    with contextlib.suppress(Exception):  # a body that is too large: it is not read
        while (await receive())["type"] != "http.disconnect":
            pass
    page.leave()
