"""The gateway's API as an application, and the middleware that takes its requests out of all."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from wavstream.api.gateway import apps, sessions
from wavstream.api.gateway.answers import of_http, of_mistake
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard

_OURS = ("/api/v1/", "/admin/")


class GatewayMount:
    """ASGI middleware that takes the gateway's requests and passes on all others."""

    def __init__(self, app: ASGIApp, *, parts: GatewayDependencies) -> None:
        self._app = app
        self._gateway = create_gateway(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it (ASGI)."""
        is_ours = scope["type"] == "http" and (scope["path"].startswith(_OURS) or scope["path"] == "/health")
        await (self._gateway if is_ours else self._app)(scope, receive, send)


def create_gateway(parts: GatewayDependencies) -> Starlette:
    """Return the gateway's API as an application of its own: it shares no error and no shape with ours."""
    guard = GatewayGuard(parts)
    app = Starlette(
        routes=[
            *sessions.routes(parts, guard),
            *apps.routes(parts, guard),
            Route("/health", _health, methods=["GET"]),
        ],
        exception_handlers={HTTPException: of_http, Exception: of_mistake},
    )
    # An address with a slash too many is another address: session ids may end in one.
    app.router.redirect_slashes = False
    return app


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})
