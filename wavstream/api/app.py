"""The HTTP application: every route, behind the middleware, with every error a problem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response

from wavstream import __version__
from wavstream.api import (
    audio,
    dead_letters,
    health,
    holds,
    live,
    live_page,
    playback,
    problems,
    recordings,
    sessions,
    transcripts,
    verification,
    waveform,
)
from wavstream.api.console import add_console
from wavstream.api.console_cookies import Cookies
from wavstream.api.cross_origin import CrossOrigin
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.docs_page import add_docs_page, servers
from wavstream.api.documents import DESCRIPTION, KeptDocument, openapi, with_other
from wavstream.api.elsewhere import elsewhere_handler
from wavstream.api.facade import FacadeDependencies
from wavstream.api.facade_documents import documents_of_facades, facade_openapi
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.document import gateway_document
from wavstream.api.gateway.mount import PATHS, create_gateway
from wavstream.api.middleware import AuthMiddleware, ClientAddress
from wavstream.api.mount import FacadeMount, Mounted
from wavstream.api.registry import FACADES
from wavstream.api.request_counts import CountRequests
from wavstream.api.routes import add_routes
from wavstream.api.webhook_documents import told
from wavstream.workers.boundary import Elsewhere


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = with_other(openapi(super().openapi()), gateway_document())
        return self.openapi_schema

    def setup(self) -> None:
        kept = KeptDocument(self.openapi)

        async def document(_request: Request) -> Response:
            return await kept.answer()

        # Before the framework's own, which encodes the document for every request.
        self.add_route("/openapi.json", document, include_in_schema=False)
        add_docs_page(self)
        super().setup()


def create_app(parts: ApiDependencies, gateway: GatewayDependencies, facades: FacadeDependencies) -> FastAPI:
    """Return the ASGI application over its collaborators; start nothing.

    The vendors' APIs beside ours, and what is known of each route, are made when they are asked for first.
    """
    app = _Application(
        title="wavstream",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        servers=servers(parts.urls.public_url),
        # An address with a slash too many is another address: session ids may end in one.
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(
        AuthMiddleware,
        authenticator=parts.authenticator,
        quotas=parts.quotas,
        cookies=_cookies(parts),
        body_limit_bytes=parts.body_limit_bytes,
    )
    vendors = {facade.name: Mounted(facade.paths, partial(facade.create, facades)) for facade in FACADES}
    app.state.mounted = [Mounted(PATHS, partial(create_gateway, gateway)), *vendors.values()]
    app.add_middleware(FacadeMount, mounted=app.state.mounted)
    app.add_middleware(ClientAddress, trusted_proxies=parts.trusted_proxies)
    app.add_middleware(CountRequests, counts=parts.requests)
    if parts.cors_origins:
        # The outermost, so that a page can read errors too.
        paths = ("/v1/", "/files/", "/api/v1/", "/openapi", *(path for facade in FACADES for path in facade.paths))
        app.add_middleware(CrossOrigin, origins=parts.cors_origins, paths=paths)
    problems.install(app)
    app.add_exception_handler(Elsewhere, elsewhere_handler(parts.quotas, problems.problem_of))
    of_recordings = (transcripts, recordings, holds, live, audio, waveform, verification)
    for room in (*of_recordings, live_page, sessions, dead_letters, playback, health):
        add_routes(app, room.routes(parts))
    add_console(app, parts)
    app.webhooks.include_router(told())
    documents: dict[str, Callable[[], dict[str, Any]]] = {
        "gateway": lambda: gateway_document() | {"servers": app.servers}
    }
    documents |= {name: partial(_document, mounted, app.servers) for name, mounted in vendors.items()}
    add_routes(app, documents_of_facades(documents))
    for media in ("/media/{rest:path}", "/record/{rest:path}"):
        app.add_route(media, _not_upgraded, include_in_schema=False)
    return app


def _cookies(parts: ApiDependencies) -> Cookies | None:
    if parts.console_passes is None:
        return None
    return Cookies(
        parts.console_passes, authenticator=parts.authenticator, public_url=parts.urls.public_url, now=parts.now
    )


async def _not_upgraded(_request: Request) -> Response:
    # RFC 9110, 15.5.22. An upgrade is answered by the media plane and never comes here.
    detail = "Media streams are WebSockets; a proxy in front of this server must pass on Upgrade and Connection."
    return problems.problem(426, detail, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def _document(mounted: Mounted, where: list[dict[str, Any]]) -> dict[str, Any]:
    assert isinstance(mounted.app, FastAPI)
    return facade_openapi(mounted.app) | {"servers": where}
