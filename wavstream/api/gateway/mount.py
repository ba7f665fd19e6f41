"""The gateway's API as an application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wavstream.api.gateway import apps, sessions
from wavstream.api.gateway.answers import of_http, of_mistake
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard

PATHS = ("/api/v1/", "/admin/", "/health")
"""What its addresses begin with; the last is a whole one."""


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
