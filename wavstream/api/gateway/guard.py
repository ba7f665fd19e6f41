"""What every request of the gateway's API passes: its key, its rate, the size of its body; and how errors leave.

The order is the gateway's: the name of the app, its form, the key, whether it is right; then the rate; then the body.
Requests with a valid key are counted by app and address, those without by address alone, so that nobody without a key
can use up what an app has. Whatever the answer, it says what is left.
"""

from __future__ import annotations

import hmac
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from wavstream.access.origin import is_local
from wavstream.access.rates import Allowance, FailureLimit, RequestLimit
from wavstream.api.gateway.answers import Refused, refusal, refusal_of
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.errors import LimitReached, TooSoon, Unauthenticated, WavstreamError

_APP_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ADMIN = ""
"""In the place of an app's id, which is never empty."""

Endpoint = Callable[[Request], Awaitable[Response]]


def is_app_id(text: str) -> bool:
    """Whether the gateway would take text as the id of an app."""
    return _APP_ID.fullmatch(text) is not None


class GatewayGuard:
    """Lets requests through to those who answer them."""

    def __init__(self, parts: GatewayDependencies) -> None:
        self._parts = parts
        self._requests = RequestLimit(window_s=1)
        self._app_requests = RequestLimit(window_s=60)
        self._stranger_requests = RequestLimit(window_s=1)
        self._wrong_admin_keys = FailureLimit()

    def for_app(self, answer: Callable[[Request, str], Awaitable[Response]]) -> Endpoint:
        """An endpoint for apps; ``answer`` gets the id of the app that asks."""

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, self._app_of, answer)

        return endpoint

    def for_admin(self, answer: Callable[[Request], Awaitable[Response]]) -> Endpoint:
        """An endpoint for whoever runs the server."""

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, self._admin_of, lambda request, _: answer(request))

        return endpoint

    async def body(self, request: Request) -> bytes:
        """The body of the request; raises Refused if it is too large."""
        limit_bytes = self._parts.body_limit_bytes
        # The connection ends with this answer, else the body would have to be read to find the next request.
        too_large = Refused(413, "Request body too large", headers={"Connection": "close"})
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:19]) > limit_bytes:
            raise too_large
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limit_bytes:
                raise too_large
        return bytes(body)

    async def json(self, request: Request) -> dict[str, Any]:
        """The body as a JSON object, an empty one if there is none; raises Refused."""
        body = await self.body(request)
        try:
            said = msgspec.json.decode(body) if body else {}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Refused(400, "Invalid request body")
        return said

    async def _serve(
        self, request: Request, who: Callable[[Request], Awaitable[str]],
        answer: Callable[[Request, str], Awaitable[Response]],
    ) -> Response:  # fmt: skip
        address = request.client.host if request.client is not None else ""
        try:
            try:
                caller = await who(request)
            except (Refused, TooSoon) as error:
                limit = self._parts.stranger_requests_per_s
                allowance = self._stranger_requests.take(address, limit, self._parts.clock())
                return _told(refusal_of(error), allowance)
            allowance = await self._allowed(caller, address)
            if allowance.exceeded:
                return _told(None, allowance)
            try:
                return _told(await answer(request, caller), allowance)
            except WavstreamError as error:
                return _told(refusal_of(error), allowance)
        except WavstreamError as error:
            return refusal_of(error)  # before it was known who asks, or what is left: nothing is counted

    async def _allowed(self, caller: str, address: str) -> Allowance:
        """What the caller has left: of its own limit if it has one, else of everybody's."""
        everybodys = self._requests.take((caller, address), self._parts.requests_per_s, self._parts.clock())
        app = await self._parts.known_apps.get(caller) if caller != _ADMIN else None
        if everybodys.exceeded or app is None or not app.rate_limit:
            return everybodys
        return self._app_requests.take((caller, address), app.rate_limit, self._parts.clock())

    async def _app_of(self, request: Request) -> str:
        app_id, key = request.headers.get("x-app-id"), request.headers.get("x-api-key")
        if not app_id:
            raise Refused(400, "Missing X-App-ID header")
        if not is_app_id(app_id):
            raise Refused(400, "Invalid X-App-ID format")
        if not key:
            raise Refused(401, "Missing API key")
        address = request.client.host if request.client is not None else ""
        try:
            found = self._parts.authenticate(
                key, client_is_loopback=is_local(address, request.headers), app=app_id, address=address
            )
            return await found if inspect.isawaitable(found) else found
        except Unauthenticated:
            raise Refused(401, "Invalid API key") from None
        except LimitReached as error:
            raise TooSoon(str(error), retry_after_s=error.retry_after_s) from error

    async def _admin_of(self, request: Request) -> str:
        if self._parts.admin_key is None:
            raise Refused(503, "ADMIN_API_KEY not configured")
        key = request.headers.get("x-admin-api-key")
        if not key:
            raise Refused(401, "Missing X-Admin-API-Key header")
        address = request.client.host if request.client is not None else ""
        now = self._parts.clock()
        try:
            self._wrong_admin_keys.check(address, now)
        except LimitReached as error:
            raise TooSoon(str(error), retry_after_s=error.retry_after_s) from error
        if not hmac.compare_digest(key.encode(), self._parts.admin_key.encode()):
            self._wrong_admin_keys.failed(address, now)
            raise Refused(401, "Invalid admin API key")
        return _ADMIN


def _told(response: Response | None, allowance: Allowance) -> Response:
    """The response, which says what is left; where that was exceeded, that it was."""
    if allowance.exceeded or response is None:
        response = refusal(429, "Rate limit exceeded", headers={"Retry-After": str(allowance.reset_s)})
    response.headers["X-RateLimit-Limit"] = str(allowance.limit)
    response.headers["X-RateLimit-Remaining"] = str(allowance.remaining)
    response.headers["X-RateLimit-Reset"] = str(allowance.reset_s)
    return response
