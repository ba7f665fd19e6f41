"""Which pages of other origins may read answers (CORS): those of ``cors_origins``, of the APIs and of files.

1. Nothing is asked of who asks: a preflight has no key, and a page that may read an answer still has to show one, or a
   link. Cookies are not used, so a page has nothing of its user's that it could not say itself.
2. A listed page is another origin all the same where no key is needed (``access.origin``, rule 3), and its media
   sockets are refused until ``allowed_origins`` has it: browsers let any page open one, and ask for no leave.
3. Health, metrics and the administration of apps are for no page.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from wavstream.api.problems import problem

ANY_ORIGIN = "*"
ASKED = (
    *("Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-App-ID"),
    *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"),
)
"""Headers that a page may send."""
SHOWN = (
    *("Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag", "Last-Modified"),
    *("Location", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
)
"""Headers that a page may read."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class _Sharing(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; one that is refused, with a problem as all that is refused."""
        response = super().preflight_response(request_headers)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return problem(response.status_code, f"{bytes(response.body).decode()}.", headers=headers)


class CrossOrigin:
    """ASGI middleware that answers preflights, and marks answers as readable, below these paths."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str], paths: Collection[str]) -> None:
        self._app = app
        self._paths = tuple(paths)
        self._shared = _Sharing(
            app,
            allow_origins=tuple(origins),
            allow_methods=_METHODS,
            allow_headers=ASKED,
            expose_headers=SHOWN,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it (ASGI)."""
        is_shared = scope["type"] == "http" and scope["path"].startswith(self._paths)
        await (self._shared if is_shared else self._app)(scope, receive, send)
