from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import live_view
from wavstream.api.schemas import SESSION_EXAMPLE
from wavstream.model.recording import Recording
from wavstream.model.session import SessionView


async def test_a_session_shows_its_call_its_legs_its_recordings_and_why_a_stream_is_silent(
    world: ApiHarness, client: httpx.AsyncClient, running: Recording
) -> None:
    world.commands.views["one", "call-77"] = live_view("call-77", running=running)
    body = (await client.get("/v1/sessions/call-77")).json()
    SessionView.model_validate(body)
    assert list(body) == list(SESSION_EXAMPLE)
    (stream,) = body.pop("streams")
    assert list(stream) == list(SESSION_EXAMPLE["streams"][0])
    assert (stream["leg"], stream["codec"], stream["rate"], stream["silent_because"]) == ("a", "l16", 8000, "stalled")
    assert (stream["tracks"], stream["last_audio_at"]) == (["inbound"], "2026-11-01T10:00:02.000000Z")
    assert body == {
        "session_id": "call-77",
        "app_id": "one",
        "from": "+15550100",
        "to": "+15550199",
        "direction": "inbound",
        "vendor_ids": {},
        "created_at": "2026-11-01T10:00:00.000000Z",
        "legs": ["a", "b"],
        "away": ["b"],
        "recordings": [{"id": running.id, "status": "ongoing"}],
    }


@pytest.mark.parametrize("session_id", ["a/b", "a//b/", "/", "..%2f", "100%", "a?b#c", "\u00e4 \u4f60", "x" * 256])
async def test_a_session_is_read_by_its_id_whatever_is_in_it(
    world: ApiHarness, client: httpx.AsyncClient, session_id: str
) -> None:
    world.commands.views["one", session_id] = live_view(session_id)
    response = await client.get(f"/v1/sessions/{quote(session_id, safe='')}")
    assert (response.status_code, response.json().get("session_id")) == (200, session_id)


async def test_only_the_apps_own_sessions_are_listed(world: ApiHarness, client: httpx.AsyncClient) -> None:
    world.commands.views = {(app, name): live_view(name, app) for app, name in (("one", "mine"), ("two", "theirs"))}
    body = (await client.get("/v1/sessions")).json()
    assert [session["session_id"] for session in body["data"]] == ["mine"]


async def test_sessions_are_read_a_page_at_a_time_and_the_server_cuts_what_is_asked_for(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    names = [f"call-{number}" for number in range(201)]
    world.commands.views = {("one", name): live_view(name) for name in names}

    queries: list[tuple[dict[str, int], int]] = [({}, 50), ({"limit": 7}, 7), ({"limit": 1000}, 200)]
    for query, count in queries:
        read: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get("/v1/sessions", params={**query, **cursor})).json()
            read += [session["session_id"] for session in page["data"]]
            if "next_cursor" not in page:
                break
            assert len(page["data"]) == count
            cursor = {"cursor": page["next_cursor"]}
        assert read == names
    for limit in (0, 1001, "x"):
        assert (await client.get("/v1/sessions", params={"limit": limit})).status_code == 422


async def test_another_apps_session_is_as_unknown_as_one_that_never_was(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    world.commands.views["two", "theirs"] = live_view("theirs", "two")
    others, unknown = await client.get("/v1/sessions/theirs"), await client.get("/v1/sessions/never")
    assert others.status_code == unknown.status_code == 404
    assert others.content == unknown.content


async def test_a_session_is_announced_with_what_is_known_of_its_call(client: httpx.AsyncClient) -> None:
    call = {"from": "+15550100", "to": "sip:a@b", "direction": "outbound", "vendor_ids": {"callSid": "CA1"}}
    response = await client.post("/v1/sessions", json={"session_id": "call-77", **call})
    body = response.json()
    assert (response.status_code, body["streams"], body["recordings"]) == (201, [], [])
    assert {name: body[name] for name in call} == call


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_id", ""),
        ("from", "x" * 257),
        ("from", 15550100),
        ("to", "a\nb"),
        ("direction", "sideways"),
        ("vendor_ids", {"a": 1}),
        ("vendor_ids", {str(n): "" for n in range(21)}),
        ("from_", "x"),
        ("channels", "mono"),
    ],
)
async def test_an_announcement_with_a_wrong_field_names_it(
    world: ApiHarness, client: httpx.AsyncClient, field: str, value: Any
) -> None:
    response = await client.post("/v1/sessions", json={"session_id": "call-77", field: value})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"].split("/")[1] == field
    assert not world.commands.views


async def test_a_stream_token_is_for_the_app_that_asks_and_lives_as_long_as_it_says(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/stream-tokens", json={"session_id": "call-77", "ttl_s": 90})
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert response.json() == {
        "token": "one|call-77|2026-11-01T10:01:30+00:00",
        "session_id": "call-77",
        "expires_at": "2026-11-01T10:01:30.000000Z",
    }
    short = await client.post("/v1/stream-tokens", json={})
    assert short.json()["token"] == "one|None|2026-11-01T10:01:00+00:00"


@pytest.mark.parametrize(
    "body", [{"ttl_s": 0}, {"ttl_s": 86_401}, {"ttl_s": "60"}, {"session_id": ""}, {"app_id": "two"}]
)
async def test_a_stream_token_of_another_kind_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/v1/stream-tokens", json=body)).status_code == 422


async def test_a_session_shows_how_loud_each_track_is_and_null_where_nothing_comes_in(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    world.commands.views["one", "call-77"] = live_view("call-77")
    (stream,) = (await client.get("/v1/sessions/call-77")).json()["streams"]
    assert stream["levels"] == [
        {"track": "inbound", "rms_dbfs": -23.1, "peak_dbfs": -9.8},
        {"track": "outbound", "rms_dbfs": None, "peak_dbfs": None},
    ]


async def test_a_session_shows_the_pace_of_each_track_and_what_was_probably_described_wrongly(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    world.commands.views["one", "call-77"] = live_view("call-77")
    (stream,) = (await client.get("/v1/sessions/call-77")).json()["streams"]
    assert stream["paces"] == [{"track": "inbound", "pace": 2.0}, {"track": "outbound", "pace": None}]
    assert stream["suspicions"] == ["twice as much audio as time"]
