"""Idempotency keys as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.postgres import BOTH
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.idempotency import Remembered

DATABASES = BOTH

START = datetime(2026, 8, 21, 12, 0, 0, 1, tzinfo=UTC)


async def remember(
    catalog: Catalog, *, app_id: str = "shop", recording_id: str, digest: str = "d", minute: int = 0
) -> Remembered | None:
    now = START + timedelta(minutes=minute)
    return await catalog.idempotency.remember(
        app_id=app_id, key="k", request_digest=digest, recording_id=recording_id, now=now
    )


async def test_an_idempotency_key_stands_for_its_first_use(catalog: Catalog) -> None:
    assert await remember(catalog, recording_id="r1", digest="first") is None
    assert await remember(catalog, recording_id="r2", digest="second") == Remembered("first", "r1")


async def test_the_same_idempotency_key_of_another_app_is_another_key(catalog: Catalog) -> None:
    await remember(catalog, recording_id="r1")
    assert await remember(catalog, app_id="bank", recording_id="r2") is None


async def test_a_forgotten_idempotency_key_is_new_again(catalog: Catalog) -> None:
    await remember(catalog, recording_id="r1")
    await catalog.idempotency.forget("shop", "other")
    assert await remember(catalog, recording_id="r2") is not None
    await catalog.idempotency.forget("shop", "k")
    assert await remember(catalog, recording_id="r2") is None


async def test_idempotency_keys_of_before_a_time_are_forgotten_and_later_ones_kept(catalog: Catalog) -> None:
    await remember(catalog, recording_id="old")
    await remember(catalog, app_id="bank", recording_id="new", minute=1)
    assert await catalog.idempotency.forget_before(START + timedelta(minutes=1)) == 1
    assert await remember(catalog, recording_id="again") is None
    assert await remember(catalog, app_id="bank", recording_id="again") == Remembered("d", "new")
