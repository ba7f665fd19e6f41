"""``/v2/webhook_deliveries``: what the app was told in Telnyx's words; ``/v2/public_key``: how it knows who told it.

A webhook that was delivered is known for a day, without what was in it but the ids of the call and the recording; one
that was given up for as long as dead letters are kept; one that is still tried has no status yet.

Statuses, events and times of begin are looked for by the catalog, the other filters here among the newest ``SEARCHED``.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from starlette.responses import JSONResponse

from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.routes import Router
from wavstream.api.telnyx.answers import (
    META_EXAMPLE,
    PageMeta,
    PublicKey,
    PublicKeyAnswer,
    errors,
    page_meta,
    with_example,
)
from wavstream.api.telnyx.commands import API
from wavstream.api.telnyx.requests import ListDeliveries, after
from wavstream.catalog.deliveries import Delivery, DeliveryFilters
from wavstream.catalog.outbox import State
from wavstream.catalog.pages import NumberedPage
from wavstream.model.app import app_name
from wavstream.model.document import Document
from wavstream.model.fact import Fact, Try
from wavstream.model.ids import as_uuid
from wavstream.model.times import Moment, rfc3339
from wavstream.webhooks.telnyx import EVENTS, FileUrl, event, public_key

SEARCHED = 5_000
_AT_ONCE = 250
_STATUSES: dict[State, Literal["delivered", "failed"]] = {State.DELIVERED: "delivered", State.DEAD: "failed"}
_ANSWERED = re.compile(r"answered (\d{3})\b")


DELIVERY_EXAMPLE: dict[str, Any] = {
    "record_type": "webhook_delivery",
    "id": "5b0c0f5e-6d2b-5c8e-9a41-2f6a7c1d8e90",
    "user_id": "shop",
    "status": "delivered",
    "started_at": "2026-11-01T10:01:01.250000Z",
    "finished_at": "2026-11-01T10:01:02.310000Z",
    "attempts": [
        {
            "status": "delivered",
            "finished_at": "2026-11-01T10:01:02.310000Z",
            "error": None,
            "http": {"request": {"url": "https://shop.example/hooks"}, "response": None},
        },
        {
            "status": "failed",
            "finished_at": "2026-11-01T10:01:01.300000Z",
            "error": "answered 503",
            "http": {"request": {"url": "https://shop.example/hooks"}, "response": {"status": 503}},
        },
    ],
    "webhook": {
        "record_type": "event",
        "event_type": "call.recording.saved",
        "id": "5b0c0f5e-6d2b-5c8e-9a41-2f6a7c1d8e90",
        "occurred_at": "2026-11-01T10:01:01.248310Z",
        "payload": {
            "call_control_id": "v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg",
            "recording_id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42",
        },
    },
}


class HttpRequest(Document):
    """Where a webhook was sent."""

    url: str


class HttpResponse(Document):
    """What the receiver answered."""

    status: int


class Http(Document):
    """One request and its answer."""

    request: HttpRequest
    response: HttpResponse | None
    """Null: the receiver took it, or did not answer."""


class DeliveryAttempt(Document):
    """One try to deliver a webhook."""

    status: Literal["delivered", "failed"]
    finished_at: Moment
    error: str | None
    """Why it failed, for a person."""
    http: Http


class DeliveryEvent(Document):
    """The event that is told."""

    record_type: Literal["event"] = "event"
    event_type: str
    id: str
    occurred_at: Moment
    payload: dict[str, Any]
    """With links that are made anew for this answer; of what was delivered only the ids of the call and the
    recording."""


class DeliveryData(Document):
    """How far the delivery of a webhook is."""

    record_type: Literal["webhook_delivery"] = "webhook_delivery"
    id: str
    user_id: str
    """The app."""
    status: Literal["delivered", "failed"] | None
    """Null: it is still tried."""
    started_at: Moment
    finished_at: Moment | None
    attempts: list[DeliveryAttempt]
    """The newest first, at most 20."""
    webhook: DeliveryEvent


class DeliveryList(Document):
    """A page of deliveries."""

    model_config = with_example({"data": [DELIVERY_EXAMPLE], "meta": META_EXAMPLE})

    data: list[DeliveryData]
    meta: PageMeta


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of what concerns webhooks."""
    router = Router(prefix="/v2", tags=["webhooks"])

    def file_url(recording: Any, ext: str, ttl_s: int) -> str:
        return parts.urls.signed(recording, ext, parts.now(), ttl_s)

    @router.get(
        "/webhook_deliveries",
        operation_id="listWebhookDeliveries",
        summary="List deliveries of webhooks",
        response_model=DeliveryList,
        responses=errors(422),
    )
    async def list_page(query: Annotated[ListDeliveries, Query()], app_id: AppId) -> JSONResponse:
        """List what the app was told, is being told or could not be told, the newest first."""
        size = min(query.page_size, parts.page_limit)
        found = await _find(parts, app_id, query, file_url, size=size)
        meta = page_meta(number=query.page_number, size=size, total=found.total)
        return JSONResponse(DeliveryList(data=list(found.data), meta=meta).as_json())

    @router.get(
        "/public_key",
        operation_id="readPublicKey",
        summary="Read the public key",
        response_model=PublicKeyAnswer,
        responses=errors(),
    )
    async def read_public_key(app_id: AppId) -> JSONResponse:
        """Read the key that the signatures of the app's webhooks are checked with."""
        key = PublicKey(public=public_key(parts.signing_keys.of(app_id, API)), organization_id=app_name(app_id))
        return JSONResponse(PublicKeyAnswer(data=key).as_json())

    return router


def delivery_data(delivery: Delivery, file_url: FileUrl) -> DeliveryData:
    """Return a delivery as the vendor shows it."""
    announcement = delivery.announcement
    return DeliveryData(
        id=as_uuid(announcement.fact.id),
        user_id=app_name(announcement.fact.app_id),
        status=_STATUSES.get(delivery.state),
        started_at=announcement.begun_at,
        finished_at=delivery.ended_at,
        attempts=[_attempt(each) for each in reversed(announcement.tries)],
        webhook=DeliveryEvent.model_validate(_event(announcement.fact, file_url)),
    )


def _attempt(done: Try) -> DeliveryAttempt:
    answered = _ANSWERED.match(done.error or "")
    return DeliveryAttempt(
        status="delivered" if done.error is None else "failed",
        finished_at=done.at,
        error=done.error,
        http=Http(
            request=HttpRequest(url=done.url),
            response=None if answered is None else HttpResponse(status=int(answered[1])),
        ),
    )


def _event(fact: Fact, file_url: FileUrl) -> dict[str, Any]:
    if fact.body:
        return event(fact, file_url)
    payload = {"call_control_id": fact.session_id, "recording_id": as_uuid(fact.recording_id or fact.id)}
    return {
        "event_type": EVENTS[fact.kind],
        "id": as_uuid(fact.id),
        "occurred_at": rfc3339(fact.at),
        "payload": payload,
    }


# ---- which deliveries ------------------------------------------------------------------------------------------------


async def _find(
    parts: FacadeDependencies, app_id: str, query: ListDeliveries, file_url: FileUrl, *, size: int
) -> NumberedPage[DeliveryData]:
    filters = _filters(query)

    async def page(number: int, size: int) -> NumberedPage[DeliveryData]:
        found = await parts.deliveries.page(app_id, API, filters, number=number, size=size)
        return NumberedPage(tuple(delivery_data(each, file_url) for each in found.data), found.total)

    if not _is_searched(query):
        return await page(query.page_number, size)
    matching: list[DeliveryData] = []
    for number in itertools.count(1):
        looked_at = await page(number, _AT_ONCE)
        matching += [each for each in looked_at.data if _matches(each, query)]
        if number * _AT_ONCE >= min(looked_at.total, SEARCHED):
            break
    start = (query.page_number - 1) * size
    return NumberedPage(tuple(matching[start : start + size]), len(matching))


def _filters(query: ListDeliveries) -> DeliveryFilters:
    names = None if query.event_type is None else query.event_type.split(",")
    return DeliveryFilters(
        states=None
        if query.status is None
        else [state for state, status in _STATUSES.items() if status == query.status],
        kinds=None if names is None else [kind for kind, name in EVENTS.items() if name in names],
        since=query.started_from,
        until=after(query.started_to),
    )


def _is_searched(query: ListDeliveries) -> bool:
    asked = (query.webhook_contains, query.attempts_contain, query.finished_from, query.finished_to)
    return any(each is not None for each in asked)


def _matches(found: DeliveryData, query: ListDeliveries) -> bool:
    ended_at, shown = found.finished_at, found.as_json()
    if query.finished_from is not None and (ended_at is None or ended_at < query.finished_from):
        return False
    if query.finished_to is not None and (ended_at is None or ended_at > query.finished_to):
        return False
    wanted = {"webhook": query.webhook_contains, "attempts": query.attempts_contain}
    return all(text is None or text in msgspec.json.encode(shown[name]).decode() for name, text in wanted.items())
