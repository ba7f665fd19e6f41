"""The HTTP application: every route, behind the middleware, with every error a problem."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI

from wavstream import __version__
from wavstream.api import dead_letters, health, holds, live, playback, problems, recordings, sessions
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import DESCRIPTION, openapi
from wavstream.api.facade import FacadeDependencies
from wavstream.api.facade_documents import documents_of_facades, facade_openapi
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.document import gateway_document
from wavstream.api.gateway.mount import PATHS, create_gateway
from wavstream.api.middleware import AuthMiddleware, ClientAddress
from wavstream.api.mount import FacadeMount, Mounted
from wavstream.api.registry import FACADES


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi(super().openapi())
        return self.openapi_schema


def create_app(parts: ApiDependencies, gateway: GatewayDependencies, facades: FacadeDependencies) -> FastAPI:
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
    vendors = [(facade, facade.create(facades)) for facade in FACADES]
    mounted = [Mounted(PATHS, create_gateway(gateway)), *(Mounted(facade.paths, made) for facade, made in vendors)]
    app.add_middleware(FacadeMount, mounted=mounted)
    app.add_middleware(ClientAddress, trusted_proxies=parts.trusted_proxies)
    problems.install(app)
    for room in (recordings, holds, live, sessions, dead_letters, playback, health):
        app.include_router(room.routes(parts))
    documents = {"gateway": gateway_document} | {facade.name: partial(facade_openapi, made) for facade, made in vendors}
    app.include_router(documents_of_facades(documents))
    return app
