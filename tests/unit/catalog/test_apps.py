"""Apps and idempotency keys as rows, on an in-memory database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import IntegrityError

from wavstream.catalog import apps
from wavstream.catalog.apps import Remembered
from wavstream.catalog.tables import metadata
from wavstream.model.app import App

START = datetime(2026, 8, 21, 12, 0, 0, 1, tzinfo=UTC)
SHOP = App(id="shop", created_at=START, retention_hours=72)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as open_connection:
        yield open_connection
    engine.dispose()


def remember(
    connection: Connection, *, app_id: str = "shop", recording_id: str, digest: str = "d", minute: int = 0
) -> Remembered | None:
    now = START + timedelta(minutes=minute)
    return apps.remember(connection, app_id=app_id, key="k", request_digest=digest, recording_id=recording_id, now=now)


def test_an_app_is_found_by_its_id_and_by_its_keys_lookup(connection: Connection) -> None:
    assert apps.add(connection, SHOP, "hash", "lookup")
    assert apps.get(connection, "shop") == SHOP
    assert apps.find_by_lookup(connection, "lookup") == (SHOP, "hash")
    assert apps.get(connection, "other") is None
    assert apps.find_by_lookup(connection, "other") is None


def test_adding_an_app_that_is_there_changes_nothing(connection: Connection) -> None:
    apps.add(connection, SHOP, "hash", "lookup")
    assert not apps.add(connection, SHOP, "other hash", "other lookup")
    assert apps.find_by_lookup(connection, "lookup") == (SHOP, "hash")


def test_two_apps_cannot_share_a_key(connection: Connection) -> None:
    apps.add(connection, SHOP, "hash", "lookup")
    with pytest.raises(IntegrityError):
        apps.add(connection, App(id="bank", created_at=START), "hash", "lookup")


def test_a_replaced_key_no_longer_finds_the_app(connection: Connection) -> None:
    apps.add(connection, SHOP, "hash", "lookup")
    assert apps.replace_key(connection, "shop", "new hash", "new lookup")
    assert apps.find_by_lookup(connection, "lookup") is None
    assert apps.find_by_lookup(connection, "new lookup") == (SHOP, "new hash")
    assert not apps.replace_key(connection, "other", "h", "l")


def test_apps_are_listed_oldest_first(connection: Connection) -> None:
    assert not apps.any_app(connection)
    bank = App(id="bank", created_at=START + timedelta(seconds=1))
    apps.add(connection, bank, "h1", "l1")
    apps.add(connection, SHOP, "h2", "l2")
    assert apps.all_apps(connection) == [SHOP, bank]
    assert apps.any_app(connection)


def test_a_removed_app_leaves_neither_key_nor_idempotency_keys(connection: Connection) -> None:
    apps.add(connection, SHOP, "hash", "lookup")
    remember(connection, recording_id="r1")
    assert apps.remove(connection, "shop")
    assert not apps.remove(connection, "shop")
    assert not apps.any_app(connection)
    assert remember(connection, recording_id="r2") is None


def test_an_idempotency_key_stands_for_its_first_use(connection: Connection) -> None:
    assert remember(connection, recording_id="r1", digest="first") is None
    assert remember(connection, recording_id="r2", digest="second") == Remembered("first", "r1")


def test_the_same_idempotency_key_of_another_app_is_another_key(connection: Connection) -> None:
    remember(connection, recording_id="r1")
    assert remember(connection, app_id="bank", recording_id="r2") is None


def test_a_forgotten_idempotency_key_is_new_again(connection: Connection) -> None:
    remember(connection, recording_id="r1")
    apps.forget(connection, "shop", "other")
    assert remember(connection, recording_id="r2") is not None
    apps.forget(connection, "shop", "k")
    assert remember(connection, recording_id="r2") is None


def test_idempotency_keys_of_before_a_time_are_forgotten_and_later_ones_kept(connection: Connection) -> None:
    remember(connection, recording_id="old")
    remember(connection, app_id="bank", recording_id="new", minute=1)
    assert apps.forget_before(connection, START + timedelta(minutes=1)) == 1
    assert remember(connection, recording_id="again") is None
    assert remember(connection, app_id="bank", recording_id="again") == Remembered("d", "new")
