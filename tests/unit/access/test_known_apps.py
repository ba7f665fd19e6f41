from __future__ import annotations

from datetime import UTC, datetime

from wavstream.access.known_apps import KnownApps
from wavstream.access.tenancy import TRUST_S
from wavstream.model.app import App

SHOP = App("shop", created_at=datetime(2026, 8, 21, tzinfo=UTC))


class Rows:
    def __init__(self) -> None:
        self.reads: list[str] = []

    async def get_app(self, app_id: str) -> App | None:
        self.reads.append(app_id)
        return SHOP if app_id == "shop" else None


async def test_an_app_is_read_again_after_a_while_and_when_it_was_changed() -> None:
    rows, seconds = Rows(), [0.0]
    apps = KnownApps(rows, lambda: seconds[0])
    for seconds[0] in (0.0, TRUST_S - 0.001):
        assert await apps.get("shop") == SHOP
        assert await apps.get("bank") is None
    assert rows.reads == ["shop", "bank"]
    apps.forget("shop")
    apps.forget("unknown")
    await apps.get("shop")
    seconds[0] = TRUST_S
    await apps.get("bank")
    assert rows.reads == ["shop", "bank", "shop", "bank"]
