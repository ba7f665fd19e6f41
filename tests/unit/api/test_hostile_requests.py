"""Whatever stands in a header or a body of a request, to any API: the answer is the caller's mistake or none."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr
from websockets.datastructures import Headers
from websockets.http11 import Request

from tests.support.faulty_database import make_if_missing
from tests.support.hostile_http import (
    BODIES,
    HEADERS,
    Answer,
    Header,
    Operation,
    ask,
    latin,
    operations,
    spoiled,
)
from tests.support.routes import ROUTES
from tests.unit.api.bird.conftest import recording
from wavstream.access.twilio_signature import TwilioAccount
from wavstream.api.registry import FACADES
from wavstream.errors import PeerError
from wavstream.media.request import read_request
from wavstream.service.service import Service
from wavstream.settings import Settings

KEY = "the-key-of-the-default-app"
ADMIN = "the-key-of-the-administrators"
FILE = bytes(range(256)) * 4
CALL = "call-77"


@dataclass
class World:
    """A server, what is asked of it, and a file that it has."""

    service: Service
    operations: list[Operation]
    file_path: str

    async def ask(self, method: str, path: str, *headers: Header, body: bytes = b"") -> Answer:
        """Ask with a right key, where no header says otherwise."""
        named = {name.lower() for name, _ in headers}
        usual = (each for each in usual_headers(path).items() if each[0] not in named)
        return await ask(self.service.app, method, path, headers=(*usual, *headers), body=body)


def usual_headers(path: str) -> Mapping[str, bytes]:
    scheme, key = "Bearer", KEY
    if path.startswith("/workspaces"):
        scheme = "AccessKey"
    elif path.startswith(("/api/calling", "/api/relay", "/swml")):
        scheme, key = "Basic", base64.b64encode(f"project:{KEY}".encode()).decode()
    return {
        "host": b"rec.example.com",
        "content-type": b"application/json",
        "authorization": f"{scheme} {key}".encode(),
        **({"x-app-id": b"default", "x-api-key": KEY.encode()} if path.startswith("/api/v1/") else {}),
        **({"x-admin-api-key": ADMIN.encode()} if path.startswith("/admin") else {}),
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    make_if_missing(tmp_path / "catalog.db")
    settings = Settings(
        data_dir=tmp_path,
        api_key=SecretStr(KEY),
        admin_api_key=SecretStr(ADMIN),
        trusted_proxies=(ip_network("192.0.2.0/24"),),
    )
    service = Service(settings)
    await service.start()
    world = World(service, [], "")
    assert (await world.ask("POST", "/v1/sessions", body=json.dumps({"session_id": CALL}).encode())).status == 201
    row = recording(app_id="default")
    assert await service.catalog.recordings.add(row)
    file = service.folder.recordings / row.object_key
    file.parent.mkdir(parents=True)
    file.write_bytes(FILE)
    url = json.loads((await world.ask("GET", f"/v1/recordings/{row.id}")).body)["url"]
    world.file_path = f"/{url.partition('://')[2].partition('/')[2]}"
    for name in ("openapi.json", "openapi/gateway.json", *(f"openapi/{facade.name}.json" for facade in FACADES)):
        document = json.loads((await world.ask("GET", f"/{name}")).body)
        found = operations(document, lambda name: row.id if "recording" in name else CALL)
        # The one never ends, the other says 503 here: nobody has set an engine.
        world.operations += [each for each in found if not each.path.endswith(("/v1/live", "/transcription"))]
    yield world
    await service.stop()


async def test_no_header_and_no_body_makes_a_mistake_of_the_servers(world: World) -> None:
    await send_headers(world)
    await send_bodies(world)


async def send_headers(world: World) -> None:
    rng = random.Random(16)
    paths = [
        ("GET", world.file_path),
        ("HEAD", world.file_path),
        *((each.method, each.path) for each in world.operations),
    ]
    for name, values in HEADERS.items():
        for value in values:
            # A file reads most headers; of the others each API is asked with some.
            for method, path in (paths[0], rng.choice(paths)):
                answer = await world.ask(method, path, (name, latin(value)), ("Range", b"bytes=1-2"), body=b"{}")
                assert 200 <= answer.status < 500, (method, path, name, value[:80], answer)


async def send_bodies(world: World) -> None:
    rng = random.Random(16)
    asked, seen = 0, set[int]()
    for method, path, body in world.operations:
        if body is None:
            continue
        wrong = [*BODIES, *rng.sample(every := list(spoiled(body)), min(8, len(every)))]
        for content in wrong:
            answer = await world.ask(method, path, body=content)
            assert 200 <= answer.status < 500, (method, path, content[:300], answer)
            seen.add(answer.status)
            asked += 1
    assert asked > 300
    assert {200, 400, 422} <= seen


def test_no_header_of_any_text_makes_a_mistake_of_ours_at_a_media_socket() -> None:
    account = TwilioAccount(auth_token="token", app_id="default", public_url="https://rec.example.com/calls")
    signed = 0
    for name, values in HEADERS.items():
        for value in (each for each in values if "\x00" not in each):  # such a line is refused before
            headers = Headers({"Host": "rec.example.com"})
            if name != "X-Twilio-Signature":
                headers["X-Twilio-Signature"] = "c2lnbmVk"
            headers[name] = value
            with suppress(PeerError):
                request = read_request(
                    Request("/media/twilio/a/b%20c?token=%ff&app=%", headers),
                    routes=ROUTES,
                    peer_host="127.0.0.1",
                )
                assert request.credentials.signed is not None
                signed += 1
                account.app_of(request.credentials.signed)
    assert signed > 50
