"""A facade: the API of a vendor, as an application of its own beside ours, over the same commands.

What all of them share is here: the check of the key, the size of a body, and the way of errors. A facade says how its
callers show their key, and gives errors its vendor's shape; its routes translate.

1. The key is checked before anything else is looked at, as in our own API.
2. Whatever is refused, by a route, by the framework or by the core, reaches the facade as an error of our tree. One
   function, the facade's ``refusal``, gives it the vendor's shape. So no answer has another shape, and none is 500
   unless we are wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import structlog
from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security.http import HTTPBase
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from wavstream import __version__
from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.elsewhere import elsewhere_handler
from wavstream.api.middleware import authenticated, limited_body
from wavstream.api.mistakes import of_http, of_validation
from wavstream.catalog.deliveries import Deliveries
from wavstream.catalog.operations import Operations
from wavstream.errors import (
    BadBody,
    InternalError,
    NoSuchMethod,
    NotFound,
    PeerError,
    TooLarge,
    Unauthenticated,
    WavstreamError,
)
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions
from wavstream.sessions.commands import Commands
from wavstream.sessions.quotas import Quotas
from wavstream.storage.links import PublicUrls
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.transcripts import Transcripts
from wavstream.turns.fair_pool import FairPool
from wavstream.webhooks.target import check_url
from wavstream.webhooks.vocabulary import Vocabulary
from wavstream.workers.boundary import Elsewhere

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FacadeRules:
    """What whoever runs the server has chosen for all facades."""

    refuse_unavailable: bool = False
    """Whether a request that asks for what is not available (a transcript) is refused; else the recording says so."""
    transcribes: bool = False
    """Whether transcripts are made: then a start that asks for one asks for nothing that is not available."""
    wait_for_calls: bool = False
    """Whether a recording of a call that nobody knows waits for it; else there is no such call."""
    public_links: bool = False
    """Whether answers have links that live as long as the file, where the vendor leaves that to a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacadeDependencies:
    """The collaborators and the limits that the composition root hands to every facade."""

    commands: Commands
    authenticator: Authenticator
    app_cache: AppCache
    urls: PublicUrls
    files: FinishedFiles
    operations: Operations
    deliveries: Deliveries
    transcripts: Transcripts
    signing_keys: SigningKeys = field(repr=False)
    sounds: FairPool
    """Reads, speaks and resamples what is played to calls."""
    stored_downloads: FairPool
    """Reads what of it is in a store."""
    now: Callable[[], datetime]
    """Aware, UTC."""
    quotas: Quotas = field(default_factory=Quotas)
    rules: FacadeRules = FacadeRules()
    body_limit_bytes: int = 65_536
    page_limit: int = 200
    link_ttl_s: int = 600
    """Life of signed links."""
    allow_http_webhooks: bool = False
    allow_localhost_webhooks: bool = False


@dataclass(frozen=True, slots=True)
class Facade:
    """One vendor's API, as the registry lists it."""

    name: str
    paths: tuple[str, ...]
    """What its addresses begin with."""
    create: Callable[[FacadeDependencies], FastAPI]
    start_options: type[BaseModel]
    """The options of a start, by the vendor's names."""
    options_of: Callable[[Any, RecordingOptions], RecordingOptions]
    """From those to ours, over what the vendor has no word for: the app's own options."""
    vocabulary: Vocabulary
    """In which its apps are told what happened."""
    engine_of: Callable[[Mapping[str, Any]], str] = lambda _said: ""
    """From what a start said, beside the options, to the name of the engine that it wants its transcript of."""


class Credentials(NamedTuple):
    """Who a caller says it is."""

    key: str | None
    account: str | None = None
    """The id by which the vendor knows the caller, where the key comes with one."""


Refusal = Callable[[WavstreamError], Response]


def facade_app(
    parts: FacadeDependencies,
    *,
    vendor: str,
    title: str,
    description: str,
    scheme: str,
    credentials: Callable[[Headers], Credentials],
    refusal: Refusal,
) -> FastAPI:
    """Return an application without routes, whose every error is answered by ``refusal``.

    ``scheme`` is that of the ``Authorization`` header. ``credentials`` reads the key from the headers of a request;
    raises Unauthenticated if it cannot be read.
    """
    app = FastAPI(
        title=title,
        version=__version__,
        description=description,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # An address with a slash too many is another address: session ids may end in one.
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # For the document alone: the gate has read the key by then.
        dependencies=[Security(HTTPBase(scheme=scheme, scheme_name="key", auto_error=False))],
    )

    def answer(error: WavstreamError) -> Response:
        if not isinstance(error, PeerError):
            log.error("request_failed", status=error.http_status, error=str(error), exc_info=error)
        response = refusal(error)
        if error.retry_after_s is not None:
            response.headers["Retry-After"] = str(error.retry_after_s)
        if isinstance(error, NoSuchMethod):
            response.headers["Allow"] = error.allow
        if isinstance(error, TooLarge):
            # Else the rest of the body would have to be read to find the next request.
            response.headers["Connection"] = "close"
        return response

    async def of_ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, WavstreamError)
        return answer(error)

    async def of_fields(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(of_validation(error))

    async def of_framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(of_http(request, error))

    async def of_half_pair(_request: Request, _error: Exception) -> Response:
        return answer(BadBody("text in the request must be Unicode: half of a surrogate pair stands alone"))

    async def of_mistake(_request: Request, _error: Exception) -> Response:
        # The framework raises it again behind this answer, so the server logs it.
        return refusal(InternalError(InternalError.public_text))

    app.add_exception_handler(WavstreamError, of_ours)
    app.add_exception_handler(RequestValidationError, of_fields)
    app.add_exception_handler(HTTPException, of_framework)
    app.add_exception_handler(UnicodeEncodeError, of_half_pair)
    app.add_exception_handler(Exception, of_mistake)
    app.add_exception_handler(Elsewhere, elsewhere_handler(parts.quotas, answer))
    app.add_middleware(_Gate, parts=parts, vendor=vendor, scheme=scheme, credentials=credentials, answer=answer)
    return app


class _Gate:
    """ASGI middleware that refuses requests without a valid key, and bodies that are too large (rule 1)."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        parts: FacadeDependencies,
        vendor: str,
        scheme: str,
        credentials: Callable[[Headers], Credentials],
        answer: Refusal,
    ) -> None:
        self._app = app
        self._parts = parts
        self._vendor = vendor
        self._scheme = scheme
        self._credentials = credentials
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it (ASGI)."""
        headers = Headers(scope=scope)
        try:
            shown = self._credentials(headers)
            address = scope["client"][0] if scope.get("client") else ""
            try:
                caller = await authenticated(
                    self._parts.authenticator, shown.key, headers=headers, app=None, address=address
                )
            except Unauthenticated:
                if shown.key is not None:
                    raise
                raise Unauthenticated(f"no key was given: send 'Authorization: {self._scheme} <key>'") from None
            app_id = caller.app_id
            self._parts.quotas.take_request(app_id, time.monotonic())
            if shown.account is not None and not await owns_account(self._parts, app_id, self._vendor, shown.account):
                raise Unauthenticated("the key is not a key of the account that is named")
            try:
                limited = limited_body(headers, receive, self._parts.body_limit_bytes)
            except HTTPException as error:
                raise TooLarge(str(error.detail)) from None
        except WavstreamError as error:
            await self._answer(error)(scope, receive, send)
            return
        scope.setdefault("state", {}).update(app_id=app_id, account=shown.account)
        await self._app(scope, limited, send)


async def _app_id(request: Request) -> str:
    app_id: str = request.state.app_id
    return app_id


AppId = Annotated[str, Depends(_app_id)]
"""The app that asks, as a parameter of a route."""


async def _account(request: Request) -> str | None:
    account: str | None = request.state.account
    return account


Account = Annotated[str | None, Depends(_account)]
"""The account that the caller names beside its key, as a parameter of a route."""


# ---- what routes ask -------------------------------------------------------------------------------------------------


async def owns_account(parts: FacadeDependencies, app_id: str, vendor: str, account: str) -> bool:
    """Return whether the vendor's account is the app's; one that lists no accounts of the vendor is its key alone."""
    app: App | None = await parts.app_cache.get(app_id)
    listed = app.vendor_accounts.get(vendor, ()) if app is not None else ()
    return not listed or account in listed


def check_call(parts: FacadeDependencies, app_id: str, session_id: str) -> None:
    """Raise NotFound if nobody knows the call, and recordings do not wait for such; Elsewhere, as the commands do."""
    if not parts.rules.wait_for_calls and not parts.commands.is_known(app_id, session_id):
        raise NotFound("no such call is live: stream it, or announce it, before it is recorded")
    parts.commands.check_here(session_id)


def check_status_url(parts: FacadeDependencies, url: str) -> None:
    """Raise ValueError if no webhook may go to this URL."""
    check_url(url, allow_http=parts.allow_http_webhooks, allow_localhost=parts.allow_localhost_webhooks)
