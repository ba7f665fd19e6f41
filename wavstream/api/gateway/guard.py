"""The checks of every request of the gateway's API: its key, its rate, the size of its body; and the way of errors.

The order is the gateway's: the name of the app, its form, the key, whether it is right; then the rate; then the body.
Requests with a valid key are counted by app and address, those without by address alone, so that nobody without a key
can use up what an app has. Whatever the answer, it says what is left.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from wavstream.access.rates import Allowance, FailureLimit, RequestLimit
from wavstream.api.elsewhere import answered_elsewhere
from wavstream.api.gateway.answers import Refused, refusal, refusal_of
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.middleware import authenticated, limited_body
from wavstream.errors import TooSoon, Unauthenticated, WavstreamError
from wavstream.model.ids import is_app_id
from wavstream.workers.boundary import Elsewhere

_ADMIN = ""
"""In the place of an app's id, which is never empty."""

Endpoint = Callable[[Request], Awaitable[Response]]
_Answer = Callable[[Request, str], Awaitable[Response]]
_Identify = Callable[[Request], Awaitable[str]]


class GatewayGuard:
    """The gate of the gateway's API: it lets requests through to those who answer them."""

    def __init__(self, parts: GatewayDependencies) -> None:
        self._parts = parts
        shared = parts.shared
        of = (lambda what: None) if shared is None else functools.partial(shared.of, by_address=True)
        self._requests = RequestLimit(window_s=1, shared=of("gateway_requests"))
        self._app_requests = RequestLimit(window_s=60, shared=of("gateway_app_requests"))
        self._stranger_requests = RequestLimit(window_s=1, shared=of("gateway_stranger_requests"))
        self._wrong_admin_keys = FailureLimit(shared=of("wrong_admin_keys"))

    def for_app(self, answer: _Answer) -> Endpoint:
        """Return an endpoint for apps; ``answer`` gets the id of the app that asks."""

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, self._app_of, answer)

        return endpoint

    def for_admin(self, answer: Endpoint) -> Endpoint:
        """Return an endpoint for whoever runs the server."""

        async def endpoint(request: Request) -> Response:
            return await self._serve(request, self._admin_of, lambda request, _: answer(request))

        return endpoint

    async def body(self, request: Request) -> bytes:
        """Return the body of the request; raise Refused if it is too large."""
        try:
            receive = limited_body(request.headers, request.receive, self._parts.body_limit_bytes)
            return await Request(request.scope, receive).body()
        except HTTPException as error:
            raise Refused(error.status_code, "Request body too large", headers=error.headers) from None

    async def json(self, request: Request) -> dict[str, Any]:
        """Return the body as a JSON object, an empty one if there is none; raise Refused."""
        body = await self.body(request)
        try:
            said = msgspec.json.decode(body) if body else {}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Refused(400, "Invalid request body")
        return said

    async def _serve(self, request: Request, who: _Identify, answer: _Answer) -> Response:
        address = request.client.host if request.client is not None else ""
        try:
            try:
                caller = await who(request)
            except (Refused, TooSoon) as error:
                limit = self._parts.stranger_requests_per_s
                allowance = self._stranger_requests.take(address, limit, self._parts.clock())
                return _counted(refusal_of(error), allowance)
            allowance = await self._allowed(caller, address)
            if allowance.exceeded:
                return _counted(None, allowance)
            try:
                if caller != _ADMIN:
                    self._parts.take_request(caller, self._parts.clock())
                try:
                    return _counted(await answer(request, caller), allowance)
                except Elsewhere as elsewhere:
                    self._give_back(caller, address)
                    return await answered_elsewhere(request, elsewhere)
            except WavstreamError as error:
                return _counted(refusal_of(error), allowance)
        except WavstreamError as error:
            return refusal_of(error)  # before it was known who asks, or what is left: nothing is counted

    async def _allowed(self, caller: str, address: str) -> Allowance:
        """Return what the caller has left: of its own limit if it has one, else of everybody's."""
        who = f"{caller} {address}"
        everybodys = self._requests.take(who, self._parts.requests_per_s, self._parts.clock())
        app = await self._parts.app_cache.get(caller) if caller != _ADMIN else None
        if everybodys.exceeded or app is None or not app.rate_limit:
            return everybodys
        return self._app_requests.take(who, app.rate_limit, self._parts.clock())

    def _give_back(self, caller: str, address: str) -> None:
        """Count a request no more: it counts where it is answered."""
        now = self._parts.clock()
        for limit in (self._requests, self._app_requests):
            limit.give_back(f"{caller} {address}", now)
        self._parts.give_back_request(caller, now)

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
            caller = await authenticated(
                self._parts.authenticator, key, headers=request.headers, app=app_id, address=address
            )
        except Unauthenticated:
            raise Refused(401, "Invalid API key") from None
        request.state.key_id = caller.key_id
        return caller.app_id

    async def _admin_of(self, request: Request) -> str:
        if self._parts.admin_key is None:
            raise Refused(503, "ADMIN_API_KEY not configured")
        key = request.headers.get("x-admin-api-key")
        if not key:
            raise Refused(401, "Missing X-Admin-API-Key header")
        if hmac.compare_digest(key.encode(), self._parts.admin_key.encode()):
            return _ADMIN
        address = request.client.host if request.client is not None else ""
        self._parts.authenticator.refused["admin_key"] += 1
        too_many = self._wrong_admin_keys.begin(address, self._parts.clock())
        if too_many is not None:
            raise TooSoon(str(too_many), retry_after_s=too_many.retry_after_s)
        raise Refused(401, "Invalid admin API key")


def _counted(response: Response | None, allowance: Allowance) -> Response:
    """Return the response, which says what is left; where that was exceeded, one that says so."""
    if allowance.exceeded or response is None:
        response = refusal(429, "Rate limit exceeded", headers={"Retry-After": str(allowance.reset_s)})
    response.headers["X-RateLimit-Limit"] = str(allowance.limit)
    response.headers["X-RateLimit-Remaining"] = str(allowance.remaining)
    response.headers["X-RateLimit-Reset"] = str(allowance.reset_s)
    return response
