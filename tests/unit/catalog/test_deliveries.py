"""Deliveries as an API lists them, and the lines in which facts wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.deliveries import DeliveryFilters
from wavstream.catalog.outbox import State
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import TRIES_KEPT, Fact, FactKind, Try

DATABASES = BOTH

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
LATER = START + timedelta(seconds=5)
URL = "https://shop.example/hooks"


@pytest.fixture
async def catalog(database: FaultyDatabase) -> Catalog:
    catalog = await Catalog.over(database, is_wanted=USUAL)
    assert await catalog.apps.add(App("shop", START, webhook=WebhookTarget(URL)), key_hash="h", key_lookup="l")
    return catalog


def fact(name: str, *, api: str = "telnyx", recording_id: str = "r1", second: int = 0) -> Fact:
    return Fact(
        id=name,
        app_id="shop",
        session_id="call-77",
        kind=FactKind.RECORDING_FINISHED,
        at=START + timedelta(seconds=second),
        recording_id=recording_id,
        body={"told": name},
        api=api,
    )


async def due(catalog: Catalog) -> list[str]:
    found = (await catalog.outbox.due("shop", LATER, 10)).announcements
    return sorted(each.fact.id for each in found)


async def listed(catalog: Catalog, **filters: object) -> list[str]:
    page = await catalog.deliveries.page("shop", "telnyx", DeliveryFilters(**filters), number=1, size=10)  # type: ignore[arg-type]
    return [each.announcement.fact.id for each in page.data]


async def test_a_receiver_of_one_api_does_not_hold_up_what_another_is_told(catalog: Catalog) -> None:
    await catalog.outbox.announce([fact("g1", api="gateway"), fact("g2", api="gateway")])
    await catalog.outbox.announce([fact("t1"), fact("t2"), fact("other", recording_id="r2")])

    assert await due(catalog) == ["g1", "other", "t1"]

    [first] = [each for each in (await catalog.outbox.due("shop", LATER, 10)).announcements if each.fact.id == "t1"]
    following = await catalog.outbox.mark_delivered(first, LATER, url=URL)
    assert following is not None
    assert (following.fact.id, following.sequence, following.fact.api) == ("t2", 2, "telnyx")


async def test_a_fact_with_a_url_of_its_own_is_kept_with_it(catalog: Catalog) -> None:
    await catalog.outbox.announce([replace(fact("s1", api="signalwire"), url="https://x.example/s")])

    [found] = (await catalog.outbox.due("shop", LATER, 10)).announcements
    assert (found.fact.url, found.fact.api) == ("https://x.example/s", "signalwire")


async def test_a_server_without_apps_tells_what_has_a_url(catalog: Catalog) -> None:
    told = replace(fact("s1", api="signalwire"), url="https://x.example/s", app_id="default")
    await catalog.outbox.announce([told, replace(told, id="s2", app_id="nobody")])

    assert [each.fact.id for each in (await catalog.outbox.due("default", LATER, 10)).announcements] == ["s1"]
    assert [each.app_id for each in await catalog.outbox.backlog()] == ["default"]


async def test_every_try_is_kept_with_where_it_went_and_how_it_ended(catalog: Catalog) -> None:
    await catalog.outbox.announce([fact("t1")])
    for number in range(TRIES_KEPT + 2):
        [tried] = (await catalog.outbox.due("shop", LATER, 1)).announcements
        await catalog.outbox.mark_failed(tried, f"answered {number}", LATER, now=LATER, url=URL)
    [tried] = (await catalog.outbox.due("shop", LATER, 1)).announcements
    await catalog.outbox.mark_delivered(tried, LATER, url="https://standby.example/")

    page = await catalog.deliveries.page("shop", "telnyx", DeliveryFilters(), number=1, size=1)
    [delivery] = page.data

    assert (page.total, delivery.state, delivery.ended_at) == (1, State.DELIVERED, LATER)
    tries = delivery.announcement.tries
    assert len(tries) == TRIES_KEPT
    assert tries[0] == Try(LATER, URL, "answered 3")
    assert tries[-1] == Try(LATER, "https://standby.example/", None)


async def test_an_api_lists_its_own_deliveries_newest_first_by_state_kind_and_time(catalog: Catalog) -> None:
    facts = [fact(f"t{number}", recording_id=f"r{number}", second=number) for number in range(3)]
    await catalog.outbox.announce([*facts, fact("g", api="gateway")])
    [first, *_] = (await catalog.outbox.due("shop", LATER, 10)).announcements
    await catalog.outbox.mark_dead(replace(first, fact=facts[0]), "answered 500", LATER, url=URL)

    assert await listed(catalog) == ["t2", "t1", "t0"]
    assert await listed(catalog, states=[State.DEAD]) == ["t0"]
    assert await listed(catalog, states=[]) == []
    assert await listed(catalog, kinds=[FactKind.RECORDING_FAILED]) == []
    assert await listed(catalog, since=START + timedelta(seconds=1), until=START + timedelta(seconds=2)) == ["t1"]
    page = await catalog.deliveries.page("shop", "telnyx", DeliveryFilters(), number=2, size=2)
    assert ([each.announcement.fact.id for each in page.data], page.total) == (["t0"], 3)
