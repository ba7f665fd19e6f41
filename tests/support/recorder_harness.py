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
from wavstream.clock import UnixClock
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.listening.listener import QUEUE_BYTES
from wavstream.listening.live import Live
from wavstream.model.app import App, WebhookTarget
from wavstream.model.document import recording_document
from wavstream.model.fact import ANNOUNCED, Fact, FactKind, recording_fact
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording
from wavstream.model.times import utc
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.recorder import Folders, Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.recorder.render_job import SLICE_BYTES, RenderJob
from wavstream.recovery.recovery import Recovery
from wavstream.rendering.timeline.clock import Patience
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.registry import SessionLimits, Sessions
from wavstream.sessions.ticker import Ticker
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import KeyTemplate
from wavstream.turns.fair_pool import FairPool, Places
from wavstream.webhooks import gateway

KEPT = timedelta(hours=24)


class FaultyStorage(LocalStorage):
    """Local storage whose next publishes fail as listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.faults: list[Exception] = []

    def publish(self, spool: Path, object_key: str, *, sidecar: bytes | None, waveform: Path | None = None) -> None:
        if self.faults:
            raise self.faults.pop(0)
        super().publish(spool, object_key, sidecar=sidecar, waveform=waveform)


MAX_LISTENERS = 6


class RecorderHarness:
    """One data folder, the writer of its journals and the recorder of its recordings."""

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        database: FaultyDatabase,
        *,
        reconnect_wait_s: float = 30.0,
        kept: timedelta = KEPT,
        slice_bytes: int = SLICE_BYTES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.journals, self.spool = root / "journal", root / "spool"
        self.storage = FaultyStorage(root / "recordings")
        self.storage.prepare(self.spool)
        self.catalog, self.database = catalog, database
        self.now_s = 100.0
        self.kept = kept
        self.on_wall: Callable[[datetime], datetime] = lambda stamped: stamped
        """When it was by the server's time what the journal's clock has stamped."""
        self.writer = a_writer(self.journals)
        publisher = Publisher(
            storage=self.storage,
            recordings=catalog.recordings,
            facts_of=facts_of,
            expires_at=self._expires_at,
            sidecar=sidecar_of,
            on_wall=lambda stamped: self.on_wall(stamped),
            retry_s=0.0,
        )
        self.recorder = Recorder(
            Folders(self.journals, self.spool),
            writer=self.writer,
            publisher=publisher,
            patience=Patience(),
            slice_bytes=slice_bytes,
        )
        self.recorder.set_automatic_end_handler(self._end_automatically)
        self.reads = FairPool("live-read", threads=2, places=Places(in_all=4, of_app=3, setting="limits.live_ranges"))
        self.live = Live(self.recorder, reads=self.reads, max_listeners=MAX_LISTENERS, queue_bytes=queue_bytes)
        self.sessions = Sessions(
            timing=replace(TIMING, reconnect_wait_us=int(reconnect_wait_s * 1e6)),
            limits=SessionLimits(sessions=1, streams_per_session=4),
            recorder=self.recorder,
            writer=self.writer,
            new_recordings=NewRecordings(keys=KeyTemplate(), reserve=DiskReserve(self.spool, 0), now_us=self.now_us),
            options_of=lambda _: RecordingOptions(),
        )
        self.ticker = Ticker(self.sessions, writer=self.writer, recorder=self.recorder)
        self.recovery = Recovery(
            folder=self.journals,
            sessions=self.sessions,
            recorder=self.recorder,
            recordings=catalog.recordings,
            storage=self.storage,
            writer=self.writer,
            clock=StandingClock(self),
        )

    def now_us(self) -> int:
        return at(self.now_s)

    async def tick(self) -> None:
        """As the service does, only faster."""
        while True:
            self.live.tick()
            await asyncio.sleep(0.001)

    def journal(self) -> Journal:
        return self.writer.open(key=new_id(), app_id="default", session_id="call-77")

    async def begin(self, journal: Journal, *recordings: Recording) -> list[Recording]:
        """Begin recordings in the journal's next segment; return them as they run."""
        running = [started(recording) for recording in recordings]
        for recording in running:
            await self.catalog.recordings.save(recording)
            self.recorder.begin(recording, journal, first_segment=journal.segment)
        return running

    def end(self, stopped: Recording) -> asyncio.Task[Recording]:
        """Finish a recording whose stop record is in the journal."""
        live = self.recorder.get(stopped.id)
        assert live is not None
        return live.finish(stopped)

    def ended(self, recording_id: str) -> Recording | None:
        """Return the recording, if it was stopped and its file is still being finished."""
        live = self.recorder.get(recording_id)
        return None if live is None or live.finishing is None else live.row

    def job(self, recording_id: str) -> RenderJob:
        """Return the job that makes the file of a recording."""
        live = self.recorder.get(recording_id)
        assert live is not None
        assert live.job is not None
        return live.job

    def write(self, journal: Journal, rows: list[bytes]) -> None:
        append(journal, rows)
        self.writer.submit([journal])

    async def recover(self) -> None:
        """Bring back what is there, and wait until everything that was stopped is finished."""
        self.recovery.defer_streams()
        await self.recovery.run()
        await self.settled()

    async def settled(self) -> None:
        """Wait until everything that was stopped is finished."""
        async with asyncio.timeout(30):
            while await self.recorder.settle(30):
                pass  # a finished recording may have brought more to write

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
        return self.on_wall(recording.ended_at) + self.kept

    def _end_automatically(self, recording: LiveRecording, end: RecordingStopped) -> None:
        session = self.sessions.find(recording.row.app_id, recording.row.session_id)
        if session is not None and recording.row.id in session.recordings.by_id:
            session.recordings.stop(recording, end.reason, self.now_us(), end_us=end.end_us)


class StandingClock(UnixClock):
    """The harness's own time."""

    def __init__(self, harness: RecorderHarness) -> None:
        super().__init__(0)
        self._harness = harness

    def not_before(self, unix_us: int) -> None:
        """Stay."""

    def now_us(self) -> int:
        return self._harness.now_us()


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
    return (recording_fact(recording, url="http://localhost/file", at=utc(at(0))),)


async def register(catalog: Catalog, kinds: tuple[FactKind, ...] | None) -> None:
    """Add an app that is told these kinds of facts; None: the usual ones."""
    target = WebhookTarget("https://shop.example/hooks", tuple(gateway.EVENTS[kind] for kind in kinds or ()))
    app = App("default", created_at=utc(at(0)), webhook=target)
    assert await catalog.apps.add(app, key_hash="h", key_lookup="l")


async def told(catalog: Catalog) -> list[tuple[FactKind, str | None, str | None]]:
    """Return what the app is to be told: (kind, recording, error)."""
    facts = []
    while due := (await catalog.outbox.due("default", utc(at(1_000)), 1)).announcements:
        facts.append(due[0].fact)
        await catalog.outbox.mark_delivered(due[0], utc(at(1_000)))
    return [(fact.kind, fact.recording_id, fact.body["recording"]["error"]) for fact in facts]


def sidecar_of(recording: Recording) -> bytes:
    """As the service writes it."""
    return msgspec.json.encode(recording_document(recording, url="http://localhost/file").as_json())


@pytest.fixture
async def harness(tmp_path: Path, catalog: Catalog, database: FaultyDatabase) -> AsyncIterator[RecorderHarness]:
    harness = RecorderHarness(tmp_path, catalog, database)
    ticks = asyncio.create_task(harness.tick())
    yield harness
    ticks.cancel()
    await harness.recorder.stop(0.0)
    await harness.reads.stop()
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
