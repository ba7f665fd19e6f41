from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.api.conftest import ApiHarness
from wavstream.model.recording import Recording

EVERYTHING = [
    ("GET", "/v1/recordings"),
    ("POST", "/v1/recordings"),
    ("GET", "/v1/recordings/x"),
    ("GET", "/v1/recordings/x.wav"),
    ("HEAD", "/v1/recordings/x.wav"),
    ("DELETE", "/v1/recordings/x"),
    ("POST", "/v1/recordings/x/stop"),
    ("POST", "/v1/recordings/x/pause"),
    ("POST", "/v1/recordings/x/resume"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions/x"),
    ("POST", "/v1/stream-tokens"),
    ("GET", "/v1/nothing"),
    ("PATCH", "/v1/recordings"),
]


async def test_no_route_answers_without_a_valid_key(world: ApiHarness, subtests: pytest.Subtests) -> None:
    for key, (method, path) in itertools.product([None, "wrong", "KEY-ONE", "key-one-and-more"], EVERYTHING):
        with subtests.test(f"{key!r:.80} {method!r:.80} {path!r:.80}"):
            async with world.client(key) as stranger:
                response = await stranger.request(method, path)
            assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
            assert response.headers["www-authenticate"] == 'Bearer realm="wavstream"'


async def test_a_key_is_asked_for_before_the_body_is_looked_at(world: ApiHarness) -> None:
    async with world.client("wrong") as stranger:
        for content in (b"{", b"x" * 30_000):
            assert (await stranger.post("/v1/recordings", content=content)).status_code == 401


@pytest.mark.parametrize("value", ["Basic a2V5LW9uZQ==", "key-one", "Bearer", "Bearer ", "Bearer\u00e9 key-one", ""])
async def test_credentials_of_another_form_count_as_none(world: ApiHarness, value: str) -> None:
    async with world.client(None) as stranger:
        response = await stranger.get("/v1/sessions", headers={b"Authorization": value.encode("latin-1")})
        assert response.status_code == 401


@pytest.mark.parametrize("value", ["bearer key-one", "BEARER  key-one"])
async def test_the_scheme_may_be_written_in_any_case(world: ApiHarness, value: str) -> None:
    async with world.client(None) as client:
        assert (await client.get("/v1/sessions", headers={"Authorization": value})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "app"),
    [
        ({"X-API-Key": "key-two"}, "two"),
        ({"X-API-Key": "key-two", "X-App-ID": "two"}, "two"),
        ({"X-API-Key": "key-two", "Authorization": "Bearer key-one"}, "one"),
        ({"X-API-Key": "key-two", "Authorization": "Basic a2V5LW9uZQ=="}, "two"),
    ],
)
async def test_the_key_may_come_as_the_gateways_apps_send_it_and_a_bearer_wins(
    world: ApiHarness, headers: dict[str, str], app: str
) -> None:
    async with world.client(None) as client:
        answer = await client.post("/v1/recordings", json={"session_id": "s"}, headers=headers)
    assert (answer.status_code, answer.json()["app_id"]) == (201, app)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-App-ID": "one"},
        {"X-API-Key": "key-one", "X-App-ID": "two"},
        {"Authorization": "Bearer key-one", "X-App-ID": "two"},
    ],
)
async def test_a_key_as_the_gateways_apps_send_it_must_be_that_of_the_app_they_name(
    world: ApiHarness, headers: dict[str, str]
) -> None:
    async with world.client(None) as stranger:
        assert (await stranger.get("/v1/sessions", headers=headers)).status_code == 401


async def test_a_key_that_takes_time_to_check_is_waited_for(world: ApiHarness) -> None:
    async with world.client("key-two") as client:
        assert (await client.post("/v1/recordings", json={"session_id": "s"})).json()["app_id"] == "two"


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("192.0.2.7", 401), ("socket", 401)]
)
async def test_no_key_is_needed_on_loopback_while_no_app_exists(world: ApiHarness, address: str, status: int) -> None:
    world.authenticator.open_on_loopback = True
    ours = {"Host": "127.0.0.1:8080"}
    async with world.client(None, address=address) as client:
        assert (await client.get("/v1/sessions", headers=ours)).status_code == status
        for other in (
            {"Host": "rebound.example:8080"},
            ours | {"Origin": "http://page.example"},
            ours | {"Via": "1.1 p"},
        ):
            assert (await client.get("/v1/sessions", headers=other)).status_code == 401


async def test_too_many_wrong_keys_answer_429_with_the_time_to_wait(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    world.authenticator.failures_left = 0
    response = await client.get("/v1/sessions")
    assert (response.status_code, response.headers["retry-after"]) == (429, "30")
    assert "192.0.2.7" in response.json()["detail"]


@pytest.mark.parametrize(("peer", "counted"), [("10.2.0.1", "203.0.113.9"), ("198.51.100.7", "198.51.100.7")])
async def test_wrong_keys_count_under_the_client_that_a_trusted_proxy_names(
    world: ApiHarness, peer: str, counted: str
) -> None:
    world.authenticator.failures_left = 0
    async with world.client("wrong", address=peer) as stranger:
        lines = [("X-Forwarded-For", "8.8.8.8"), ("X-Forwarded-For", "203.0.113.9")]
        assert counted in (await stranger.get("/v1/sessions", headers=lines)).json()["detail"]


async def test_the_gateway_counts_requests_under_the_client_that_a_trusted_proxy_names(world: ApiHarness) -> None:
    async with world.client(None, address="10.2.0.1") as proxy:
        left = [
            (await proxy.get("/admin/apps", headers={"X-Forwarded-For": client})).headers["x-ratelimit-remaining"]
            for client in ("203.0.113.8", "203.0.113.9", "203.0.113.8")
        ]
    assert left[0] == left[1] != left[2]


async def test_what_watches_over_the_server_needs_no_key(world: ApiHarness, subtests: pytest.Subtests) -> None:
    for path in ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"]:
        with subtests.test(f"{path!r:.80}"):
            async with world.client(None) as anyone:
                assert (await anyone.get(path)).status_code == 200


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1_000


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_whether_or_not_its_length_is_declared(
    world: ApiHarness, client: httpx.AsyncClient, declared: bool
) -> None:
    body = b'{"session_id": "s"}'
    headers = {"Content-Type": "application/json"}
    padded = body + b" " * (20_000 - len(body))
    assert (await client.post("/v1/recordings", content=padded, headers=headers)).status_code == 201
    content = padded + b" " if declared else _pieces(21)
    response = await client.post("/v1/recordings", content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (413, "application/problem+json")
    assert response.headers["connection"] == "close"
    assert "20000 bytes" in response.json()["detail"]
    assert len(world.commands.recordings) == 1


async def test_a_body_that_no_route_would_read_is_refused_too(client: httpx.AsyncClient, running: Recording) -> None:
    response = await client.post(f"/v1/recordings/{running.id}/stop", content=b" " * 20_001)
    assert response.status_code == 413


NOT_OURS = [
    ("GET", "/", 404, None),
    ("GET", "/v1/nothing", 404, None),
    ("GET", "/v1/recordings/", 404, None),
    ("GET", "/v1/recordings/x/stop", 405, "POST"),
    ("PUT", "/v1/recordings", 405, "GET, POST"),
    ("PUT", "/v1/recordings/x", 405, "DELETE, GET"),
    ("POST", "/files/x", 405, "GET, HEAD"),
    ("DELETE", "/healthz", 405, "GET, HEAD"),
]


async def test_addresses_and_methods_that_are_not_ours_are_problems(
    client: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    for method, path, status, allowed in NOT_OURS:
        with subtests.test(f"{method!r:.80} {path!r:.80} {status!r:.80} {allowed!r:.80}"):
            response = await client.request(method, path)
            assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
            assert response.json()["status"] == status
            assert response.headers.get("allow") == allowed


HALF_PAIRS = [
    *(b'"\\ud800"', b'"\\udfff"', b'"\\uDBff\\\\udc00"', b'"\\udc00\\ud800"', b'"\\\\\\ud83dx"', b'"\xed\xa0\x80"'),
    *('"\\ud800"'.encode(code) for code in ("utf-16", "utf-16-be", "utf-32-le")),
]


async def test_text_with_half_a_surrogate_pair_is_refused_wherever_it_stands(
    client: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    for half in HALF_PAIRS:
        with subtests.test(f"{half!r:.80}"):
            json_header = {"Content-Type": "application/json"}
            plain = b"\0" not in half
            bodies = [b'{"ids": [%b]}', b"{%b: 1}", b'{"session_id": "a", "metadata": {"k": %b}}'] if plain else [b"%b"]
            for path in ("/v1/webhooks/dead-letters/replay", "/v1/recordings", "/v1/sessions", "/v1/stream-tokens"):
                for body in bodies:
                    answer = await client.post(path, content=body % half, headers=json_header)
                    assert answer.status_code in (400, 422)


async def test_whole_surrogate_pairs_and_what_only_looks_like_half_of_one_are_text(client: httpx.AsyncClient) -> None:
    for text in (b'"\\ud83d\\ude00"', b'"\\\\ud800"', '"\ud7a3"'.encode(), '"\U0001f600"'.encode()):
        answer = await client.post(
            "/v1/webhooks/dead-letters/replay",
            content=b'{"ids": [%b]}' % text,
            headers={"Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()) == (200, {"replayed": 0})
