from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.faulty_database import FaultyDatabase
from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.catalog.apps import Apps
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions

SHOP = App("shop", created_at=datetime(2026, 8, 21, tzinfo=UTC), recording={"channels": "mono"})
SERVER = RecordingOptions(format=FileFormat.MP3)


@pytest.fixture
async def apps(catalog: Catalog) -> Apps:
    assert await catalog.apps.add(SHOP, key_hash="h", key_lookup="l")
    return catalog.apps


async def test_an_app_is_read_again_after_a_while_and_when_it_was_changed(apps: Apps, database: FaultyDatabase) -> None:
    seconds = [0.0]
    cache = AppCache(apps, lambda: seconds[0], server_options=SERVER)

    def reads() -> int:
        return database.asked.count("Apps.get")

    for seconds[0] in (0.0, CACHE_TTL_S - 0.001):
        assert await cache.get("shop") == SHOP
        assert await cache.get("bank") is None
    assert reads() == 2
    cache.forget("shop")
    cache.forget("unknown")
    await cache.get("bank")
    assert reads() == 2
    await cache.get("shop")
    assert reads() == 3
    seconds[0] = CACHE_TTL_S
    await cache.get("bank")
    assert reads() == 4


async def test_the_options_of_an_app_are_its_own_over_the_servers(apps: Apps) -> None:
    cache = AppCache(apps, lambda: 0.0, server_options=SERVER)
    assert await cache.options("shop") == replace(SERVER, channels=ChannelLayout.MONO)
    assert await cache.options("bank") == SERVER


async def test_who_cannot_wait_gets_the_options_that_were_read_last_until_others_are_read(apps: Apps) -> None:
    cache = AppCache(apps, lambda: 0.0, server_options=SERVER)
    assert cache.last_options("shop") == SERVER
    await cache.get("shop")
    await apps.change(replace(SHOP, recording={"beep": True}))
    cache.forget("shop")
    assert cache.last_options("shop") == replace(SERVER, channels=ChannelLayout.MONO)
    await cache.get("shop")
    assert cache.last_options("shop") == replace(SERVER, beep=True)


def test_recordings_of_an_app_are_kept_for_its_hours_and_else_for_the_servers() -> None:
    day = replace(SERVER, retention_hours=24)
    hours = [replace(SHOP, retention_hours=hours).options(day).retention_hours for hours in (48, None)]
    assert hours == [48, 24]
