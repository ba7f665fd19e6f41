"""Apps as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.faulty_database import FaultyDatabase
from tests.support.postgres import BOTH
from tests.unit.catalog.test_idempotency import remember
from wavstream.catalog.app_keys import MasterRecord
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App, WebhookTarget

DATABASES = BOTH

START = datetime(2026, 8, 21, 12, 0, 0, 1, tzinfo=UTC)
SHOP = App(id="shop", created_at=START, retention_hours=72)


async def test_an_app_is_found_by_its_id_and_by_its_keys_lookup(catalog: Catalog) -> None:
    assert await catalog.apps.add(SHOP, key_hash="hash", key_lookup="lookup")
    assert await catalog.apps.get("shop") == SHOP
    assert await catalog.apps.find_by_lookup("lookup") == (SHOP, "hash")
    assert await catalog.apps.get("other") is None
    assert await catalog.apps.find_by_lookup("other") is None


async def test_adding_an_app_that_is_there_changes_nothing(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="hash", key_lookup="lookup")
    assert not await catalog.apps.add(SHOP, key_hash="other hash", key_lookup="other lookup")
    assert await catalog.apps.find_by_lookup("lookup") == (SHOP, "hash")


async def test_two_apps_cannot_share_a_key(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="hash", key_lookup="lookup")
    with pytest.raises(IntegrityError):
        await catalog.apps.add(App(id="bank", created_at=START), key_hash="hash", key_lookup="lookup")


async def test_a_replaced_key_no_longer_finds_the_app(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="hash", key_lookup="lookup")
    assert await catalog.apps.replace_key("shop", key_hash="new hash", key_lookup="new lookup", now=START)
    assert await catalog.apps.find_by_lookup("lookup") is None
    assert await catalog.apps.find_by_lookup("new lookup") == (SHOP, "new hash")
    assert not await catalog.apps.replace_key("other", key_hash="h", key_lookup="l", now=START)


async def test_apps_are_listed_oldest_first(catalog: Catalog) -> None:
    assert not await catalog.apps.any()
    bank = App(id="bank", created_at=START + timedelta(seconds=1))
    await catalog.apps.add(bank, key_hash="h1", key_lookup="l1")
    await catalog.apps.add(SHOP, key_hash="h2", key_lookup="l2")
    assert await catalog.apps.list() == [SHOP, bank]
    assert await catalog.apps.any()


async def test_a_removed_app_leaves_neither_key_nor_idempotency_keys(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="hash", key_lookup="lookup")
    await remember(catalog, recording_id="r1")
    assert await catalog.apps.remove("shop")
    assert not await catalog.apps.remove("shop")
    assert not await catalog.apps.any()
    assert await remember(catalog, recording_id="r2") is None


async def test_apps_with_somewhere_to_be_told_are_known_from_their_first_target_on(
    catalog: Catalog, database: FaultyDatabase
) -> None:
    target = WebhookTarget("https://shop.example/")
    await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1")
    await catalog.apps.add(App("bank", START, webhook=target), key_hash="h2", key_lookup="l2")
    assert catalog.apps.with_webhook == {"bank"}
    await catalog.apps.change(replace(SHOP, webhook=target))
    assert catalog.apps.with_webhook == {"bank", "shop"}
    assert (await Catalog.over(database)).apps.with_webhook == {"bank", "shop"}


async def test_an_app_under_a_name_that_was_used_before_has_another_id(catalog: Catalog) -> None:
    assert await catalog.apps.next_id("shop") == "shop"
    assert await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1") == SHOP
    for generation in (2, 3):
        latest = await catalog.apps.find("shop")
        assert latest is not None
        assert await catalog.apps.remove(latest.id)
        assert await catalog.apps.find("shop") is None
        again = await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1")
        assert again == replace(SHOP, id=f"shop.{generation}") == await catalog.apps.find("shop")
        assert again is not None
        assert (again.name, await catalog.apps.get(again.id)) == ("shop", again)
        assert not await catalog.apps.remove(latest.id)
    assert (await catalog.app_keys.read()).removed == {"shop": 2}


async def test_an_app_whose_secrets_are_sealed_for_another_id_is_not_added(catalog: Catalog) -> None:
    told = replace(SHOP, webhook=WebhookTarget("https://shop.example/"))
    await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1")
    await catalog.apps.remove("shop")
    assert await catalog.apps.add(told, key_hash="h1", key_lookup="l1") is None
    assert await catalog.apps.add(replace(told, id="shop.2"), key_hash="h1", key_lookup="l1") is not None


async def test_every_change_of_apps_and_keys_is_seen(catalog: Catalog) -> None:
    seen = [await catalog.app_keys.version()]

    async def changed() -> bool:
        seen.append(await catalog.app_keys.version())
        return seen[-1] > seen[-2]

    assert not await changed()
    await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1")
    assert await changed()
    await catalog.apps.change(SHOP)
    assert await changed()
    await catalog.apps.replace_key("shop", key_hash="h2", key_lookup="l2", now=START)
    assert await changed()
    assert await catalog.app_keys.add("shop", "second", key_hash="h3", key_lookup="l3", now=START, expires_at=None)
    assert await changed()
    assert not await catalog.app_keys.add("shop", "second", key_hash="h4", key_lookup="l4", now=START, expires_at=None)
    assert not await changed()
    assert await catalog.app_keys.revoke("shop", "second")
    assert await changed()
    await catalog.app_keys.has_changed()
    assert await changed()
    await catalog.apps.remove("shop")
    assert await changed()
    assert (await catalog.app_keys.read()).keys == ()


async def test_a_changed_first_key_leaves_the_others(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="h1", key_lookup="l1")
    later = START + timedelta(seconds=1)
    await catalog.app_keys.add("shop", "second", key_hash="h2", key_lookup="l2", now=later, expires_at=later)
    await catalog.apps.replace_key("shop", key_hash="h3", key_lookup="l3", now=START)
    keys = await catalog.app_keys.list("shop")
    assert [(key.name, key.key_hash, key.expires_at) for key in keys] == [("main", "h3", None), ("second", "h2", later)]


async def test_the_same_key_given_again_is_the_key_that_it_was(catalog: Catalog) -> None:
    await catalog.apps.add(SHOP, key_hash="slow", key_lookup="l1")
    (before,) = await catalog.app_keys.list("shop")
    await catalog.apps.replace_key("shop", key_hash="h1", key_lookup="l1", now=START)
    assert await catalog.app_keys.list("shop") == [replace(before, key_hash="h1")]
    await catalog.app_keys.add("shop", "second", key_hash="h2", key_lookup="l2", now=START, expires_at=None)
    await catalog.apps.replace_key("shop", key_hash="h2", key_lookup="l2", now=START)
    assert [(key.name, key.key_lookup) for key in await catalog.app_keys.list("shop")] == [("main", "l2")]


async def test_what_is_known_of_the_master_key_is_written_once(catalog: Catalog) -> None:
    first, other = MasterRecord("scrypt", "00", "11"), MasterRecord("raw", None, "22")
    assert await catalog.app_keys.master() is None
    assert await catalog.app_keys.set_master(first, known=None)
    assert not await catalog.app_keys.set_master(other, known=None)
    assert await catalog.app_keys.master() == first
    assert await catalog.app_keys.set_master(None, known=first)
    assert await catalog.app_keys.master() is None
