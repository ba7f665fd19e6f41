"""Telnyx's log of deliveries, made of the outbox, and the key that its receivers check signatures with."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from telnyx.types import WebhookDelivery

from tests.support.faulty_database import FaultyDatabase
from tests.support.wanted import USUAL
from tests.unit.api.telnyx.conftest import CALL, CREATED, IDS, Caller, Calls, recording
from wavstream.access.signing_keys import SigningKeys
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import Announcement, Fact, recording_fact
from wavstream.model.ids import as_uuid
from wavstream.model.origin import Origin
from wavstream.model.recording import Status
from wavstream.webhooks import telnyx

HOOK, OTHER_HOOK = "https://shop.example/hooks", "https://backup.example/hooks"
LIST = "/v2/webhook_deliveries"


@pytest.fixture
async def catalog(database: FaultyDatabase) -> Catalog:
    """Return a catalog with two apps that are told what is usual."""
    catalog = await Catalog.over(database, is_wanted=USUAL)
    for app_id in ("one", "two"):
        app = App(app_id, CREATED, webhook=WebhookTarget(HOOK))
        assert await catalog.apps.add(app, key_hash=f"hash of {app_id}", key_lookup=f"lookup of {app_id}")
    return catalog


async def announce(calls: Calls, status: Status = Status.AVAILABLE, *, second: int = 0, **changes: Any) -> Announcement:
    """Write a fact into the outbox; return it as it waits there."""
    made = recording(status, **{"app_id": "one", **changes})
    at = CREATED + timedelta(seconds=second)
    fact = recording_fact(made, url="https://rec.example.com/files/a.wav", at=at)
    outbox = calls.catalog.outbox
    await outbox.announce([fact])
    due = await outbox.due(fact.app_id, at + timedelta(hours=1), 100)
    return next(each for each in due.announcements if each.fact.id == fact.id)


async def ids(caller: Caller, **query: str) -> list[str]:
    answer = await caller.get(LIST, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


def shown(*announced: Announcement) -> list[str]:
    return [as_uuid(each.fact.id) for each in announced]


async def test_a_webhook_that_is_still_tried_shows_its_tries_the_newest_first(calls: Calls, one: Caller) -> None:
    waiting = await announce(calls)
    outbox = calls.catalog.outbox
    first_at, second_at = CREATED + timedelta(seconds=1), CREATED + timedelta(seconds=7)
    await outbox.mark_failed(waiting, "answered 503", first_at, now=first_at, url=HOOK)
    tried = next(iter((await outbox.due("one", CREATED + timedelta(hours=1), 1)).announcements))
    await outbox.mark_failed(tried, "no answer within 5 s", second_at, now=second_at, url=OTHER_HOOK)

    answer = await one.get(LIST)

    (delivery,) = answer.json()["data"]
    assert delivery.pop("webhook")["payload"]["recording_urls"]["wav"].startswith("https://rec.example.com/files/")
    assert delivery == {
        "record_type": "webhook_delivery",
        "id": as_uuid(waiting.fact.id),
        "user_id": "one",
        "status": None,
        "started_at": "2026-11-01T10:00:00.000000Z",
        "finished_at": None,
        "attempts": [
            {
                "status": "failed",
                "finished_at": "2026-11-01T10:00:07.000000Z",
                "error": "no answer within 5 s",
                "http": {"request": {"url": OTHER_HOOK}, "response": None},
            },
            {
                "status": "failed",
                "finished_at": "2026-11-01T10:00:01.000000Z",
                "error": "answered 503",
                "http": {"request": {"url": HOOK}, "response": {"status": 503}},
            },
        ],
    }
    assert {*delivery, "webhook"} == {*WebhookDelivery.model_fields}
    assert answer.json()["meta"] == {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}


async def test_a_webhook_that_was_delivered_or_given_up_says_so(calls: Calls, one: Caller) -> None:
    gone = await announce(calls, Status.FAILED, second=0)
    taken = await announce(calls, second=1)
    ended_at = CREATED + timedelta(seconds=9)
    await calls.catalog.outbox.mark_dead(gone, "answered 400", ended_at, url=HOOK)
    await calls.catalog.outbox.mark_delivered(taken, ended_at, url=HOOK)

    newer, older = (await one.get(LIST)).json()["data"]

    assert (newer["status"], older["status"]) == ("delivered", "failed")
    assert newer["finished_at"] == older["finished_at"] == "2026-11-01T10:00:09.000000Z"
    (attempt,) = newer["attempts"]
    assert (attempt["status"], attempt["error"], attempt["http"]["response"]) == ("delivered", None, None)
    assert newer["webhook"] == {
        "record_type": "event",
        "event_type": "call.recording.saved",
        "id": as_uuid(taken.fact.id),
        "occurred_at": "2026-11-01T10:00:01.000000Z",
        "payload": {"call_control_id": CALL, "recording_id": as_uuid(str(taken.fact.recording_id))},
    }
    assert older["webhook"]["payload"]["reason"] == "Internal server error"
    assert {name: older["webhook"]["payload"][name] for name in IDS} == IDS


async def test_what_was_told_in_other_words_or_to_another_app_is_not_there(calls: Calls, one: Caller) -> None:
    await announce(calls, origin=Origin(api="gateway"))
    of_two = await announce(calls, app_id="two")

    assert await ids(one) == []
    assert await ids(calls.client("key-two")) == shown(of_two)


async def three(calls: Calls) -> tuple[Announcement, Announcement, Announcement]:
    """Have one delivered, one given up and one waiting, a minute apart, the oldest first."""
    delivered = await announce(calls)
    dead = await announce(calls, Status.FAILED, second=60)
    waiting = await announce(calls, Status.ABSENT, second=120)
    await calls.catalog.outbox.mark_delivered(delivered, CREATED + timedelta(seconds=10), url=HOOK)
    await calls.catalog.outbox.mark_dead(dead, "answered 400", CREATED + timedelta(seconds=70), url=OTHER_HOOK)
    return delivered, dead, waiting


FILTERS = [
    ({}, (2, 1, 0)),
    ({"filter[status][eq]": "delivered"}, (0,)),
    ({"filter[status][eq]": "failed"}, (1,)),
    ({"filter[event_type]": "call.recording.saved"}, (0,)),
    ({"filter[event_type]": "call.recording.error"}, (2, 1)),
    ({"filter[event_type]": "call.recording.error,call.recording.saved"}, (2, 1, 0)),
    ({"filter[event_type]": "call.hangup"}, ()),
    ({"filter[started_at][gte]": "2026-11-01T10:01:00Z"}, (2, 1)),
    ({"filter[started_at][lte]": "2026-11-01T10:01:00Z"}, (1, 0)),
    ({"filter[finished_at][gte]": "2026-11-01T10:01:10Z"}, (1,)),
    ({"filter[finished_at][lte]": "2026-11-01T10:01:10Z"}, (1, 0)),
    ({"filter[finished_at][lte]": "2026-11-01T10:01:09Z"}, (0,)),
    ({"filter[webhook][contains]": "No audio"}, (2,)),
    ({"filter[webhook][contains]": CALL}, (2, 1, 0)),
    ({"filter[webhook][contains]": "nothing"}, ()),
    ({"filter[attempts][contains]": "backup.example"}, (1,)),
    ({"filter[attempts][contains]": "answered 400", "filter[status][eq]": "delivered"}, ()),
]


async def test_a_filter_takes_those_to_which_it_applies(calls: Calls, one: Caller, subtests: pytest.Subtests) -> None:
    made = await three(calls)
    for query, expected in FILTERS:
        with subtests.test(f"{query!r:.80} {expected!r:.80}"):
            answer = (await one.get(LIST, params=query)).json()

            assert [each["id"] for each in answer["data"]] == shown(*(made[number] for number in expected))
            assert answer["meta"]["total_results"] == len(expected)


@pytest.mark.parametrize("query", [{}, {"filter[webhook][contains]": "recording_id"}])
async def test_pages_are_numbered(calls: Calls, one: Caller, query: dict[str, str]) -> None:
    delivered, dead, waiting = await three(calls)

    for number, expected in ((1, (waiting, dead)), (2, (delivered,)), (3, ())):
        paging = {"page[number]": str(number), "page[size]": "2", **query}
        answer = (await one.get(LIST, params=paging)).json()
        assert [each["id"] for each in answer["data"]] == shown(*expected)
        assert answer["meta"] == {"page_number": number, "page_size": 2, "total_pages": 2, "total_results": 3}


async def test_a_filter_that_the_catalog_does_not_know_looks_through_all_pages_of_it(calls: Calls, one: Caller) -> None:
    made = recording(app_id="one")
    fact = recording_fact(made, url="https://rec.example.com/a", at=CREATED)
    facts: list[Fact] = [replace(fact, id=f"{number:032x}", recording_id=f"{number:032x}") for number in range(600)]
    await calls.catalog.outbox.announce(facts)

    assert len(await ids(one, **{"filter[webhook][contains]": made.id[:4], "page[size]": "100"})) == 100
    assert await ids(one, **{"filter[webhook][contains]": as_uuid(f"{1:032x}")}) == [as_uuid(f"{1:032x}")]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("filter[status][eq]", "pending"),
        ("filter[status]", "failed"),
        ("filter[status][ne]", "failed"),
        ("filter[started_at][gte]", "now"),
        ("filter[webhook]", "x"),
    ],
)
async def test_a_filter_that_does_not_exist_is_named(one: Caller, parameter: str, value: str) -> None:
    answer = await one.get(LIST, params={parameter: value})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["source"] == {"parameter": parameter}


async def test_the_public_key_is_that_of_the_app(calls: Calls, one: Caller) -> None:
    keys = SigningKeys(b"m" * 32)

    for app_id, caller in (("one", one), ("two", calls.client("key-two"))):
        assert (await caller.get("/v2/public_key")).json() == {
            "data": {
                "record_type": "public_key",
                "public": telnyx.public_key(keys.of(app_id, "telnyx")),
                "organization_id": app_id,
            }
        }
