"""``/admin/apps``: registers, reads, lists and removes apps. Keys and secrets go in and are not given out again.

A registration writes over all of the app. The key and the signing secret are the exceptions: an app that is there keeps
them where the request names none. A secret that we make is in the answer which made it, and nowhere else.

Removing an app does not end its calls: what is being recorded goes on to its end and stays until its retention ends,
but nobody is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wavstream.access.keys import TOKEN_PREFIX, KeptKey
from wavstream.api.gateway.answers import Refused
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard
from wavstream.api.mistakes import json_pointer
from wavstream.api.options import StartRecording
from wavstream.errors import NotFound
from wavstream.model.app import App, SigningSecret, WebhookTarget
from wavstream.model.given import mistake_in_key
from wavstream.model.ids import is_app_id
from wavstream.model.options import RetentionHours
from wavstream.model.times import rfc3339
from wavstream.model.weak_keys import weakness
from wavstream.webhooks.signing import new_secret, rotated, secret_key
from wavstream.webhooks.target import check_url


def routes(parts: GatewayDependencies, guard: GatewayGuard) -> list[Route]:
    """Return the routes of the administration."""
    registry = _Registry(parts)

    async def register(request: Request) -> Response:
        app_id = _app_id(request)
        app, made = await registry.register(app_id, _read_app(await guard.body(request)))
        return JSONResponse({"success": True, **_json(app), **({"webhook_secret": made} if made else {})})

    async def read(request: Request) -> Response:
        app = await parts.apps.find(_app_id(request))
        if app is None:
            raise NotFound("App not found")
        return JSONResponse({"success": True, **_json(app)})

    async def list_all(_request: Request) -> Response:
        return JSONResponse({"success": True, "apps": [_json(app) for app in await parts.apps.list()]})

    async def remove(request: Request) -> Response:
        app_id = _app_id(request)
        await registry.remove(app_id)
        return JSONResponse({"success": True, "app_id": app_id})

    return [
        Route("/admin/apps", guard.for_admin(list_all), methods=["GET"]),
        Route("/admin/apps/{app_id}", guard.for_admin(register), methods=["POST"]),
        Route("/admin/apps/{app_id}", guard.for_admin(read), methods=["GET"]),
        Route("/admin/apps/{app_id}", guard.for_admin(remove), methods=["DELETE"]),
    ]


def _key(text: str) -> str:
    if (mistake := mistake_in_key(text)) is not None:
        raise ValueError(mistake)
    if text.startswith(TOKEN_PREFIX):
        raise ValueError(f"must not begin with {TOKEN_PREFIX}: that is how stream tokens begin")
    if (reason := weakness(text)) is not None:
        raise ValueError(f"it {reason}: take another")
    return text


def _signing_secret(text: str) -> str:
    secret_key(text)
    return text


def _recording(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as ``POST /v1/recordings`` takes them, but for the session."""
    if "session_id" in options:
        raise ValueError("session_id: is not an option")
    try:
        return StartRecording.model_validate({"session_id": "any", **options}).named_options()
    except ValidationError as error:
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        ) from None


_Account = Annotated[str, Field(min_length=1, max_length=256)]
_Accounts = Annotated[list[_Account], Field(max_length=100)]


class AppBody(BaseModel):
    """An app, whole: what is left out has its default, but for the key and the secret of one that is there already."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    webhook_url: str | None = None
    api_key: Annotated[str, Field(min_length=16, max_length=512), AfterValidator(_key)] | None = None
    rate_limit: Annotated[int, Field(ge=0, le=10_000)] = 0
    events: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=50)] = []
    retention_hours: RetentionHours | None = None
    recording: Annotated[dict[str, Any], AfterValidator(_recording)] = {}
    webhook_secret: Annotated[str, AfterValidator(_signing_secret)] | None = None
    webhook_event_failover_url: str | None = None
    vendor_accounts: dict[str, _Accounts] = {}


def _read_app(body: bytes) -> AppBody:
    """Return the body of a request as an app; raise Refused with every wrong field."""
    try:
        return AppBody.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise _wrong(
            [(json_pointer(each["loc"]), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
        ) from None


def _wrong(fields: Sequence[tuple[str, str]]) -> Refused:
    """Return the refusal of a body with these wrong fields: a JSON pointer and what is wrong, each."""
    detail = {"errors": [{"pointer": pointer, "detail": detail} for pointer, detail in fields]}
    return Refused(400, "Invalid request body", detail=detail)


class _Registry:
    """The apps of the catalog, changed one after another."""

    def __init__(self, parts: GatewayDependencies) -> None:
        self._parts = parts
        self._turn = asyncio.Lock()

    async def register(self, app_id: str, said: AppBody) -> tuple[App, str | None]:
        """Add or change an app: return it as it is now, and the signing secret if one was made."""
        parts = self._parts
        async with self._turn:
            known = await parts.apps.find(app_id)
            if known is None and said.api_key is None:
                raise _wrong([("/api_key", "Field required")])
            if unknown := said.vendor_accounts.keys() - set(parts.vendors):
                there_are = f"there are: {', '.join(parts.vendors)}"
                raise _wrong([(f"/vendor_accounts/{vendor}", there_are) for vendor in sorted(unknown)])
            wrong = [(number, parts.wrong_event(name)) for number, name in enumerate(said.events)]
            if mistakes := [(f"/events/{number}", mistake) for number, mistake in wrong if mistake is not None]:
                raise _wrong(mistakes)
            key = None if said.api_key is None else await self._kept(app_id, said.api_key)
            id_ = await parts.apps.next_id(app_id) if known is None else known.id
            target, made = self._target(id_, said, known)
            app = App(
                id=id_,
                created_at=parts.now() if known is None else known.created_at,
                retention_hours=said.retention_hours,
                webhook=target,
                rate_limit=said.rate_limit,
                recording=said.recording,
                vendor_accounts={vendor: tuple(accounts) for vendor, accounts in said.vendor_accounts.items()},
            )
            if known is None and key is not None:
                if await parts.apps.add(app, **key) is None:
                    raise Refused(409, "The app was added by someone else: try again")
            else:
                await parts.apps.change(app)
                if key is not None:
                    await parts.apps.replace_key(app.id, **key, now=parts.now())
            await self._forget(app.id)
            return app, made

    async def remove(self, app_id: str) -> None:
        """Remove the app; raise NotFound."""
        async with self._turn:
            app = await self._parts.apps.find(app_id)
            if app is None or not await self._parts.apps.remove(app.id):
                raise NotFound("App not found")
            await self._forget(app.id)

    async def _kept(self, app_id: str, key: str) -> KeptKey:
        kept = self._parts.digests.kept(key)
        found = await self._parts.apps.find_by_lookup(kept["key_lookup"])
        if found is not None and found[0].name != app_id:
            # A key alone tells its app to the rest of our API.
            raise Refused(409, "The API key is the key of another app")
        return kept

    def _target(self, app_id: str, said: AppBody, known: App | None) -> tuple[WebhookTarget | None, str | None]:
        """Return where webhooks go, and the signing secret if one was made."""
        if said.webhook_url is None:
            for name in ("webhook_secret", "webhook_event_failover_url"):
                if getattr(said, name) is not None:
                    raise _wrong([(f"/{name}", "there is no webhook_url")])
            return None, None
        parts = self._parts
        for name in ("webhook_url", "webhook_event_failover_url"):
            url = getattr(said, name)
            try:
                if url is not None:
                    check_url(url, allow_http=parts.allow_http_webhooks, allow_localhost=parts.allow_localhost_webhooks)
            except ValueError as error:
                raise _wrong([(f"/{name}", str(error))]) from None
        kept = known.webhook.secrets if known is not None and known.webhook is not None else ()
        secret = said.webhook_secret
        made = new_secret() if secret is None and not kept else None
        if (new := secret or made) and not (kept and parts.secret_box.open(kept[0].sealed, owner=app_id) == new):
            kept = rotated(kept, SigningSecret(parts.secret_box.seal(new, owner=app_id), parts.now()))
        target = WebhookTarget(
            url=said.webhook_url,
            events=tuple(said.events),
            secrets=kept,
            failover_url=said.webhook_event_failover_url,
        )
        return target, made

    async def _forget(self, app_id: str) -> None:
        self._parts.app_cache.forget(app_id)
        await self._parts.authenticator.refresh()


def _app_id(request: Request) -> str:
    app_id: str = request.path_params["app_id"]
    if not is_app_id(app_id):
        raise Refused(400, "Invalid app_id format")
    return app_id


def _json(app: App) -> dict[str, Any]:
    return {
        "app_id": app.name,
        "webhook_url": app.webhook.url if app.webhook is not None else None,
        "rate_limit": app.rate_limit,
        "events": list(app.webhook.events) if app.webhook is not None else [],
        "retention_hours": app.retention_hours,
        "recording": dict(app.recording),
        "webhook_event_failover_url": app.webhook.failover_url if app.webhook is not None else None,
        "vendor_accounts": {vendor: list(accounts) for vendor, accounts in app.vendor_accounts.items()},
        "created_at": rfc3339(app.created_at),
    }
