"""How often may be asked, in virtual time."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.gateway.conftest import ADMIN, KEY, SHOP, Gateway

START = "/api/v1/sessions/call-77/commands/record/start"


def left(answer: httpx.Response) -> tuple[int, list[str]]:
    """The status, and what is left: limit, remaining, seconds until all of it is there again."""
    return answer.status_code, [answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")]


async def test_an_app_has_its_own_limit_in_a_minute_for_each_address(
    gateway: Gateway, admin: httpx.AsyncClient, shop: httpx.AsyncClient
) -> None:
    await admin.post("/admin/apps/shop", json={"api_key": KEY, "rate_limit": 2})
    assert left(await shop.post(START)) == (202, ["2", "1", "60"])
    gateway.seconds = 10.5
    assert left(await shop.post(START, content=b"{")) == (400, ["2", "0", "50"])
    refused = await shop.post(START)
    assert left(refused) == (429, ["2", "0", "50"])
    assert refused.json() == {"success": False, "error": "Rate limit exceeded"}
    assert refused.headers["retry-after"] == "50"
    assert len(gateway.commands.asked) == 1
    gateway.seconds = 60
    assert left(await shop.post(START)) == (202, ["2", "1", "60"])


@pytest.mark.parametrize(("own", "everybodys"), [(1, 100), (0, 1)])
async def test_two_addresses_of_an_app_are_counted_apart(
    gateway: Gateway, admin: httpx.AsyncClient, own: int, everybodys: int
) -> None:
    await admin.post("/admin/apps/shop", json={"api_key": KEY, "rate_limit": own})
    app = gateway.app(requests_per_s=everybodys)
    for address, status in (("192.0.2.7", 202), ("192.0.2.7", 429), ("192.0.2.8", 202)):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://rec", headers=SHOP) as client:
            assert (await client.post(START)).status_code == status


async def test_an_app_without_a_limit_of_its_own_has_everybodys(gateway: Gateway, shop: httpx.AsyncClient) -> None:
    async with gateway.client(SHOP, requests_per_s=3) as client:
        assert [left(await client.post(START))[0] for _ in range(4)] == [202, 202, 202, 429]
        gateway.seconds = 1
        assert left(await client.post(START)) == (202, ["3", "2", "1"])


async def test_who_has_no_valid_key_uses_up_nothing_of_an_app_at_the_same_address(
    gateway: Gateway, shop: httpx.AsyncClient
) -> None:
    wrong = {"X-App-ID": "shop", "X-API-Key": "wrong"}
    assert left(await shop.post(START, headers=wrong)) == (401, ["10", "9", "1"])
    statuses = [(await shop.post(START, headers=wrong)).status_code for _ in range(10)]
    assert statuses == [401] * 9 + [429]
    assert left(await shop.post(START)) == (202, ["10000", "9999", "1"])


@pytest.mark.parametrize("headers", [{}, ADMIN])
async def test_health_is_never_refused_and_needs_no_key(gateway: Gateway, headers: dict[str, str]) -> None:
    async with gateway.client(headers, requests_per_s=1, stranger_requests_per_s=1) as client:
        for _ in range(5):
            answer = await client.get("/health")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert "x-ratelimit-limit" not in answer.headers
