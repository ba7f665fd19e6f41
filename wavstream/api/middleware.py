"""The checks before any route: the address that a request counts under, its size, and under ``/v1`` its key.

A key is asked for before anything else is looked at, so that a stranger learns nothing from a request: not whether a
path exists, nor what is wrong with a body.
"""

from __future__ import annotations

import inspect
import time
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavstream.access.authenticator import Authenticator, Caller
from wavstream.access.origin import Networks, client_address, is_local
from wavstream.api.console_cookies import Cookies
from wavstream.api.problems import problem, problem_of
from wavstream.errors import LimitReached, TooSoon, WavstreamError
from wavstream.sessions.quotas import Quotas

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="The key of an app. Not needed on loopback while no app exists.",
)
_gateway_key = APIKeyHeader(
    auto_error=False,
    name="X-API-Key",
    scheme_name="gateway_key",
    description="The same key, where there is no bearer. An X-App-ID beside it must be the id of its app.",
)


class ClientAddress:
    """ASGI middleware that puts the client that a trusted proxy names in the place of the proxy, in ``scope``."""

    def __init__(self, app: ASGIApp, *, trusted_proxies: Networks) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on (ASGI)."""
        if scope["type"] in ("http", "websocket"):
            peer, port = scope.get("client") or (None, 0)
            lines = Headers(scope=scope).getlist("x-forwarded-for")
            address = client_address(peer, lines, self._trusted_proxies)
            scope["client"] = None if address is None else (address, port)
        await self._app(scope, receive, send)


class AuthMiddleware:
    """ASGI middleware that refuses bodies over ``body_limit_bytes`` and requests under ``/v1`` without a valid key."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        quotas: Quotas,
        body_limit_bytes: int,
        cookies: Cookies | None = None,
    ) -> None:
        """``cookies``: of the console, which stand for a key where none is shown; None: they count for nothing."""
        self._app = app
        self._cookies = cookies
        self._quotas = quotas
        self._authenticator = authenticator
        self._body_limit_bytes = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"].startswith("/v1/"):
            try:
                caller, by_cookie = await self._who(scope, headers)
                scope.setdefault("state", {}).update(
                    app_id=caller.app_id, key_id=caller.key_id, is_of_console=by_cookie
                )
            except WavstreamError as error:
                await problem_of(error)(scope, receive, send)
                return
        try:
            limited = limited_body(headers, receive, self._body_limit_bytes)
        except HTTPException as error:
            await problem(error.status_code, error.detail, headers=error.headers)(scope, receive, send)
            return
        await self._app(scope, limited, send)

    async def _who(self, scope: Scope, headers: Headers) -> tuple[Caller, bool]:
        """Return who asks, and whether by the cookie of the console."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        bearer = key.strip() if scheme.lower() == "bearer" else ""
        shown = bearer or headers.get("x-api-key") or None
        caller = self._cookies.caller(scope["method"], headers) if shown is None and self._cookies is not None else None
        by_cookie = caller is not None
        if caller is None:
            address = scope["client"][0] if scope.get("client") else ""
            caller = await authenticated(
                self._authenticator, shown, headers=headers, app=headers.get("x-app-id"), address=address
            )
        self._quotas.take_request(caller.app_id, time.monotonic())
        return caller, by_cookie


async def authenticated(
    authenticator: Authenticator, key: str | None, *, headers: Headers, app: str | None, address: str
) -> Caller:
    """Return who asks; raise Unauthenticated, or TooSoon for a wrong key after too many others."""
    try:
        local = is_local(address, headers.items())
        found = authenticator.authenticate(key, client_is_loopback=local, app=app, address=address)
        return await found if inspect.isawaitable(found) else found
    except LimitReached as error:
        raise TooSoon(str(error), retry_after_s=error.retry_after_s) from error


def limited_body(headers: Headers, receive: Receive, limit_bytes: int) -> Receive:
    """Return ``receive`` for a body of at most so many bytes.

    It raises HTTPException for a larger one; where the length is declared, this function does at once.
    """
    # The connection ends with the answer, else the body would have to be read to find the next request.
    too_large = HTTPException(
        413, f"The body must not be larger than {limit_bytes} bytes.", headers={"Connection": "close"}
    )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:19]) > limit_bytes:
        raise too_large
    total_bytes = 0

    async def limited() -> Message:
        nonlocal total_bytes
        message = await receive()
        total_bytes += len(message.get("body", b""))
        if total_bytes > limit_bytes:
            raise too_large
        return message

    return limited


# A dependency that is no coroutine is run on a thread, a hop there and back for each request.
async def app_of(
    request: Request, _bearer: Annotated[Any, Security(_bearer)], _key: Annotated[Any, Security(_gateway_key)]
) -> str:
    """Return the id of the app that asks; for routes under ``/v1``, which ``AuthMiddleware`` has let pass."""
    app_id: str = request.state.app_id
    return app_id


AppId = Annotated[str, Depends(app_of)]
"""The app that asks, as a parameter of a route."""


async def key_of(request: Request) -> str | None:
    """Return the id of the key that was shown; for routes that ``AuthMiddleware`` has let pass."""
    key_id: str | None = request.state.key_id
    return key_id


KeyId = Annotated[str | None, Depends(key_of)]
"""The key that was shown, as a parameter of a route: what it opens may have to end with it."""


async def of_console(request: Request) -> bool:
    """Return whether the cookie of the console was shown; for routes that ``AuthMiddleware`` has let pass."""
    found: bool = request.state.is_of_console
    return found


OfConsole = Annotated[bool, Depends(of_console)]
"""Whether the console asks, as a parameter of a route."""
