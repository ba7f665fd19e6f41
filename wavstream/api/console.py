"""``/console/...``: who looks at the page, signing in and out. What the page shows is below ``/v1``, as for everybody.

1. A key is changed into a cookie that no script can read, for eight hours (``access.console_pass``). Where callers need
   no key there is nothing to sign in to.
2. The cookie is marked ``Secure`` where the page was fetched over https, which only a proxy in front of this server
   knows: it says so, or ``public_url`` does.
3. Wrong keys count under their address, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from wavstream import __version__
from wavstream.access.authenticator import Caller
from wavstream.access.console_pass import LIFE, ConsolePass, ConsolePasses
from wavstream.access.key_table import KEYLESS
from wavstream.api.console_cookies import check_writer
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.middleware import authenticated
from wavstream.errors import Unauthenticated
from wavstream.model.app import app_name
from wavstream.model.document import Document
from wavstream.model.times import Moment

_NO_STORE = {"Cache-Control": "no-store"}


class SignIn(BaseModel):
    """Sign in with a key of an app."""

    model_config = ConfigDict(strict=True, extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=512)]


class Visitor(Document):
    """Who looks."""

    signed_in: bool
    needs_key: bool
    app_id: str | None
    key_name: str | None
    expires_at: Moment | None
    now: Moment
    version: str = __version__


def routes(parts: ApiDependencies) -> APIRouter:
    """Return the routes of signing in, which exist where the console is on."""
    router = APIRouter(prefix="/console", include_in_schema=False)
    passes = parts.console_passes
    if passes is None:
        return router

    async def keyless(request: Request) -> Caller | None:
        try:
            return await authenticated(
                parts.authenticator, None, headers=request.headers, app=None, address=_address(request)
            )
        except Unauthenticated:
            return None

    def visitor(app_id: str | None, key_id: str | None, shown: ConsolePass | None = None) -> Visitor:
        return Visitor(
            signed_in=app_id is not None,
            needs_key=key_id != KEYLESS,
            app_id=None if app_id is None else app_name(app_id),
            key_name=parts.authenticator.key_name(key_id),
            expires_at=None if shown is None else shown.expires_at,
            now=parts.now(),
        )

    @router.get("/session")
    async def who(request: Request) -> Response:
        if (caller := await keyless(request)) is not None:
            found = visitor(caller.app_id, caller.key_id)
        elif (shown := passes.read(request.headers.get("cookie"), now=parts.now())) and parts.authenticator.is_good(
            shown.key_id
        ):
            found = visitor(shown.app_id, shown.key_id, shown)
        else:
            found = visitor(None, None)
        return JSONResponse(found.as_json(), headers=_NO_STORE)

    @router.post("/sign-in")
    async def sign_in(asked: SignIn, request: Request) -> Response:
        check_writer(request.headers, parts.urls.public_url)
        if (caller := await keyless(request)) is not None:  # rule 1
            return JSONResponse(visitor(caller.app_id, caller.key_id).as_json(), headers=_NO_STORE)
        caller = await authenticated(
            parts.authenticator, asked.key.strip(), headers=request.headers, app=None, address=_address(request)
        )
        parts.quotas.take_request(caller.app_id, time.monotonic())
        assert caller.key_id is not None
        text, expires_at = passes.make(app_id=caller.app_id, key_id=caller.key_id, now=parts.now())
        shown = ConsolePass(caller.app_id, caller.key_id, expires_at)
        response = JSONResponse(visitor(caller.app_id, caller.key_id, shown).as_json(), headers=_NO_STORE)
        _set_cookie(response, passes, text, request, parts.urls.public_url)
        return response

    @router.post("/sign-out", status_code=204)
    async def sign_out(request: Request) -> Response:
        check_writer(request.headers, parts.urls.public_url)
        response = Response(status_code=204, headers=_NO_STORE)
        _set_cookie(response, passes, "", request, parts.urls.public_url)
        return response

    return router


def _set_cookie(response: Response, passes: ConsolePasses, text: str, request: Request, public_url: str) -> None:
    response.set_cookie(
        passes.cookie,
        text,
        max_age=int(LIFE.total_seconds()) if text else 0,
        path="/",
        secure=_is_https(request.headers, request.scope["scheme"], public_url),
        httponly=True,
        samesite="strict",
    )


def _is_https(headers: Mapping[str, str], scheme: str, public_url: str) -> bool:
    """Return whether the page was fetched over https (rule 2)."""
    said = headers.get("x-forwarded-proto", "").strip().lower() or urlsplit(headers.get("origin", "")).scheme
    return "https" in (said, scheme) or public_url.startswith("https://")


def _address(request: Request) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""
