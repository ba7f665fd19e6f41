"""``/console/...``: who looks at the page, signing in and out. What the page shows is below ``/v1``, as for everybody.

1. A key is changed into a cookie that no script can read, for eight hours (``access.console_pass``). Where callers need
   no key there is nothing to sign in to.
2. The cookie is marked ``Secure`` where the page was fetched over https, which only a proxy in front of this server
   knows: it says so, or ``public_url`` does.
3. Wrong keys count under their address, as everywhere.
4. The page is told with itself who looks, so that it need not ask first. Where it was told of nobody it asks: a browser
   that follows a link from elsewhere sends the cookie with what the page asks for, and not for the page itself.
5. Where the address names a recording, it is told of that too: its audio is asked for by the first line that runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from wavstream import __version__
from wavstream.access.authenticator import Caller
from wavstream.access.console_pass import LIFE, ConsolePass, ConsolePasses
from wavstream.access.key_table import KEYLESS
from wavstream.api.console_cookies import check_writer
from wavstream.api.console_page import add_console_page
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.middleware import authenticated
from wavstream.api.playback import as_of
from wavstream.api.routes import Router, add_routes
from wavstream.errors import Unauthenticated, WavstreamError
from wavstream.model.app import app_name
from wavstream.model.document import Document, recording_document
from wavstream.model.times import Moment
from wavstream.workers.boundary import Elsewhere

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
    transcribes: bool
    """Whether transcripts are made here."""
    version: str = __version__


class Door:
    """Knows who looks."""

    def __init__(self, parts: ApiDependencies, passes: ConsolePasses) -> None:
        self._parts = parts
        self._passes = passes

    async def who(self, request: Request) -> Visitor:
        """Return who asks."""
        return (await self._who(request))[1]

    async def _who(self, request: Request) -> tuple[str | None, Visitor]:
        if (caller := await self.keyless(request)) is not None:
            return caller.app_id, self.visitor(caller.app_id, caller.key_id)
        shown = self._passes.read(request.headers.get("cookie"), now=self._parts.now())
        if shown is not None and self._parts.authenticator.is_good(shown.key_id):
            return shown.app_id, self.visitor(shown.app_id, shown.key_id, shown)
        return None, self.visitor(None, None)

    async def keyless(self, request: Request) -> Caller | None:
        """Return who asks and needs no key; None: a key is needed."""
        address = _address(request)
        try:
            return await authenticated(
                self._parts.authenticator, None, headers=request.headers, app=None, address=address
            )
        except Unauthenticated:
            return None

    async def told(self, request: Request) -> dict[str, Any]:
        """Return what the page is told with itself (rules 4 and 5)."""
        app_id, visitor = await self._who(request)
        said: dict[str, Any] = visitor.as_json()
        recording_id = request.query_params.get("recording")
        if app_id is not None and recording_id:
            # Whatever is wrong with it is said, and where it is found out, when the page asks for it.
            with suppress(WavstreamError, Elsewhere):
                found = await self._parts.commands.get(app_id=app_id, recording_id=recording_id)
                found = as_of(self._parts.now(), found)
                said["recording"] = recording_document(found, url=self._parts.urls.of(found)).as_json()
        return said

    def visitor(self, app_id: str | None, key_id: str | None, shown: ConsolePass | None = None) -> Visitor:
        """Return what there is to say of somebody; ``app_id`` None: nobody is signed in."""
        return Visitor(
            signed_in=app_id is not None,
            needs_key=key_id != KEYLESS,
            app_id=None if app_id is None else app_name(app_id),
            key_name=self._parts.authenticator.key_name(key_id),
            expires_at=None if shown is None else shown.expires_at,
            now=self._parts.now(),
            transcribes=self._parts.transcripts.are_made,
        )


def add_console(app: FastAPI, parts: ApiDependencies) -> None:
    """Add the page with its files, and the routes of signing in, where the console is on."""
    if parts.console_passes is None:
        return
    door = Door(parts, parts.console_passes)
    add_routes(app, _routes(parts, parts.console_passes, door))

    async def told(request: Request) -> bytes:
        # In ASCII: what a peer wrote hides no character in the page.
        return json.dumps(await door.told(request)).encode()

    add_console_page(app, visitor=told)


def _routes(parts: ApiDependencies, passes: ConsolePasses, door: Door) -> Router:
    router = Router(prefix="/console", include_in_schema=False)

    @router.get("/session")
    async def who(request: Request) -> Response:
        return JSONResponse((await door.who(request)).as_json(), headers=_NO_STORE)

    @router.post("/sign-in")
    async def sign_in(asked: SignIn, request: Request) -> Response:
        check_writer(request.headers, parts.urls.public_url)
        if (caller := await door.keyless(request)) is not None:  # rule 1
            return JSONResponse(door.visitor(caller.app_id, caller.key_id).as_json(), headers=_NO_STORE)
        caller = await authenticated(
            parts.authenticator, asked.key.strip(), headers=request.headers, app=None, address=_address(request)
        )
        parts.quotas.take_request(caller.app_id, time.monotonic())
        assert caller.key_id is not None
        text, expires_at = passes.make(app_id=caller.app_id, key_id=caller.key_id, now=parts.now())
        shown = ConsolePass(caller.app_id, caller.key_id, expires_at)
        response = JSONResponse(door.visitor(caller.app_id, caller.key_id, shown).as_json(), headers=_NO_STORE)
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
