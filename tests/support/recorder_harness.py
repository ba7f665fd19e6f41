"""A data folder with everything real in it, and faults in storage and catalog from a list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.journals import a_writer, append, started
from tests.support.sessions import TIMING, at
from wavstream.catalog.catalog import Catalog
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.records import SegmentHeader
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import ANNOUNCED, Fact, FactKind, recording_fact
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.published import published
from wavstream.model.recording import Recording
from wavstream.model.times import utc
from wavstream.recorder.recorder import Folders, Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.sessions.disk_reserve import DiskReserve
from wavstream.sessions.new_recordings import NewRecordings
from wavstream.sessions.registry import Sessions
from wavstream.sessions.session import Session
from wavstream.storage.keys import KeyTemplate
from wavstream.storage.local import LocalStorage

KEPT = timedelta(hours=24)


class FaultyStorage(LocalStorage):
    """Local storage whose next publishes fail as listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.faults: list[Exception] = []

    def publish(self, spool: Path, object_key: str, *, sidecar: bytes | None) -> None:
        if self.faults:
            raise self.faults.pop(0)
        super().publish(spool, object_key, sidecar=sidecar)


MAX_LISTENERS = 6


class RecorderHarness:
    """One data folder, the writer of its journals and the recorder of its recordings."""

    def __init__(
        self, root: Path, catalog: Catalog, database: FaultyDatabase, *, reconnect_wait_s: float = 30.0
    ) -> None:
        self.journals, self.spool = root / "journal", root / "spool"
        self.storage = FaultyStorage(root / "recordings")
        self.storage.prepare(self.spool)
        self.catalog, self.database = catalog, database
        self.now_s = 100.0
        self.writer = a_writer(self.journals)
        self.recorder = Recorder(
            places=Folders(self.journals, self.spool), writer=self.writer, catalog=self.catalog,
            storage=self.storage, stall_wait_us=3_000_000, expires_at=self._expires_at, sidecar=sidecar_of,
            automatic_end=self._found_end, facts_of=facts_of, max_listeners=MAX_LISTENERS, retry_s=0.0,
        )  # fmt: skip
        self.sessions = Sessions(
            timing=replace(TIMING, reconnect_wait_us=int(reconnect_wait_s * 1e6)), renderer=self.recorder,
            writer=self.writer, make_journal=self._make_journal, max_sessions=1, max_streams_per_session=4,
            auto_record=False, options_of=lambda _: RecordingOptions(),
            new_recording=NewRecordings(keys=KeyTemplate(), now_us=self.now_us), room=DiskReserve(self.spool, 0),
        )  # fmt: skip
        self.recovery = Recovery(
            folder=self.journals, sessions=self.sessions, recorder=self.recorder,
            catalog=self.catalog, storage=self.storage,
            open_journal=self._reopen, now_us=self.now_us, not_before=lambda _: None, facts_of=facts_of,
        )  # fmt: skip

    def now_us(self) -> int:
        return at(self.now_s)

    async def beat(self) -> None:
        """As the service does, only faster."""
        while True:
            self.recorder.live.beat()
            await asyncio.sleep(0.001)

    def journal(self) -> Journal:
        return self.writer.open(key=new_id(), app_id="default", session_id="call-77")

    async def begin(self, journal: Journal, *recordings: Recording) -> list[Recording]:
        """Recordings that start in the journal's next segment."""
        running = [started(recording) for recording in recordings]
        for recording in running:
            await self.catalog.recordings.save(recording)
            self.recorder.begin(recording, journal, first_segment=journal.segment)
        return running

    def write(self, journal: Journal, rows: list[bytes]) -> None:
        append(journal, rows)
        self.writer.submit([journal])

    async def recover(self) -> None:
        """Bring back what is there, and wait until everything that was stopped is finished."""
        self.recovery.hold_sessions()
        await self.recovery.run()
        await self.settled()

    async def settled(self) -> None:
        """Wait until everything that was stopped is finished."""
        while self.recorder._concluding or self.recorder._tasks:
            await asyncio.wait([*self.recorder._concluding.values(), *self.recorder._tasks], timeout=30)

    async def row(self, recording: Recording) -> Recording:
        row = await self.catalog.recordings.get(recording.id)
        assert row is not None
        return row

    def left(self) -> list[str]:
        """Files of the journal folder, once the writer has done all that it was told."""
        self.writer.stop()
        return sorted(path.name for path in self.journals.iterdir())

    async def _expires_at(self, recording: Recording) -> datetime:
        await self.catalog.apps.get(recording.app_id)
        assert recording.ended_at is not None
        return recording.ended_at + KEPT

    def _found_end(self, recording: Recording, end: RecordingStopped) -> None:
        self.sessions.automatic_end(recording, end, self.now_us())

    def _make_journal(self, session: Session) -> Journal:
        return self.writer.open(key=new_id(), app_id=session.app_id, session_id=session.session_id)

    def _reopen(self, header: SegmentHeader, segment: int) -> Journal:
        return self.writer.open(key=header.key, app_id=header.app_id, session_id=header.session_id, segment=segment)


async def until(holds: Callable[[], object]) -> None:
    """Let the loop and the threads work until it holds."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


async def written(harness: RecorderHarness, journal: Journal) -> None:
    """Wait until the writer has done all that it was told of this journal."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        loop.call_soon_threadsafe(done.set)

    harness.writer.submit_urgent(journal, tell)
    await done.wait()


def facts_of(recording: Recording) -> Sequence[Fact]:
    """As the service makes them; the catalog keeps those that the app wants."""
    if recording.status not in ANNOUNCED:
        return ()
    return (recording_fact(recording, url="http://localhost/file", command_uid=recording.command_uid, at=utc(at(0))),)


async def register(catalog: Catalog, kinds: tuple[FactKind, ...] | None) -> None:
    """An app that is told these kinds of facts; None: the usual ones."""
    target = WebhookTarget("https://shop.example/hooks", kinds=kinds)
    app = App("default", created_at=utc(at(0)), webhook=target)
    assert await catalog.apps.add(app, key_hash="h", key_lookup="l")


async def told(catalog: Catalog) -> list[tuple[FactKind, str | None, str | None]]:
    """What the app is to be told: (kind, recording, error)."""
    facts = []
    while due := (await catalog.outbox.due("default", utc(at(1_000)), 1)).announcements:
        facts.append(due[0].fact)
        await catalog.outbox.mark_delivered(due[0], utc(at(1_000)))
    return [(fact.kind, fact.recording_id, fact.body["recording"]["error"]) for fact in facts]


def sidecar_of(recording: Recording) -> bytes:
    """As the service writes it."""
    return msgspec.json.encode(published(recording, url="http://localhost/file"))


@pytest.fixture
async def harness(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> AsyncIterator[RecorderHarness]:
    harness = RecorderHarness(tmp_path, catalog, database)
    beats = asyncio.create_task(harness.beat())
    yield harness
    beats.cancel()
    await harness.recorder.stop(0.0)
    await asyncio.to_thread(harness.writer.stop)


@pytest.fixture
def broken_fold(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the fold of one recording have a bug."""

    def break_it(recording_id: str) -> None:
        from wavstream.rendering.fold import Fold

        tick = Fold._tick

        def fail(fold: Fold, now_us: int) -> bytes:
            if fold._recording_id == recording_id:
                raise IndexError("a bug")
            return tick(fold, now_us)

        monkeypatch.setattr(Fold, "_tick", fail)

    return break_it
