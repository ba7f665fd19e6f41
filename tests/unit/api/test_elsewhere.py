"""What is another worker's is handed over by every API alike; where that worker takes nothing, each says so its way."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import pytest

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.gateway.conftest import ADMIN_KEY
from wavstream.workers.boundary import Elsewhere, WorkerUnavailable

KEY = {"Authorization": "Bearer key-one"}
SHOP = {"X-App-ID": "shop", "X-API-Key": "the-key-of-the-shop-app"}
CALL = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
BIRD = f"/workspaces/{CALL}/channels/{CALL}/calls/{CALL}/recordings"
SIGNALWIRE = {"Authorization": f"Basic {base64.b64encode(b'project:key-one').decode()}"}
REQUESTS = {
    "native": ("GET", "/v1/sessions/call-77", KEY, None),
    "native, with a body": ("POST", "/v1/recordings", KEY, {"session_id": "call-77"}),
    "telnyx": ("POST", "/v2/calls/call-77/actions/record_start", KEY, {"format": "wav", "channels": "single"}),
    "bird": ("POST", BIRD, {"Authorization": "AccessKey key-one"}, {}),
    "signalwire": ("POST", "/api/calling/calls", SIGNALWIRE, {"id": CALL, "command": "calling.record"}),
    "gateway": ("POST", "/api/v1/sessions/call-77/commands/record/start", SHOP, {}),
}
SHAPES = {
    "native": {"type", "title", "status", "detail"},
    "native, with a body": {"type", "title", "status", "detail"},
    "telnyx": {"errors"},
    "bird": {"code", "message"},
    "signalwire": {"error", "message"},
    "gateway": {"success", "error"},
}


class Connection:
    """Takes the place of a connection that is handed over, or cannot be."""

    def __init__(self, *, is_taken: bool) -> None:
        self.is_taken = is_taken
        self.asked: list[int] = []

    async def hand_over(self, worker: int) -> None:
        self.asked.append(worker)
        if not self.is_taken:
            raise WorkerUnavailable(worker)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


async def ask(world: ApiHarness, request: tuple[str, str, Any, Any], connection: Connection) -> Answer | None:
    """Return the answer of the application; None: it gave none."""
    method, path, headers, said = request
    body = b"" if said is None else json.dumps(said).encode()
    lines = {"host": "rec.example.com", "content-type": "application/json", "content-length": str(len(body)), **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in lines.items()],
        "client": ("192.0.2.7", 1),
        "server": ("rec.example.com", 443),
        "extensions": {"wavstream.connection": {"connection": connection}},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app(scope, receive, send)
    if not sent:
        return None
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, json.loads(b"".join(each.get("body", b"") for each in sent[1:])))


@pytest.fixture
async def elsewhere(world: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> ApiHarness:
    """Return a world in which every session is another worker's."""

    def raises(*_: object, **__: object) -> None:
        raise Elsewhere(3)

    monkeypatch.setattr(world.commands, "check_here", raises)
    monkeypatch.setattr(world.commands, "is_known", raises)
    monkeypatch.setattr(world.commands, "session", raises)
    monkeypatch.setattr(world.commands, "start", raises)
    admin = {"X-Admin-API-Key": ADMIN_KEY}
    async with world.client(key=None) as client:
        made = await client.post("/admin/apps/shop", json={"api_key": SHOP["X-API-Key"]}, headers=admin)
        assert made.status_code in (200, 201), made.text
    monkeypatch.setattr("tests.unit.api.gateway.conftest.FakeCommands.start", raises)
    return world


@pytest.mark.parametrize("api", REQUESTS)
async def test_a_request_for_a_session_of_another_worker_goes_there_and_is_not_answered_here(
    elsewhere: ApiHarness, api: str
) -> None:
    connection = Connection(is_taken=True)
    assert await ask(elsewhere, REQUESTS[api], connection) is None
    assert connection.asked == [3]


@pytest.mark.parametrize("api", REQUESTS)
async def test_where_the_other_worker_takes_nothing_each_api_says_when_to_come_back(
    elsewhere: ApiHarness, api: str
) -> None:
    answer = await ask(elsewhere, REQUESTS[api], Connection(is_taken=False))
    assert answer is not None
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.body.keys() >= SHAPES[api]
    assert "being started again" in json.dumps(answer.body)
