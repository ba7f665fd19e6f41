"""Bird's API over a whole server in this process, without sockets: calls are announced, recordings are put as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from pydantic import SecretStr

from tests.support.faulty_database import make_if_missing
from tests.support.recorder import Wall
from tests.unit.api.bird.schemas import check
from wavstream.access.keys import KeyDigests
from wavstream.model.app import App
from wavstream.model.ids import new_id
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Receipt, Recording, Status
from wavstream.service.service import Service
from wavstream.settings import Settings

ADMIN = {"X-Admin-API-Key": "key-of-the-administrators"}
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
WORKSPACE = "3f0c2a7d-1e90-4b6e-9a55-7c1d0e5f8b21"
OTHER_WORKSPACE = "7d1e904b-6e9a-4557-8c1d-0e5f8b213f0c"
CHANNEL = "88c2a0de-2f4b-4f0e-a3d4-6e1f0b5c7a22"
OTHER_CHANNEL = "0de2f4b4-f0ea-43d4-9e1f-0b5c7a2288c2"
CALL = "1a6f4c1e-63d9-4b0e-8f2a-0a4f7b2c9d10"
W = f"/workspaces/{WORKSPACE}"
C = f"{W}/channels/{CHANNEL}/calls/{CALL}"
CREATED = datetime(2026, 11, 1, 9, 59, tzinfo=UTC)
SAID = {"workspaceId": WORKSPACE, "channelId": CHANNEL}
MP3 = RecordingOptions(format=FileFormat.MP3, channels=ChannelLayout.MONO)


def recording(status: Status = Status.AVAILABLE, **changes: Any) -> Recording:
    """Return a recording of the shop's call, a minute and a bit long where it has ended with audio."""
    recording_id = changes.get("id", new_id())
    is_over = status not in (Status.ACCEPTED, Status.ONGOING, Status.PAUSED)
    had_file = status in (Status.AVAILABLE, Status.EXPIRED, Status.DELETED)
    fields: dict[str, Any] = {
        "id": recording_id,
        "app_id": "shop",
        "session_id": CALL,
        "status": status,
        "options": MP3,
        "object_key": f"shop/{recording_id}.mp3",
        "file_name": "call-1793527200.mp3",
        "created_at": CREATED,
        "started_at": None if status is Status.ACCEPTED else CREATED,
        "ended_at": CREATED + timedelta(seconds=61.24) if is_over else None,
        "end_reason": EndReason.STOPPED if is_over else None,
        "expires_at": datetime(2030, 1, 1, tzinfo=UTC) if had_file else None,
        "receipt": Receipt(8000, 1, 489_920, "9f" * 32, 489_472) if had_file else None,
        "origin": Origin(api="bird", command="recordCall", said=SAID),
    }
    return Recording(**(fields | changes))


class ClientMaker(Protocol):
    """Makes clients with a key, each answer to which is checked by its schema."""

    def __call__(self, key: str | None, address: str = ...) -> httpx.AsyncClient: ...


@dataclass
class Bird:
    """A server, the wall clock that it goes by, and how to be its user."""

    service: Service
    wall: Wall
    client: ClientMaker

    async def put(self, status: Status = Status.AVAILABLE, **changes: Any) -> Recording:
        """Put a recording into the catalog, and return it."""
        made = recording(status, **changes)
        assert await self.service.catalog.recordings.add(made)
        return made


@asynccontextmanager
async def server(data_dir: Path, **settings: Any) -> AsyncIterator[Bird]:
    """Run a server with two apps, the workspace of which is that of one."""
    async with AsyncExitStack() as stack:
        admin_key = SecretStr(ADMIN["X-Admin-API-Key"])
        make_if_missing(data_dir / "catalog.db")
        service = Service(Settings(data_dir=data_dir, admin_api_key=admin_key, **settings), wall=(wall := Wall()))
        stack.push_async_callback(service.stop)
        await service.start()

        def client(key: str | None, address: str = "192.0.2.7") -> httpx.AsyncClient:
            transport = httpx.ASGITransport(service.app, client=(address, 1), raise_app_exceptions=False)
            headers = {"Authorization": f"AccessKey {key}"} if key else {}
            made = httpx.AsyncClient(
                transport=transport, base_url="http://rec", headers=headers, event_hooks={"response": [check]}
            )
            stack.push_async_callback(made.aclose)
            return made

        # Not by the administrators' API: that is an application more to make.
        digests = KeyDigests(service.master)
        for app_id, accounts in (("shop", {"bird": (WORKSPACE, OTHER_WORKSPACE)}), ("bank", {})):
            app = App(app_id, wall(), vendor_accounts=accounts)
            assert await service.catalog.apps.add(app, **digests.kept(KEYS[app_id]))
        await service.authenticator.refresh()
        yield Bird(service, wall, client)


@pytest.fixture
async def bird(tmp_path: Path) -> AsyncIterator[Bird]:
    """Yield a server as it comes."""
    async with server(tmp_path) as made:
        yield made


@pytest.fixture
def shop(bird: Bird) -> httpx.AsyncClient:
    """Return a client with the key of the app that lists its workspaces; each answer is checked by its schema."""
    return bird.client(KEYS["shop"])


@pytest.fixture
def bank(bird: Bird) -> httpx.AsyncClient:
    """Return a client of the app that lists no workspace."""
    return bird.client(KEYS["bank"])


async def announce(client: httpx.AsyncClient, call_id: str = CALL, **facts: Any) -> None:
    """Make the call known to the server."""
    key = client.headers["authorization"].removeprefix("AccessKey ")
    answer = await client.post(
        "/v1/sessions", json={"session_id": call_id, **facts}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 201, answer.text
