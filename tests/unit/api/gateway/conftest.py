"""The gateway's API over a real catalog and real keys, with sessions behind it that are a list of what was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import httpx
import pytest
from starlette.applications import Starlette

from tests.unit.api.fakes import START, NobodyLive
from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.keys import KeyDigests
from wavstream.access.secret_box import SecretBox
from wavstream.api.gateway.commands import Command, GatewayCommands
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.mount import create_gateway
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.model.operation import Operation
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording

MASTER = b"m" * 32
ADMIN_KEY = "key-of-the-administrators"
ADMIN = {"X-Admin-API-Key": ADMIN_KEY}
KEY = "the-key-of-the-shop-app"
SHOP = {"X-App-ID": "shop", "X-API-Key": KEY}
SERVER_OPTIONS = RecordingOptions(format=FileFormat.MP3, max_length_s=60)


@dataclass
class FakeCommands(GatewayCommands):
    """Takes every command on, or refuses it."""

    failure: Exception | None = None
    asked: list[tuple[Command, str, str, str | None]] = field(default_factory=list)
    options: RecordingOptions | None = None
    """Of the last start."""
    running: Recording | None = None

    async def start(
        self, *, app_id: str, session_id: str, command_uid: str | None, options: RecordingOptions
    ) -> Operation:
        self.options = options
        return self._taken(Command.RECORD_START, app_id, session_id, command_uid)

    async def stop(self, *, app_id: str, session_id: str, command_uid: str | None) -> Operation:
        return self._taken(Command.RECORD_STOP, app_id, session_id, command_uid)

    def newest(self, *, app_id: str, session_id: str) -> Recording | None:
        if self.failure is not None:
            raise self.failure
        return self.running

    def _taken(self, command: Command, app_id: str, session_id: str, command_uid: str | None) -> Operation:
        if self.failure is not None:
            raise self.failure
        self.asked.append((command, app_id, session_id, command_uid))
        return Operation(
            id="operation-1",
            app_id=app_id,
            session_id=session_id,
            command=command,
            request_id=command_uid or "made",
            recording_id="r1",
            at=START,
        )


@dataclass
class Gateway:
    """The API, and what is behind it."""

    commands: FakeCommands
    catalog: Catalog
    parts: GatewayDependencies
    seconds: float = 0.0
    """What the clock shows."""

    def app(self, **changes: object) -> Starlette:
        """Return an API of its own, in which nothing was counted yet; ``changes`` are other limits and settings."""
        return create_gateway(replace(self.parts, clock=lambda: self.seconds, **changes))  # type: ignore[arg-type]

    def client(self, headers: dict[str, str], **changes: object) -> httpx.AsyncClient:
        """Of an API of its own."""
        transport = httpx.ASGITransport(self.app(**changes), client=("192.0.2.7", 1), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://rec.example.com", headers=headers)


def parts_over(catalog: Catalog, commands: FakeCommands) -> GatewayDependencies:
    """Return the parts of an API in which only the sessions are not real."""

    def now() -> datetime:
        return START

    app_cache = AppCache(catalog.apps, lambda: 0.0, server_options=SERVER_OPTIONS)
    authenticator = Authenticator(app_keys=catalog.app_keys, app_cache=app_cache, master=MASTER, now=now)
    return GatewayDependencies(
        commands=commands,
        authenticator=authenticator,
        apps=catalog.apps,
        app_cache=app_cache,
        live=NobodyLive(),
        secret_box=SecretBox(MASTER),
        digests=KeyDigests(MASTER),
        admin_key=ADMIN_KEY,
        vendors=("gateway", "bird"),
        wrong_event=VOCABULARIES.wrong_event,
        now=now,
        clock=lambda: 0.0,
    )


@pytest.fixture
def gateway(catalog: Catalog) -> Gateway:
    commands = FakeCommands()
    return Gateway(commands, catalog, parts_over(catalog, commands))


@pytest.fixture
async def admin(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(ADMIN) as client:
        yield client


@pytest.fixture
async def shop(gateway: Gateway, admin: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the app ``shop``, which is registered."""
    assert (await admin.post("/admin/apps/shop", json={"api_key": KEY})).status_code == 200
    async with gateway.client(SHOP) as client:
        yield client
