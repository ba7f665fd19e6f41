"""An HTTP client of the application over a small world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from fastapi import FastAPI
from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.transcripts import transcripts_over
from tests.unit.api.fakes import (
    START,
    Clock,
    FakeAppCache,
    FakeAuthenticator,
    FakeCommands,
    FakeHolds,
    FakeRecordings,
    NobodyLive,
    NobodyLooks,
    NoWaveforms,
)
from tests.unit.api.gateway.conftest import FakeCommands as GatewayCommands
from tests.unit.api.gateway.conftest import parts_over
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.app import create_app
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.facade import FacadeDependencies
from wavstream.api.registry import VOCABULARIES
from wavstream.catalog.catalog import Catalog
from wavstream.conversion.conversions import Conversions
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, StoredObject
from wavstream.sessions.admission import DiskReserve
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.open_files import OpenFiles
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.turns.fair_pool import FairPool, Places
from wavstream.webhooks.message import MessageBuilder

BASE = "https://rec.example.com"
STORE = "s3://calls"


@dataclass
class ApiHarness:
    """The application and what is behind it."""

    app: FastAPI
    commands: FakeCommands
    authenticator: FakeAuthenticator
    clock: Clock
    registry: CollectorRegistry
    links: LinkKeys
    conversions: Conversions
    downloads: FairPool
    stored_downloads: FairPool
    catalog: Catalog
    bucket: Any
    files: FinishedFiles
    reasons: list[str] = field(default_factory=list)
    to_come: list[Exception] = field(default_factory=list)
    """Why it cannot be said of a file that was not found that it is missing."""
    on_missing: list[Callable[[], object]] = field(default_factory=list)
    """Called when that is asked."""

    def upload(self, recording: Recording) -> Recording:
        """Put the file into the store, as who uploads does, and remove it here."""
        path = self.commands.storage.path(recording.object_key)
        done = obstore.put(self.bucket, recording.object_key, path.read_bytes())
        path.unlink()
        return self.commands.put(replace(recording, stored=StoredObject(STORE, self.clock(), done["e_tag"])))

    def client(self, key: str | None = "key-one", *, address: str = "192.0.2.7") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 1), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


@pytest.fixture
async def world(tmp_path: Path, catalog: Catalog) -> AsyncIterator[ApiHarness]:
    clock = Clock()
    storage = LocalStorage(tmp_path / "recordings")
    storage.prepare(spool := tmp_path / "spool")
    bucket = MemoryStore()
    stores = Stores(ObjectStore(STORE, bucket))
    files = FinishedFiles(storage, stores)
    conversions = Conversions(
        storage=storage,
        files=files,
        spool=spool,
        reserve=DiskReserve(spool, 0),
        places=Places(in_all=3, of_app=2, setting="limits.conversions"),
        max_bytes=1 << 40,
    )
    places = Places(in_all=4, of_app=3, setting="limits.downloads")
    downloads = FairPool("download", threads=2, places=places)
    stored_downloads = FairPool("stored-download", threads=2, places=places)
    commands = FakeCommands(clock, storage)
    authenticator, registry, reasons = FakeAuthenticator(), CollectorRegistry(), list[str]()
    to_come, on_missing = list[Exception](), list[Callable[[], object]]()
    links = LinkKeys((LinkKey("k1", b"s" * 32, START),))

    async def readiness() -> list[str]:
        return reasons

    async def check_missing(_recording: Recording) -> None:
        for each in on_missing:
            each()
        if to_come:
            raise to_come[0]

    async def metrics() -> bytes:
        return generate_latest(registry)

    transcripts = transcripts_over(catalog, files, clock)
    urls, app_cache = PublicUrls(links, BASE), FakeAppCache()
    app = create_app(
        ApiDependencies(
            commands=commands,
            holds=FakeHolds(commands),
            dead_letters=catalog.dead_letters,
            authenticator=authenticator,
            app_cache=app_cache,
            urls=urls,
            recordings=FakeRecordings(commands),
            storage=storage,
            files=files,
            open_files=OpenFiles(),
            conversions=conversions,
            downloads=downloads,
            stored_downloads=stored_downloads,
            live=NobodyLive(),
            pages=NobodyLooks(),
            waveforms=NoWaveforms(),
            check_missing=check_missing,
            transcripts=transcripts,
            messages=MessageBuilder(
                vocabularies=VOCABULARIES,
                open_secret=lambda sealed, _: sealed,
                key_of=lambda app_id, api: b"k" * 32,
                file_url=urls.signed,
            ),
            readiness=readiness,
            metrics=metrics,
            now=clock,
            body_limit_bytes=20_000,
            page_limit=200,
            link_ttl_s=600,
            trusted_proxies=(ip_network("10.2.0.0/16"),),
        ),
        parts_over(catalog, GatewayCommands()),
        FacadeDependencies(
            commands=commands,
            authenticator=authenticator,
            app_cache=app_cache,
            urls=urls,
            files=files,
            operations=catalog.operations,
            deliveries=catalog.deliveries,
            transcripts=transcripts,
            signing_keys=SigningKeys(b"m" * 32),
            sounds=FairPool("sound", threads=2),
            stored_downloads=stored_downloads,
            now=clock,
        ),
    )
    yield ApiHarness(
        app=app,
        commands=commands,
        authenticator=authenticator,
        clock=clock,
        registry=registry,
        links=links,
        conversions=conversions,
        downloads=downloads,
        stored_downloads=stored_downloads,
        catalog=catalog,
        bucket=bucket,
        files=files,
        reasons=reasons,
        to_come=to_come,
        on_missing=on_missing,
    )
    await conversions.stop()
    await downloads.stop()
    await stored_downloads.stop()


@pytest.fixture
async def client(world: ApiHarness) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


@pytest.fixture
async def running(world: ApiHarness) -> Recording:
    """Return a recording of app one that runs."""
    return await world.commands.start(
        app_id="one", session_id="call-77", options=RecordingOptions(), idempotency_key=None, request_digest=""
    )


@pytest.fixture
def audio() -> bytes:
    """Return a file of three reads and a bit."""
    return bytes(range(251)) * 3_500


@pytest.fixture
def place() -> str:
    """Where the files of finished recordings lie: ``here``, or in a ``store``."""
    return "here"


@pytest.fixture
def finished(world: ApiHarness, running: Recording, audio: bytes, place: str) -> Recording:
    """Return a recording of app one whose file lies in that place."""
    recording = world.commands.finish(running, audio)
    return world.upload(recording) if place == "store" else recording
