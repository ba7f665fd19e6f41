from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from wavstream.access.app_cache import CACHE_TTL_S, AppCache
from wavstream.model.app import App
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions

SHOP = App("shop", created_at=datetime(2026, 8, 21, tzinfo=UTC), recording={"channels": "mono"})
SERVER = RecordingOptions(format=FileFormat.MP3)


class Rows:
    def __init__(self) -> None:
        self.reads: list[str] = []
        self.shop = SHOP

    async def get_app(self, app_id: str) -> App | None:
        self.reads.append(app_id)
        return self.shop if app_id == "shop" else None


async def test_an_app_is_read_again_after_a_while_and_when_it_was_changed() -> None:
    rows, seconds = Rows(), [0.0]
    apps = AppCache(rows, lambda: seconds[0], server_options=SERVER)
    for seconds[0] in (0.0, CACHE_TTL_S - 0.001):
        assert await apps.get("shop") == SHOP
        assert await apps.get("bank") is None
    assert rows.reads == ["shop", "bank"]
    apps.forget("shop")
    apps.forget("unknown")
    await apps.get("shop")
    seconds[0] = CACHE_TTL_S
    await apps.get("bank")
    assert rows.reads == ["shop", "bank", "shop", "bank"]


async def test_the_options_of_an_app_are_its_own_over_the_servers() -> None:
    apps = AppCache(Rows(), lambda: 0.0, server_options=SERVER)
    assert await apps.options("shop") == replace(SERVER, channels=ChannelLayout.MONO)
    assert await apps.options("bank") == SERVER


async def test_who_cannot_wait_gets_the_options_that_were_read_last_until_others_are_read() -> None:
    rows = Rows()
    apps = AppCache(rows, lambda: 0.0, server_options=SERVER)
    assert apps.last_options("shop") == SERVER
    await apps.get("shop")
    rows.shop = replace(SHOP, recording={"beep": True})
    apps.forget("shop")
    assert apps.last_options("shop") == replace(SERVER, channels=ChannelLayout.MONO)
    await apps.get("shop")
    assert apps.last_options("shop") == replace(SERVER, beep=True)
