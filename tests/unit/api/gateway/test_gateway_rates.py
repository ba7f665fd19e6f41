"""How often may be asked, in virtual time."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.api.gateway.conftest import ADMIN, ADMIN_KEY, KEY, SHOP, Gateway

START = "/api/v1/sessions/call-77/commands/record/start"


def left(answer: httpx.Response) -> tuple[int, list[str]]:
    """Return the status, and what is left: limit, remaining, seconds until all of it is there again."""
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


async def test_whoever_guesses_the_admin_key_must_wait_and_who_knows_it_at_the_same_address_need_not(
    gateway: Gateway,
) -> None:
    app = gateway.app(stranger_requests_per_s=1000)

    async def ask(key: str, address: str = "192.0.2.7") -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://rec") as client:
            return await client.get("/admin/apps", headers={"X-Admin-API-Key": key})

    gateway.seconds = 5.0
    wrong = [(await ask(f"guess-{number}")).status_code for number in range(20)]
    gateway.seconds = 64.5
    refused, right = await ask("guess-20"), await ask(ADMIN_KEY)
    elsewhere = await ask(ADMIN_KEY, "192.0.2.8")
    gateway.seconds = 65.0

    assert wrong == [401] * 20
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "too many wrong keys" in refused.json()["error"]
    assert right.status_code == 200
    assert elsewhere.status_code == 200
    assert (await ask("guess-21")).status_code == 401


async def test_a_right_admin_key_is_not_counted_and_does_not_excuse_wrong_ones(gateway: Gateway) -> None:
    async with gateway.client(ADMIN, stranger_requests_per_s=1000) as client:
        wrong = {"X-Admin-API-Key": "guess"}
        for _ in range(19):
            assert (await client.get("/admin/apps", headers=wrong)).status_code == 401
            assert (await client.get("/admin/apps")).status_code == 200
        assert (await client.get("/admin/apps", headers=wrong)).status_code == 401
        assert (await client.get("/admin/apps", headers=wrong)).status_code == 429
        assert (await client.get("/admin/apps")).status_code == 200


@pytest.mark.parametrize("headers", [{}, ADMIN])
async def test_health_is_never_refused_and_needs_no_key(gateway: Gateway, headers: dict[str, str]) -> None:
    async with gateway.client(headers, requests_per_s=1, stranger_requests_per_s=1) as client:
        for _ in range(5):
            answer = await client.get("/health")
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert "x-ratelimit-limit" not in answer.headers
