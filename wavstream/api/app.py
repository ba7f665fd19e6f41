"""The HTTP application: every route, behind the middleware, with every error a problem."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from wavstream import __version__
from wavstream.api import dead_letters, health, holds, live, playback, problems, recordings, sessions
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import DESCRIPTION, openapi
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.mount import GatewayMount
from wavstream.api.middleware import AuthMiddleware, ClientAddress


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi(super().openapi())
        return self.openapi_schema


def create_app(parts: ApiDependencies, gateway: GatewayDependencies) -> FastAPI:
    """Return the ASGI application over its collaborators; start nothing."""
    app = _Application(
        title="wavstream",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redoc_url=None,
        # An address with a slash too many is another address: session ids may end in one.
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(AuthMiddleware, authenticator=parts.authenticator, body_limit_bytes=parts.body_limit_bytes)
    app.add_middleware(GatewayMount, parts=gateway)
    app.add_middleware(ClientAddress, trusted_proxies=parts.trusted_proxies)
    problems.install(app)
    for room in (recordings, holds, live, sessions, dead_letters, playback, health):
        app.include_router(room.routes(parts))
    return app
