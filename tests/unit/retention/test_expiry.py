"""When a recording that has stopped expires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.unit.retention.test_policy import RECORDING, STOP
from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.model.app import App
from wavstream.model.options import RecordingOptions
from wavstream.retention.expiry import Expiry

STOPPED = replace(RECORDING, ended_at=STOP, expires_at=None)


class Catalog:
    def __init__(self) -> None:
        self.reads = 0
        self.hours: int | None = 48

    async def get_app(self, app_id: str) -> App | None:
        self.reads += 1
        return App(app_id, created_at=datetime.now(UTC), retention_hours=self.hours) if app_id != "gone" else None


def expiry(
    catalog: Catalog | None = None, clock: Callable[[], float] = lambda: 0.0, *, kept_elsewhere: bool = False
) -> Expiry:
    apps = AppCache(catalog or Catalog(), clock, server_options=RecordingOptions())
    return Expiry(apps.get, server_hours=24, kept_elsewhere=kept_elsewhere)


def after(hours: int) -> datetime:
    return STOP + timedelta(hours=hours)


async def test_the_recordings_own_hours_count_before_its_apps_and_those_before_the_servers() -> None:
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    stopped = [own, STOPPED, replace(STOPPED, app_id="gone")]
    assert [await expiry().of(each) for each in stopped] == [after(5), after(48), after(24)]


async def test_many_stops_of_one_app_are_one_read() -> None:
    catalog = Catalog()
    of_shop = expiry(catalog, lambda: 5.0)

    assert [await of_shop.of(STOPPED) for _ in range(200)] == [after(48)] * 200
    assert catalog.reads == 1


async def test_an_app_that_changed_is_seen_when_the_answer_is_old() -> None:
    catalog, now = Catalog(), [0.0]
    of_shop = expiry(catalog, lambda: now[0])
    assert await of_shop.of(STOPPED) == after(48)
    catalog.hours = 72

    now[0] = CACHE_TTL_S - 0.1
    assert await of_shop.of(STOPPED) == after(48)
    now[0] = CACHE_TTL_S
    assert await of_shop.of(STOPPED) == after(72)


async def test_what_another_store_serves_never_expires() -> None:
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    assert await expiry(kept_elsewhere=True).of(own) is None
