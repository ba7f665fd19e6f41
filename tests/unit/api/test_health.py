from __future__ import annotations

import httpx
from prometheus_client import Counter

from tests.unit.api.conftest import ApiHarness


async def test_the_process_says_that_it_lives(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.head("/healthz")).status_code == 200


async def test_a_server_that_cannot_take_calls_says_why(world: ApiHarness, client: httpx.AsyncClient) -> None:
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})
    world.reasons.append("The disk is full.")
    for method in ("GET", "HEAD"):
        assert (await client.request(method, "/readyz")).status_code == 503
    assert (await client.get("/readyz")).json() == {"ready": False, "reasons": ["The disk is full."]}


async def test_metrics_are_those_of_the_registry(world: ApiHarness, client: httpx.AsyncClient) -> None:
    Counter("calls", "Calls so far", registry=world.registry).inc(3)
    response = await client.get("/metrics")
    assert "calls_total 3.0" in response.text
    assert response.headers["content-type"].startswith("text/plain; version=")
