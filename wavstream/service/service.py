"""The composition root: makes every part, hands each what it needs, and is the only module that knows them all."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.master_key import load_master_key
from wavstream.access.secret_box import SecretBox
from wavstream.api.app import create_app
from wavstream.api.dependencies import ApiDependencies
from wavstream.catalog.catalog import Catalog
from wavstream.conversion.conversions import Conversions
from wavstream.errors import DependencyError
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.records import SegmentHeader
from wavstream.journal.writer import JournalWriter
from wavstream.media.endpoint import MediaEndpoint
from wavstream.metrics import Metrics
from wavstream.model.ids import new_id
from wavstream.model.recording import Recording
from wavstream.recorder.recorder import Folders, Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.retention.expiry import Expiry
from wavstream.retention.holds import Holds
from wavstream.retention.sweeper import Sweeper
from wavstream.service.clock import Clock
from wavstream.service.collect_metrics import collect_metrics
from wavstream.service.data_folder import DataFolder
from wavstream.service.default_app import make_default_app
from wavstream.service.gateway import gateway_commands, gateway_parts
from wavstream.service.media_plane import media_endpoint, twilio_account
from wavstream.service.opening import stream_opening
from wavstream.service.webhook_service import WebhookService, default_kinds
from wavstream.sessions.commands import Commands
from wavstream.sessions.disk_reserve import DiskReserve
from wavstream.sessions.new_recordings import NewRecordings
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.registry import SLOT_S, Sessions
from wavstream.sessions.session import Session
from wavstream.sessions.timing import Timing
from wavstream.settings import Settings
from wavstream.storage.keys import KeyTemplate
from wavstream.storage.link_keys import load_link_keys
from wavstream.storage.local import LocalStorage
from wavstream.storage.public_urls import PublicUrls
from wavstream.storage.sidecar import write_sidecar

log = structlog.get_logger()

FINISH_S = 10.0
"""How long a shutdown waits for recordings that were stopped; the rest is done at the next start."""
CLOSE_S = 5.0
"""How long it waits for the media server to hear that streams which were opened are to end."""


class Service:
    """One running recorder, without its port: `start`, hand ``app`` and ``endpoint`` to a server, `stop`."""

    app: FastAPI
    endpoint: MediaEndpoint

    def __init__(
        self,
        settings: Settings,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Clock | None = None,
    ) -> None:
        """``wall`` is what links and retention go by, ``clock`` what journals do."""
        self._wall = wall
        self.settings = settings
        self.folder = DataFolder(settings.data_dir)
        self.metrics = Metrics()
        self.clock = clock or Clock()
        self._closing = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._beat_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the data folder and bring back what was running; raises OperatorError."""
        settings = self.settings
        self.folder.claim()
        self._closing.callback(self.folder.release)
        storage = LocalStorage(self.folder.recordings)
        storage.prepare(self.folder.spool)
        self.master = master = load_master_key(self.folder.master_key, _secret(settings.master_key))
        self.links = load_link_keys(self.folder.link_keys, self._wall())
        self.addresses = PublicUrls(self.links, settings.base_url, settings.recording_base_url)
        new_recordings = NewRecordings(keys=KeyTemplate(settings.object_key), now_us=self.clock.now_us)
        self.catalog = await Catalog.open(self.folder.catalog, default_kinds=default_kinds(settings.webhooks))
        self._closing.push_async_callback(self.catalog.database.close)
        known_apps = AppCache(self.catalog.apps, time.monotonic, server_options=settings.recording.options())
        expiry = Expiry(
            known_apps.get, server_hours=settings.retention.hours,
            kept_elsewhere=settings.recording_base_url is not None,
        )  # fmt: skip
        seal = SecretBox(master)
        self.announcing = WebhookService(
            self.catalog, settings.webhooks, seal=seal, addresses=self.addresses, now=self._wall
        )
        self._closing.push_async_callback(self.announcing.stop)
        await make_default_app(settings, self.catalog, master=master, now=self._wall())
        self._writer = JournalWriter(
            self.folder.journal, on_written=self._on_written, on_pressure=self._on_pressure,
            queue_bytes=settings.journal.queue_bytes, segment_bytes=settings.journal.segment_bytes,
            sync_interval_s=settings.journal.sync_interval_s,
        )  # fmt: skip
        self._writer.start()
        self._closing.push_async_callback(asyncio.to_thread, self._writer.stop)
        self._loop = asyncio.get_running_loop()
        self.recorder = Recorder(
            places=Folders(journal=self.folder.journal, spool=self.folder.spool), writer=self._writer,
            catalog=self.catalog, storage=storage, stall_wait_us=int(settings.stall_wait_s * 1e6), expires_at=expiry.of,
            sidecar=self._sidecar if settings.sidecar else None, automatic_end=self._found_end,
            facts_of=self.announcing.facts_of, max_listeners=settings.limits.live_listeners,
        )  # fmt: skip
        self._closing.push_async_callback(self.recorder.stop, FINISH_S)
        room = DiskReserve(self.folder.spool, settings.limits.min_free_bytes)
        conversions = Conversions(storage=storage, spool=self.folder.spool, min_free_bytes=room.min_free_bytes)
        self._closing.push_async_callback(conversions.stop)
        self.sessions = Sessions(
            timing=Timing(
                reconnect_wait_us=int(settings.reconnect_wait_s * 1e6),
                start_wait_us=int(settings.start_wait_s * 1e6),
                announced_wait_us=int(settings.announced_wait_s * 1e6),
                orphan_after_us=int(settings.orphan_after_s * 1e6),
            ),
            renderer=self.recorder, writer=self._writer, make_journal=self._make_journal,
            max_sessions=settings.limits.sessions, max_streams_per_session=settings.limits.streams_per_session,
            auto_record=settings.auto_record, options_of=known_apps.last_options,
            new_recording=new_recordings, room=room,
        )  # fmt: skip
        opener = await stream_opening(settings, self._closing, make_token=self._make_token, now=self._wall)
        self._openings = OpenedStreams(opener, sessions=self.sessions, now_us=self.clock.now_us)
        self._closing.push_async_callback(self._openings.stop, CLOSE_S)
        commands = Commands(
            sessions=self.sessions, catalog=self.catalog, now_us=self.clock.now_us,
            new_recording=new_recordings, storage=storage, room=room, facts_of=self.announcing.facts_of,
            openings=self._openings,
        )  # fmt: skip
        self.access = Authenticator(
            apps=self.catalog.apps, known_apps=known_apps, master=master, twilio=twilio_account(settings)
        )
        self.recovery = Recovery(
            folder=self.folder.journal, sessions=self.sessions, recorder=self.recorder, catalog=self.catalog,
            storage=storage, open_journal=self._reopen_journal, now_us=self.clock.now_us,
            not_before=self.clock.not_before, facts_of=self.announcing.facts_of,
        )  # fmt: skip
        self._gateway = gateway_commands(
            settings, catalog=self.catalog, commands=commands, sessions=self.sessions,
            new_recording=new_recordings, now_us=self.clock.now_us,
        )  # fmt: skip
        gateway = gateway_parts(
            settings, commands=self._gateway, catalog=self.catalog, access=self.access, known_apps=known_apps,
            listen=self.recorder.listen, seal=seal, master=master, now=self._wall,
        )  # fmt: skip
        parts = ApiDependencies(
            commands=commands, authenticate=self.access.authenticate, links=self.links,
            holds=Holds(catalog=self.catalog, recordings=commands, sessions=self.sessions),
            dead_letters=self.catalog.dead_letters, find_recording=self.catalog.recordings.get,
            url_of=self.addresses.of,
            storage=storage, conversions=conversions, listen=self.recorder.listen, make_token=self.access.make_token,
            readiness=self._not_ready_because, metrics_registry=self.metrics.registry, now=self._wall,
            public_url=settings.base_url, options_of=known_apps.options,
            body_limit_bytes=settings.limits.body_bytes, page_limit=settings.limits.page_size,
            link_ttl_s=settings.links.ttl_s, trusted_proxies=settings.trusted_proxies,
        )  # fmt: skip
        self.app = create_app(parts, gateway)
        self.endpoint = media_endpoint(
            settings, access=self.access, known_apps=known_apps, sessions=self.sessions,
            now_us=self.clock.now_us,
        )  # fmt: skip
        self.metrics.add(
            collect_metrics(
                counters=self.endpoint.counters,
                sessions=self.sessions,
                writer=self._writer,
                recorder=self.recorder,
                recovery=self.recovery,
                dispatcher=self.announcing.dispatcher,
            )
        )
        self.recovery.hold_sessions()
        self.announcing.start()
        self._closing.push_async_callback(self._end_background)
        self._keep(self._recover, "recovery")
        sweeper = Sweeper(self.catalog, storage)
        self._keep(
            functools.partial(sweeper.run, interval_s=settings.retention.sweep_interval_s, now=self._wall), "sweeper"
        )
        self._schedule_beat(self._loop.time())

    def begin_shutdown(self) -> None:
        """What ends from here on is our doing: running recordings go on at the next start."""
        self.sessions.shut_down(self.clock.now_us())
        self.recorder.live.stop()

    async def stop(self) -> None:
        """Finish what was stopped, write what was journaled, close everything; also after a start that failed."""
        await self._closing.aclose()

    async def _recover(self) -> None:
        await self.recovery.run()
        await self._gateway.finish_stops()

    async def _end_background(self) -> None:
        self.begin_shutdown()
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # ---- what the parts are handed -----------------------------------------------------------------------------

    def _make_token(self, app_id: str, session_id: str, expires_at: datetime) -> str:
        return self.access.make_token(app_id=app_id, session_id=session_id, expires_at=expires_at)

    def _make_journal(self, session: Session) -> Journal:
        return self._writer.open(key=new_id(), app_id=session.app_id, session_id=session.session_id)

    def _reopen_journal(self, header: SegmentHeader, segment: int) -> Journal:
        return self._writer.open(key=header.key, app_id=header.app_id, session_id=header.session_id, segment=segment)

    def _found_end(self, recording: Recording, end: RecordingStopped) -> None:
        if self.sessions.automatic_end(recording, end, self.clock.now_us()):
            self._openings.release(recording)

    def _sidecar(self, recording: Recording) -> bytes:
        return write_sidecar(recording, url=self.addresses.of(recording))

    async def _not_ready_because(self) -> list[str]:
        reasons = []
        if self.sessions.stopping:
            reasons.append("the server is shutting down")
        if self._writer.failing is not None:
            reasons.append(f"the journal cannot be written: {self._writer.failing}")
        try:
            await self.catalog.database.ping()
        except DependencyError as error:
            reasons.append(f"the catalog does not answer: {error}")
        return reasons

    # ---- the beat ----------------------------------------------------------------------------------------------

    def _schedule_beat(self, due: float) -> None:
        self._beat_timer = self._loop.call_at(due, self._beat, due)

    def _beat(self, due: float) -> None:
        now = time.monotonic()  # uvloop's own time counts whole milliseconds
        self.metrics.loop_delay.observe(now - due)
        try:
            self.sessions.beat(self.clock.now_us())
            self.recorder.live.beat()
        except Exception:  # one session's fault must not stop the beat of all
            log.exception("the beat failed")
        self._schedule_beat(max(due + SLOT_S, now))

    def _on_written(self, journals: Sequence[Journal]) -> None:
        self.recorder.live.written(journals, self.clock.now_us())

    def _on_pressure(self, full: bool) -> None:
        log.warning("the journal's queue is full: streams wait" if full else "the journal's queue has room again")
        self._loop.call_soon_threadsafe(self.sessions.apply_backpressure, full)

    # ---- within ------------------------------------------------------------------------------------------------

    def _keep(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def run() -> None:
            with suppress(asyncio.CancelledError):
                try:
                    await work()
                except Exception:
                    log.exception("a background task failed", task=name)

        task = asyncio.create_task(run(), name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _secret(setting: SecretStr | None) -> str | None:
    return setting.get_secret_value() if setting is not None else None
