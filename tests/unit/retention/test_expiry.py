"""When a recording expires."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.recordings import a_recording
from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import LegalHold, Status
from wavstream.retention.expiry import Expiry, expires_at, is_expired

STOP = datetime(2026, 8, 21, 12, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("recording_hours", "app_hours", "hours"), [(1, 2, 1), (None, 2, 2), (1, None, 1), (None, None, 24)]
)
def test_the_nearest_rule_counts_from_the_stop(recording_hours: int | None, app_hours: int | None, hours: int) -> None:
    end = expires_at(STOP, recording_hours=recording_hours, app_hours=app_hours, server_hours=24)
    assert end == STOP + timedelta(hours=hours)


RECORDING = a_recording("r1", status=Status.AVAILABLE, created_at=STOP, expires_at=STOP + timedelta(hours=1))


def test_a_recording_expires_at_its_moment_and_not_before() -> None:
    moment = STOP + timedelta(hours=1)
    assert not is_expired(RECORDING, moment - timedelta(microseconds=1))
    assert is_expired(RECORDING, moment)


def test_a_recording_that_was_swept_is_expired_whatever_the_clock_says() -> None:
    assert is_expired(replace(RECORDING, status=Status.EXPIRED), STOP)


def test_a_recording_that_runs_does_not_expire() -> None:
    assert not is_expired(replace(RECORDING, status=Status.ONGOING, expires_at=None), STOP + timedelta(days=9999))


def test_a_recording_that_is_held_does_not_expire_and_one_that_was_swept_stays_gone() -> None:
    held = replace(RECORDING, hold=LegalHold("legal", "case 4711", STOP))
    assert not is_expired(held, STOP + timedelta(days=9999))
    assert is_expired(replace(held, status=Status.EXPIRED), STOP)


# ---- by all that has a say in it -----------------------------------------------------------------------------------

STOPPED = replace(RECORDING, app_id="shop", ended_at=STOP, expires_at=None)
SHOP = App("shop", created_at=STOP, retention_hours=48)


def after(hours: int) -> datetime:
    return STOP + timedelta(hours=hours)


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def expiry(catalog: Catalog, clock: Clock) -> Expiry:
    """Of a server that keeps recordings for a day, and of an app that keeps them for two."""
    assert await catalog.apps.add(SHOP, key_hash="h", key_lookup="l")
    apps = AppCache(catalog.apps, clock, server_options=RecordingOptions())
    return Expiry(apps.get, server_hours=24, kept_elsewhere=False)


async def test_the_recordings_own_hours_count_before_its_apps_and_those_before_the_servers(expiry: Expiry) -> None:
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    stopped = [own, STOPPED, replace(STOPPED, app_id="gone")]
    assert [await expiry.of(each) for each in stopped] == [after(5), after(48), after(24)]


async def test_many_stops_of_one_app_are_one_read(expiry: Expiry, database: FaultyDatabase) -> None:
    assert [await expiry.of(STOPPED) for _ in range(200)] == [after(48)] * 200
    assert database.asked.count("Apps.get") == 1


async def test_an_app_that_changed_is_seen_when_the_answer_is_old(
    expiry: Expiry, catalog: Catalog, clock: Clock
) -> None:
    assert await expiry.of(STOPPED) == after(48)
    await catalog.apps.change(replace(SHOP, retention_hours=72))

    clock.seconds = CACHE_TTL_S - 0.1
    assert await expiry.of(STOPPED) == after(48)
    clock.seconds = CACHE_TTL_S
    assert await expiry.of(STOPPED) == after(72)


async def test_what_another_store_serves_never_expires(catalog: Catalog) -> None:
    elsewhere = Expiry(catalog.apps.get, server_hours=24, kept_elsewhere=True)
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    assert await elsewhere.of(own) is None
