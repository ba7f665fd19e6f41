"""What the API's unit tests have in the place of sessions, holds and keys does as the real parts do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from tests.support.postgres import catalog_settings, on_postgres
from tests.unit.api.conftest import ApiHarness
from tests.unit.api.conftest import world as world  # a fixture
from wavstream.service.service import Service
from wavstream.settings import Settings

ADMIN_KEY = "key-of-the-administrators"
Client = Callable[[str | None], Awaitable[httpx.AsyncClient]]


@pytest.fixture(params=["fakes", "real parts", "real parts on PostgreSQL"])
async def client(request: pytest.FixtureRequest, tmp_path: Path, world: ApiHarness) -> AsyncIterator[Client]:
    """Yield a client of the API, for the app ``one``, ``two`` or none, over the fakes or over a whole server."""
    async with AsyncExitStack() as stack:
        keys = {None: None, "one": "key-one", "two": "key-two"}
        app: FastAPI = world.app
        if request.param != "fakes":
            if request.param.endswith("PostgreSQL"):
                stack.enter_context(on_postgres())
            catalog = catalog_settings(tmp_path)
            service = Service(Settings(data_dir=tmp_path / "data", admin_api_key=SecretStr(ADMIN_KEY), **catalog))
            stack.push_async_callback(service.stop)
            await service.start()
            app = service.app
            keys = {None: None, "one": "the-key-of-app-one", "two": "the-key-of-app-two"}

        async def client(name: str | None) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
            headers = {"Authorization": f"Bearer {keys[name]}"} if name else {}
            return await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://rec", headers=headers)
            )

        if request.param != "fakes":
            admin = await client(None)
            for name in ("one", "two"):
                answer = await admin.post(
                    f"/admin/apps/{name}", json={"api_key": keys[name]}, headers={"X-Admin-API-Key": ADMIN_KEY}
                )
                assert answer.status_code == 200
        yield client


def refused(answer: httpx.Response) -> tuple[int, Any]:
    """Return the status of a refusal, and what a program reads in it."""
    problem = answer.json()
    pointers = [error["pointer"] for error in problem.get("errors", [])]
    return answer.status_code, problem.get("state") or pointers or None


async def start(client: httpx.AsyncClient, session_id: str = "call-77", **headers: str) -> dict[str, Any]:
    answer = await client.post("/v1/recordings", json={"session_id": session_id}, headers=headers)
    assert answer.status_code == 201
    started: dict[str, Any] = answer.json()
    return started


async def test_a_key_opens_what_is_its_apps_and_no_other_key_does(client: Client) -> None:
    one, nobody = await client("one"), await client(None)

    assert (await one.get("/v1/sessions")).status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-App-ID": "one"}):
        assert (await nobody.get("/v1/sessions", headers=headers)).status_code == 401
    assert (await one.get("/v1/sessions", headers={"X-App-ID": "two"})).status_code == 401
    assert (await one.get("/v1/sessions", headers={"X-App-ID": "one"})).status_code == 200


async def test_an_idempotency_key_stands_for_its_first_request(client: Client) -> None:
    one, two = await client("one"), await client("two")
    first = await start(one, **{"Idempotency-Key": "once"})

    assert (await start(one, **{"Idempotency-Key": "once"}))["id"] == first["id"]
    assert (await start(two, **{"Idempotency-Key": "once"}))["id"] != first["id"]
    other = await one.post("/v1/recordings", json={"session_id": "other"}, headers={"Idempotency-Key": "once"})
    assert refused(other) == (422, ["Idempotency-Key"])


async def test_a_recording_is_known_to_its_app_alone(client: Client) -> None:
    one, two = await client("one"), await client("two")
    path = f"/v1/recordings/{(await start(one))['id']}"

    assert (await one.get(path)).status_code == 200
    for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/pause"), ("POST", "/resume")):
        assert refused(await two.request(method, path + suffix)) == (404, None)
        assert refused(await one.request(method, f"/v1/recordings/{'0' * 32}{suffix}")) == (404, None)
    assert refused(await two.delete(f"{path}/hold")) == (404, None)
    assert (await two.get("/v1/recordings")).json() == {"data": [], "next_cursor": None}


async def test_a_command_that_does_not_fit_the_state_names_it(client: Client) -> None:
    one = await client("one")
    recording = await start(one)
    path = f"/v1/recordings/{recording['id']}"

    assert refused(await one.post(f"{path}/resume")) == (409, recording["status"])
    assert refused(await one.delete(path)) == (409, recording["status"])
    stopped = (await one.post(f"{path}/stop")).json()
    for verb in ("stop", "pause", "resume"):
        assert refused(await one.post(f"{path}/{verb}")) == (409, stopped["status"])
    assert (await one.get(path)).json() == stopped


async def test_a_list_is_cut_into_pages_newest_first(client: Client) -> None:
    one = await client("one")
    ids = [(await start(one, f"call-{number}"))["id"] for number in range(2)]

    page = (await one.get("/v1/recordings", params={"limit": 1})).json()

    assert [recording["id"] for recording in page["data"]] == ids[1:]
    assert page["next_cursor"] is not None
    assert (await one.get("/v1/recordings")).json()["next_cursor"] is None
    assert refused(await one.get("/v1/recordings", params={"cursor": "bad"})) == (422, ["cursor"])


async def test_a_hold_is_put_once_and_released(client: Client) -> None:
    one = await client("one")
    recording = await start(one)
    path = f"/v1/recordings/{recording['id']}/hold"
    said = {"by": "J. Doe", "reason": "case 4711"}

    held = await one.post(path, json=said)
    again = await one.post(path, json=said)

    assert (held.status_code, again.json()) == (200, held.json())
    assert {name: held.json()["hold"][name] for name in said} == said
    assert refused(await one.post(path, json=said | {"by": "R. Roe"})) == (409, recording["status"])
    for _ in range(2):
        assert (await one.delete(path)).json()["hold"] is None


async def test_a_session_that_was_announced_is_live_for_its_app_alone(client: Client) -> None:
    one, two = await client("one"), await client("two")

    announced = await one.post("/v1/sessions", json={"session_id": "call-77", "from": "+15550100"})

    assert announced.status_code == 201
    assert (await one.get("/v1/sessions/call-77")).json() == announced.json()
    assert (await one.get("/v1/sessions")).json() == {"data": [announced.json()]}
    assert refused(await two.get("/v1/sessions/call-77")) == (404, None)
    assert (await two.get("/v1/sessions")).json() == {"data": []}
    assert (await two.post("/v1/sessions", json={"session_id": "call-77"})).json()["from"] == ""
    assert (await one.get("/v1/sessions/call-77")).json() == announced.json()
