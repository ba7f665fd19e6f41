"""The composition root: makes every part, hands each what it needs, and is the only module that knows them all."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import msgspec
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from wavstream.access.secret import load_master_key
from wavstream.access.tenancy import Access
from wavstream.access.twilio_signature import TwilioAccount
from wavstream.api.app import create_app
from wavstream.api.parts import ApiParts
from wavstream.catalog.catalog import Catalog
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import DependencyError
from wavstream.finishing.conversions import Conversions
from wavstream.finishing.finisher import Finisher, Places
from wavstream.finishing.recovery import Recovery
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.journal.records import SegmentHeader
from wavstream.journal.writer import JournalWriter
from wavstream.media.endpoint import MediaCredentials, MediaEndpoint, MediaLimits
from wavstream.media.stream import StreamHandle, StreamSink
from wavstream.metrics import Metrics
from wavstream.model.ids import new_id
from wavstream.model.published import published
from wavstream.model.recording import Recording
from wavstream.retention.app_hours import AppHours
from wavstream.retention.policy import expires_at
from wavstream.retention.sweeper import Sweeper
from wavstream.service.clock import Clock
from wavstream.service.data_folder import DataFolder
from wavstream.service.default_app import make_default_app
from wavstream.service.figures import figures
from wavstream.sessions.commands import Commands
from wavstream.sessions.new_recordings import NewRecordings
from wavstream.sessions.session import Session
from wavstream.sessions.spool_room import SpoolRoom
from wavstream.sessions.switchboard import SLOT_S, Switchboard
from wavstream.sessions.timing import Timing
from wavstream.settings import Settings
from wavstream.storage.keys import KeyTemplate
from wavstream.storage.local import LocalStorage
from wavstream.storage.ring import load_link_keys

log = structlog.get_logger()

FINISH_S = 10.0
"""How long a shutdown waits for recordings that were stopped; the rest is done at the next start."""


class Service:
    """One running recorder, without its port: `start`, hand ``app`` and ``endpoint`` to a server, `stop`."""

    app: FastAPI
    endpoint: MediaEndpoint

    def __init__(self, settings: Settings, *, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """``wall`` is what links and retention go by."""
        self._wall = wall
        self.settings = settings
        self.folder = DataFolder(settings.data_dir)
        self.metrics = Metrics()
        self.clock = Clock()
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
        new_recordings = NewRecordings(keys=KeyTemplate(settings.object_key), now_us=self.clock.now_us)
        self.catalog = await Catalog.open(self.folder.catalog)
        self._closing.push_async_callback(self.catalog.close)
        self._app_hours = AppHours(self.catalog, time.monotonic)
        await make_default_app(settings, self.catalog, master=master, now=self._wall())
        self._writer = JournalWriter(
            self.folder.journal, on_written=self._on_written, on_pressure=self._on_pressure,
            queue_bytes=settings.journal.queue_bytes, segment_bytes=settings.journal.segment_bytes,
            sync_interval_s=settings.journal.sync_interval_s,
        )  # fmt: skip
        self._writer.start()
        self._closing.push_async_callback(asyncio.to_thread, self._writer.stop)
        self._loop = asyncio.get_running_loop()
        self.finisher = Finisher(
            places=Places(journal=self.folder.journal, spool=self.folder.spool), writer=self._writer,
            catalog=self.catalog, storage=storage, hold_us=int(settings.hold_s * 1e6), expires_at=self._expires_at,
            sidecar=self._sidecar if settings.sidecar else None, found_end=self._found_end,
        )  # fmt: skip
        self._closing.push_async_callback(self.finisher.stop, FINISH_S)
        room = SpoolRoom(self.folder.spool, settings.limits.min_free_bytes)
        conversions = Conversions(storage=storage, spool=self.folder.spool, min_free_bytes=room.min_free_bytes)
        self._closing.push_async_callback(conversions.stop)
        self.switchboard = Switchboard(
            timing=Timing(
                reconnect_wait_us=int(settings.reconnect_wait_s * 1e6), start_wait_us=int(settings.start_wait_s * 1e6)
            ),
            renderer=self.finisher, writer=self._writer, make_journal=self._make_journal,
            max_sessions=settings.limits.sessions, max_streams_per_session=settings.limits.streams_per_session,
            auto_record=settings.auto_record, default_options=settings.recording.options(),
            new_recording=new_recordings, room=room,
        )  # fmt: skip
        commands = Commands(
            switchboard=self.switchboard, catalog=self.catalog, now_us=self.clock.now_us,
            new_recording=new_recordings, storage=storage, room=room,
        )  # fmt: skip
        self.access = Access(apps=self.catalog, master=master, twilio=self._twilio_account())
        self.recovery = Recovery(
            folder=self.folder.journal, switchboard=self.switchboard, finisher=self.finisher, catalog=self.catalog,
            storage=storage, open_journal=self._reopen_journal, now_us=self.clock.now_us,
            not_before=self.clock.not_before,
        )  # fmt: skip
        self.app = create_app(
            ApiParts(
                commands=commands,
                authenticate=self.access.authenticate,
                links=self.links,
                find_recording=self.catalog.get_recording,
                storage=storage,
                conversions=conversions,
                listen=self.finisher.listen,
                make_token=self.access.make_token,
                readiness=self._not_ready_because,
                metrics_registry=self.metrics.registry,
                now=self._wall,
                public_url=settings.base_url,
                default_options=settings.recording.options(),
                body_limit_bytes=settings.limits.body_bytes,
                page_limit=settings.limits.page_size,
                link_ttl_s=settings.links.ttl_s,
            )
        )
        self.endpoint = self._media_endpoint()
        self.metrics.add(
            figures(
                counters=self.endpoint.counters,
                switchboard=self.switchboard,
                writer=self._writer,
                finisher=self.finisher,
                recovery=self.recovery,
            )
        )
        self.recovery.hold_sessions()
        self._closing.push_async_callback(self._end_background)
        self._keep(self.recovery.run, "recovery")
        sweeper = Sweeper(self.catalog, storage)
        self._keep(
            functools.partial(sweeper.run, interval_s=settings.retention.sweep_interval_s, now=self._wall), "sweeper"
        )
        self._schedule_beat(self._loop.time())

    def begin_shutdown(self) -> None:
        """What ends from here on is our doing: running recordings go on at the next start."""
        self.switchboard.shut_down(self.clock.now_us())
        self.finisher.live.stop()

    async def stop(self) -> None:
        """Finish what was stopped, write what was journaled, close everything; also after a start that failed."""
        await self._closing.aclose()

    async def _end_background(self) -> None:
        self.begin_shutdown()
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # ---- what the parts are handed -----------------------------------------------------------------------------

    def _media_endpoint(self) -> MediaEndpoint:
        media = self.settings.media
        return MediaEndpoint(
            dialects=DIALECTS,
            authenticate=self._authenticate_stream,
            open_stream=self._open_stream,
            now_us=self.clock.now_us,
            limits=MediaLimits(
                max_message_bytes=media.max_message_bytes,
                handshake_timeout_s=media.handshake_timeout_s,
                ping_interval_s=media.ping_interval_s,
                ping_timeout_s=media.ping_timeout_s,
                close_timeout_s=media.close_timeout_s,
                frames_per_second=media.frames_per_second,
            ),
        )

    def _authenticate_stream(self, credentials: MediaCredentials) -> str | Awaitable[str]:
        return self.access.authenticate_stream(
            credentials.token,
            client_is_loopback=credentials.client_is_loopback,
            app=credentials.app,
            session_id=credentials.session_id,
            signed=credentials.signed,
            address=credentials.address,
        )

    def _twilio_account(self) -> TwilioAccount | None:
        twilio = self.settings.twilio
        if twilio.auth_token is None:
            return None
        token = twilio.auth_token.get_secret_value()
        return TwilioAccount(auth_token=token, app_id=twilio.app, public_url=self.settings.base_url)

    def _open_stream(self, started: StreamStarted, handle: StreamHandle, app_id: str) -> StreamSink:
        return self.switchboard.open_stream(started, app_id=app_id, handle=handle, now_us=self.clock.now_us())

    def _make_journal(self, session: Session) -> Journal:
        return self._writer.open(key=new_id(), app_id=session.app_id, session_id=session.session_id)

    def _reopen_journal(self, header: SegmentHeader, segment: int) -> Journal:
        return self._writer.open(key=header.key, app_id=header.app_id, session_id=header.session_id, segment=segment)

    def _found_end(self, recording: Recording, end: RecordingStopped) -> None:
        self.switchboard.found_end(recording, end, self.clock.now_us())

    async def _expires_at(self, recording: Recording) -> datetime:
        assert recording.ended_at is not None
        return expires_at(
            recording.ended_at,
            recording_hours=recording.options.retention_hours,
            app_hours=await self._app_hours.of(recording.app_id),
            server_hours=self.settings.retention.hours,
        )

    def _sidecar(self, recording: Recording) -> bytes:
        url = self.settings.base_url + self.links.capability_path(recording)
        return msgspec.json.format(msgspec.json.encode(published(recording, url=url)), indent=2) + b"\n"

    async def _not_ready_because(self) -> list[str]:
        reasons = []
        if self.switchboard.stopping:
            reasons.append("the server is shutting down")
        if self._writer.failing is not None:
            reasons.append(f"the journal cannot be written: {self._writer.failing}")
        try:
            await self.catalog.ping()
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
            self.switchboard.beat(self.clock.now_us())
        except Exception:  # one session's fault must not stop the beat of all
            log.exception("the beat failed")
        self._schedule_beat(max(due + SLOT_S, now))

    def _on_written(self, journals: Sequence[Journal]) -> None:
        self.finisher.live.written(journals, self.clock.now_us())

    def _on_pressure(self, full: bool) -> None:
        log.warning("the journal's queue is full: streams wait" if full else "the journal's queue has room again")
        self._loop.call_soon_threadsafe(self.switchboard.hold_back, full)

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
