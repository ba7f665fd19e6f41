"""SignalWire's API over a real catalog and real keys, with calls behind it that are written down."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from obstore.store import MemoryStore

from tests.support.transcripts import transcripts_over
from tests.unit.api.fakes import START, Clock, live_view
from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.keys import KeyDigests
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.facade import FacadeDependencies
from wavstream.api.signalwire.mount import create
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.pages import Page
from wavstream.errors import Conflict, FieldError, InvalidFields, NotFound
from wavstream.model.app import App
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import new_id
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Receipt, Recording, Status
from wavstream.model.session import SessionView
from wavstream.sessions.commands import Commands
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.turns.fair_pool import FairPool

MASTER = b"m" * 32
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
PROJECT = "d369a402-7b43-4512-8735-9d5e1f387814"
CALL = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
SERVER_OPTIONS = RecordingOptions(format=FileFormat.WAV, beep=True, max_length_s=60, end_silence_timeout_s=7.0)
"""None of which SignalWire's callers are to notice."""


NATIVE = Origin()


@dataclass
class FakeCommands(Commands):
    """Calls that are live because a test says so, and recordings in a dictionary."""

    clock: Clock
    views: dict[tuple[str, str], SessionView] = field(default_factory=dict)
    """By app and call."""
    recordings: dict[str, Recording] = field(default_factory=dict)
    failure: Exception | None = None
    """Raised by whatever is asked next."""

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    def make_here(self, make: Callable[[], str]) -> str:
        """Return what is made: there is no other."""
        return make()

    def check_made_here(self, made: str) -> None:
        """Return: it was."""

    async def start(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        origin: Origin = NATIVE,
        idempotency_key: str | None = None,
        request_digest: str = "",
    ) -> Recording:
        self._fail()
        await asyncio.sleep(0)  # as the real one gives way to others
        recording_id = new_id()
        return self.put(
            Recording(
                id=recording_id,
                app_id=app_id,
                session_id=session_id,
                status=Status.ONGOING if (app_id, session_id) in self.views else Status.ACCEPTED,
                options=options,
                object_key=f"{app_id}/{recording_id}.{options.format}",
                file_name=f"call-1793527200.{options.format}",
                created_at=self.clock(),
                started_at=self.clock(),
                origin=origin,
            )
        )

    async def end(self, *, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        self._fail()
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if not recording.status.is_running:
            raise Conflict("the recording does not run", state=recording.status)
        self.put(recording.became(Status.COMPLETED, self.clock(), ended_at=self.clock()))
        return asyncio.get_running_loop().create_future()

    async def pause(self, *, app_id: str, recording_id: str, behavior: PauseBehavior | None = None) -> Recording:
        recording = await self._turn(app_id, recording_id, Status.ONGOING, Status.PAUSED)
        behavior = behavior or recording.options.pause_behavior
        return self.put(replace(recording, options=replace(recording.options, pause_behavior=behavior)))

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        return await self._turn(app_id, recording_id, Status.PAUSED, Status.ONGOING)

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        self._fail()
        recording = self.recordings.get(recording_id)
        if recording is None or recording.app_id != app_id:
            raise NotFound("no such recording")
        return recording

    def recordings_of(self, app_id: str, session_id: str) -> list[Recording]:
        self._fail()
        self.session(app_id, session_id)
        return [
            each
            for each in self.recordings.values()
            if each.app_id == app_id and each.session_id == session_id and each.status.is_unfinished
        ]

    async def list(self, *, app_id: str, filters: RecordingFilters, limit: int, cursor: str | None) -> Page[Recording]:
        self._fail()
        if cursor is not None and not cursor.isdecimal():
            raise InvalidFields((FieldError("cursor", "is not one that was given"),))
        mine = [
            each
            for each in reversed(self.recordings.values())
            if each.app_id == app_id and (filters.statuses is None or each.status in filters.statuses)
        ]
        first = int(cursor or 0)
        return Page(tuple(mine[first : first + limit]), str(first + limit) if len(mine) > first + limit else None)

    async def delete(self, *, app_id: str, recording_id: str, reason: str | None = None) -> None:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status.is_unfinished:
            raise Conflict(f"the recording is {recording.status}: stop it first", state=recording.status)
        self.put(recording.became(Status.DELETED, self.clock()))

    def is_known(self, app_id: str, session_id: str) -> bool:
        return (app_id, session_id) in self.views

    def session(self, app_id: str, session_id: str) -> SessionView:
        if (view := self.views.get((app_id, session_id))) is None:
            raise NotFound("no such session is live")
        return view

    # ---- what tests do behind the server's back ----------------------------------------------------------------

    def put(self, recording: Recording) -> Recording:
        self.recordings[recording.id] = recording
        return recording

    def stream(self, call: str = CALL, app_id: str = "shop") -> None:
        """Let the call be live, with a stream since the start."""
        self.views[app_id, call] = live_view(call, app_id)

    def finish(self, recording: Recording, *, samples: int = 489_920) -> Recording:
        """Let its file be there, for 24 hours."""
        return self.put(
            recording.became(
                Status.AVAILABLE,
                self.clock(),
                end_reason=EndReason.STOPPED,
                ended_at=self.clock(),
                expires_at=self.clock() + timedelta(hours=24),
                receipt=Receipt(sample_rate=8000, channels=1, samples=samples, audio_sha256="9f", size_bytes=122_480),
            )
        )

    @property
    def only(self) -> Recording:
        """The recording, where there is one."""
        (recording,) = self.recordings.values()
        return recording

    async def _turn(self, app_id: str, recording_id: str, before: Status, after: Status) -> Recording:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status is not before:
            raise Conflict(f"the recording is {recording.status}, not {before}", state=recording.status)
        return self.put(recording.became(after, self.clock()))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class SignalWire:
    """The API, and what is behind it."""

    commands: FakeCommands
    parts: FacadeDependencies
    clock: Clock
    storage: LocalStorage
    bucket: Any

    def client(self, headers: dict[str, str], **changes: Any) -> httpx.AsyncClient:
        """Of an API of its own; ``changes`` are other limits and rules."""
        app = create(replace(self.parts, **changes))
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://rec.example.com", headers=headers)


def basic(project: str, key: str) -> dict[str, str]:
    """Return the headers of a caller."""
    return {"Authorization": "Basic " + base64.b64encode(f"{project}:{key}".encode()).decode()}


STORE = "s3://calls"
SHOP = basic(PROJECT, KEYS["shop"])
BANK = basic("the-bank", KEYS["bank"])


@pytest.fixture
async def signalwire(catalog: Catalog, tmp_path: Path) -> SignalWire:
    """Return the API; the app ``bank`` lists its project, ``shop`` lists none."""
    for app_id, key in KEYS.items():
        accounts = {"signalwire": ("the-bank",)} if app_id == "bank" else {}
        app = App(app_id, created_at=START, vendor_accounts=accounts)
        assert await catalog.apps.add(app, **KeyDigests(MASTER).kept(key))
    clock = Clock()
    commands = FakeCommands(clock)
    storage, bucket = LocalStorage(tmp_path), MemoryStore()
    app_cache = AppCache(catalog.apps, lambda: 0.0, server_options=SERVER_OPTIONS)
    parts = FacadeDependencies(
        commands=commands,
        authenticator=Authenticator(app_keys=catalog.app_keys, app_cache=app_cache, master=MASTER, now=clock),
        app_cache=app_cache,
        urls=PublicUrls(LinkKeys((LinkKey("k1", b"s" * 32, START),)), "https://rec.example.com"),
        files=(files := FinishedFiles(storage, Stores(ObjectStore(STORE, bucket)))),
        operations=catalog.operations,
        deliveries=catalog.deliveries,
        transcripts=transcripts_over(catalog, files, clock),
        signing_keys=SigningKeys(MASTER),
        sounds=FairPool("sound", threads=2),
        stored_downloads=FairPool("stored", threads=2),
        now=clock,
        body_limit_bytes=20_000,
    )
    return SignalWire(commands, parts, clock, storage, bucket)


@pytest.fixture
async def shop(signalwire: SignalWire) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the app ``shop``, which has a live call."""
    signalwire.commands.stream()
    async with signalwire.client(SHOP) as client:
        yield client
