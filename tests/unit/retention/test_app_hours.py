"""Hours of apps, believed for a while."""

from __future__ import annotations

from datetime import UTC, datetime

from wavstream.model.app import App
from wavstream.retention.app_hours import TRUST_S, AppHours


class Catalog:
    def __init__(self) -> None:
        self.reads = 0
        self.hours: int | None = 48

    async def get_app(self, app_id: str) -> App | None:
        self.reads += 1
        return App(app_id, created_at=datetime.now(UTC), retention_hours=self.hours) if app_id != "gone" else None


async def test_many_stops_of_one_app_are_one_read() -> None:
    catalog = Catalog()
    hours = AppHours(catalog, lambda: 5.0)

    assert [await hours.of("shop") for _ in range(200)] == [48] * 200
    assert catalog.reads == 1


async def test_an_app_that_changed_is_seen_when_the_answer_is_old() -> None:
    catalog, now = Catalog(), [0.0]
    hours = AppHours(catalog, lambda: now[0])
    assert await hours.of("shop") == 48
    catalog.hours = 72

    now[0] = TRUST_S - 0.1
    assert await hours.of("shop") == 48
    now[0] = TRUST_S
    assert await hours.of("shop") == 72


async def test_an_app_that_is_gone_goes_by_the_server() -> None:
    assert await AppHours(Catalog(), lambda: 0.0).of("gone") is None
