"""Telnyx's API, in two ways, both without sockets.

``telnyx`` is a whole server in this process: recordings are put into its catalog as rows. ``calls`` is the API over a
real catalog with calls behind it that a test sets going, and a clock that stands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr

from tests.support.faulty_database import make_if_missing
from tests.support.recorder import Wall
from tests.support.transcripts import transcripts_over
from tests.unit.api.fakes import Clock, FakeAppCache, FakeAuthenticator
from tests.unit.api.telnyx.calls import FakeCalls
from wavstream.access.keys import KeyDigests
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.facade import FacadeDependencies, FacadeRules
from wavstream.api.telnyx.mount import create
from wavstream.catalog.catalog import Catalog
from wavstream.model.app import App
from wavstream.model.call import CallFacts
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Receipt, Recording, Status
from wavstream.service.service import Service
from wavstream.settings import Settings
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls
from wavstream.storage.local import LocalStorage
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.turns.fair_pool import FairPool

ADMIN = {"X-Admin-API-Key": "key-of-the-administrators"}
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
CALL = "v3:MdI91X4l/WFEs7Ig"
"""With all that a call control id may hold."""
CREATED = datetime(2026, 11, 1, 10, tzinfo=UTC)
IDS = {
    "call_leg_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c1",
    "call_session_id": "428c31b6-abf3-3bc1-b7f4-5013ef9657c1",
    "connection_id": "1700000000000000001",
}
START: dict[str, Any] = {"format": "wav", "channels": "dual"}


def recording(status: Status = Status.AVAILABLE, **changes: Any) -> Recording:
    """Return a recording of the shop's call, a minute and a bit long where it has ended with audio."""
    recording_id = changes.get("id", new_id())
    is_over = not status.is_running
    had_file = status in (Status.AVAILABLE, Status.EXPIRED, Status.DELETED)
    fields: dict[str, Any] = {
        "id": recording_id,
        "app_id": "shop",
        "session_id": CALL,
        "status": status,
        "options": RecordingOptions(),
        "object_key": f"shop/{recording_id}.wav",
        "file_name": "call-1793527200.wav",
        "created_at": CREATED,
        "started_at": None if status is Status.ACCEPTED else CREATED,
        "ended_at": CREATED + timedelta(seconds=61.24) if is_over else None,
        "updated_at": CREATED + timedelta(seconds=61.3) if is_over else None,
        "end_reason": EndReason.STOPPED if is_over else None,
        "expires_at": datetime(2030, 1, 1, tzinfo=UTC) if had_file else None,
        "receipt": Receipt(8000, 2, 489_920, "9f" * 32, 1_959_724) if had_file else None,
        "call": CallFacts(from_="+15550100", to="+15550199", vendor_ids=IDS),
        "origin": Origin(api="telnyx", command="record_start"),
    }
    return Recording(**(fields | changes))


class Caller(httpx.AsyncClient):
    """A client with the key of an app."""

    async def announce(self, call: str = CALL, **facts: Any) -> None:
        """Make a call known to the server."""
        answer = await self.post("/v1/sessions", json={"session_id": call, **facts})
        assert answer.status_code == 201, answer.text

    async def act(self, name: str, call: str = CALL, *, again: int = 0, **said: Any) -> httpx.Response:
        """Send a command to a call, for the ``again``-th time."""
        path = f"/v2/calls/{quote(call, safe=':')}/actions/{name}"
        return await self.post(path, json=said, headers={"x-stainless-retry-count": str(again)})

    async def start(self, call: str = CALL, *, again: int = 0, **said: Any) -> str:
        """Start a recording; return its id."""
        answer = await self.act("record_start", call, again=again, **{**START, **said})
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["result"] == "ok"
        return str(answer.json()["data"]["recording_id"])


@dataclass
class Telnyx:
    """A server, and the wall clock that it goes by."""

    service: Service
    wall: Wall
    stack: AsyncExitStack

    def client(self, key: str | None = KEYS["shop"]) -> Caller:
        """Return a client with a key."""
        transport = httpx.ASGITransport(self.service.app, client=("192.0.2.7", 1), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        made = Caller(transport=transport, base_url="http://rec", headers=headers)
        self.stack.push_async_callback(made.aclose)
        return made

    def path(self, recording: Recording) -> Path:
        """Return where the file of a recording lies."""
        return self.service.folder.recordings / recording.object_key

    async def put(self, status: Status = Status.AVAILABLE, **changes: Any) -> Recording:
        """Put a recording into the catalog, and return it."""
        made = recording(status, **changes)
        assert await self.service.catalog.recordings.add(made)
        return made


@asynccontextmanager
async def server(data_dir: Path, **settings: Any) -> AsyncIterator[Telnyx]:
    """Run a server with two apps."""
    async with AsyncExitStack() as stack:
        admin_key = SecretStr(ADMIN["X-Admin-API-Key"])
        make_if_missing(data_dir / "catalog.db")
        service = Service(Settings(data_dir=data_dir, admin_api_key=admin_key, **settings), wall=(wall := Wall()))
        stack.push_async_callback(service.stop)
        await service.start()
        made = Telnyx(service, wall, stack)
        # Not by the administrators' API: that is an application more to make.
        digests = KeyDigests(service.master)
        for app_id, key in KEYS.items():
            assert await service.catalog.apps.add(App(app_id, wall()), **digests.kept(key))
        await service.authenticator.refresh()
        yield made


@pytest.fixture
async def telnyx(tmp_path: Path) -> AsyncIterator[Telnyx]:
    """Yield a server as it comes."""
    async with server(tmp_path) as made:
        yield made


@pytest.fixture
def shop(telnyx: Telnyx) -> Caller:
    """Return a client of the app whose call is recorded."""
    return telnyx.client()


@pytest.fixture
def bank(telnyx: Telnyx) -> Caller:
    """Return a client of another app."""
    return telnyx.client(KEYS["bank"])


@dataclass
class Calls:
    """The API over calls that a test sets going. The app ``one`` has the key ``key-one``, ``two`` has ``key-two``."""

    commands: FakeCalls
    clock: Clock
    catalog: Catalog
    parts: FacadeDependencies
    stack: AsyncExitStack

    def client(self, key: str | None = "key-one", *, rules: FacadeRules | None = None) -> Caller:
        """Return a client with a key, of a server with these rules."""
        parts = self.parts if rules is None else replace(self.parts, rules=rules)
        transport = httpx.ASGITransport(create(parts), client=("192.0.2.7", 1), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        made = Caller(transport=transport, base_url="http://rec", headers=headers)
        self.stack.push_async_callback(made.aclose)
        return made


@pytest.fixture
async def calls(tmp_path: Path, catalog: Catalog) -> AsyncIterator[Calls]:
    """Yield an API over no calls."""
    clock = Clock(CREATED)
    commands = FakeCalls(clock)
    parts = FacadeDependencies(
        commands=commands,
        authenticator=FakeAuthenticator(),
        app_cache=FakeAppCache(),
        urls=PublicUrls(LinkKeys((LinkKey("k1", b"s" * 32, CREATED),)), "https://rec.example.com"),
        files=(files := FinishedFiles(LocalStorage(tmp_path / "recordings"), Stores())),
        operations=catalog.operations,
        deliveries=catalog.deliveries,
        transcripts=transcripts_over(catalog, files, clock),
        signing_keys=SigningKeys(b"m" * 32),
        sounds=FairPool("sound", threads=2),
        stored_downloads=FairPool("stored", threads=2),
        now=clock,
    )
    async with AsyncExitStack() as stack:
        yield Calls(commands, clock, catalog, parts, stack)


@pytest.fixture
def one(calls: Calls) -> Caller:
    """Return a client of the first app."""
    return calls.client()
