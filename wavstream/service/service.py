"""The composition root: makes every part, hands each what it needs, and is the only module that knows them all."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI

from wavstream.access.app_cache import AppCache
from wavstream.access.authenticator import Authenticator
from wavstream.access.console_pass import ConsolePasses
from wavstream.access.keys import KeyDigests
from wavstream.access.secret_box import SecretBox
from wavstream.access.signing_keys import SigningKeys
from wavstream.api.app import create_app
from wavstream.api.dependencies import ApiDependencies
from wavstream.api.facade import FacadeDependencies
from wavstream.api.fetches import Fetches
from wavstream.api.gateway.commands import GatewayCommands
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.database import check_alone
from wavstream.catalog.nodes import Nodes as RowsOfNodes
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.clock import Clocks, UnixClock, boot_id
from wavstream.conversion.conversions import Conversions
from wavstream.conversion.verification import is_as_recorded
from wavstream.conversion.waveforms import Waveforms
from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter
from wavstream.listening.live import Live
from wavstream.listening.live_pages import LivePages
from wavstream.media.closing import SERVICE_RESTART
from wavstream.media.endpoint import MediaEndpoint
from wavstream.metrics import Metrics
from wavstream.model.recording import Recording, Status
from wavstream.recorder.eraser import Eraser
from wavstream.recorder.publisher import Publisher
from wavstream.recorder.recorder import Folders, Recorder
from wavstream.recovery.missing_files import MissingFiles
from wavstream.recovery.recovery import MADE_AGAIN, Recovery
from wavstream.removals import Removals
from wavstream.rendering.timeline.clock import Patience
from wavstream.retention.expiry import Expiry
from wavstream.retention.holds import Holds
from wavstream.retention.sweeper import Sweeper
from wavstream.service.clock_watch import ClockWatch, go_on
from wavstream.service.collect_metrics import collect_metrics
from wavstream.service.data_folder import WITHOUT_CATALOG, DataFolder
from wavstream.service.disk_watch import DiskWatch
from wavstream.service.drain import Drain, end_drain
from wavstream.service.exposure import refuse_weak_keys, refuse_weak_rows
from wavstream.service.logs import hide_keys
from wavstream.service.named import check_names
from wavstream.service.news import News
from wavstream.service.opening import OpenRequests, make_opener
from wavstream.service.readiness import Readiness
from wavstream.service.restore import refuse_unfinished
from wavstream.service.shares import Pools, conversion_places, quotas_of
from wavstream.service.transcription_service import make_transcriber
from wavstream.service.upload_service import UploadService, upload_state
from wavstream.service.watch import Watch
from wavstream.service.webhook_service import WebhookService, wanted_facts
from wavstream.service.wiring import (
    audiohook_client,
    command_rules,
    facade_rules,
    gateway_dependencies,
    http_front,
    make_default_app,
    media_endpoint,
    twilio_account,
)
from wavstream.service.worker_metrics import WorkerMetrics
from wavstream.service.worker_place import WorkerPlace
from wavstream.sessions.admission import DiskReserve, NewRecordings
from wavstream.sessions.app_usage import AppUsage
from wavstream.sessions.commands import Commands
from wavstream.sessions.deadlines import Timing
from wavstream.sessions.load import Headroom
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.registry import SessionLimits, Sessions
from wavstream.sessions.ticker import TICK_S, Ticker
from wavstream.settings import Settings
from wavstream.storage.contents import find_object
from wavstream.storage.links import LinkKeys, PublicUrls, load_link_keys
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_keys import KeyTemplate
from wavstream.storage.open_files import OpenFiles
from wavstream.storage.reserve_file import ReserveFile
from wavstream.storage.sidecar import write_sidecar
from wavstream.storage.stores import FinishedFiles, Stores
from wavstream.transcription.transcripts import Transcripts
from wavstream.workers.boundary import Alone, Boundary

if TYPE_CHECKING:
    from wavstream.service.cluster_service import ClusterService

log = structlog.get_logger(__name__)

FINISH_S = 10.0
"""How long a shutdown waits for recordings that were stopped; the rest is done at the next start."""
LEAVE_S = 3.0
"""How long a node that goes waits for its journals to be written, and for what was stopped to have its file."""
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
        clock: UnixClock | None = None,
        steady_us: Callable[[], int] | None = None,
        place: WorkerPlace | None = None,
    ) -> None:
        """Prepare the service; links and retention go by ``wall``, journals by ``clock``.

        ``wall`` is looked at for jumps beside ``steady_us``; None: whatever it says, so much time has passed.
        ``place``: among the workers of this server; None: it is one process.
        """
        self.settings = settings
        self._place = place
        self.cluster = None if settings.cluster.nats_url is None else _node_of_cluster(settings)
        self.boundary: Boundary = Alone() if place is None else place.boundary
        if self.cluster is not None:
            self.boundary = self.cluster.nodes
            steady_us = None  # the rows are of all nodes: each goes by its wall clock, and none moves them
        self.folder = DataFolder.of(settings, serves=True)
        self.metrics = Metrics()
        self.clock = clock or UnixClock()
        self.clocks = Clocks(self.clock, wall, steady_us=steady_us, boot_id=boot_id() if steady_us else None)
        self._wall = self.clocks.now
        self._rows_of: RowsOfNodes | None = None
        self._closing = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._tick_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the data folder and bring back what was running; raises OperatorError."""
        settings = self.settings
        shared = self.boundary.shared
        refuse_weak_keys(settings)
        if self.cluster is not None:
            self.cluster.check()
        if self._place is None:
            self.folder.claim()
            end_drain(self.folder.drain)
        else:
            self.folder.join(self._place.start.lock, worker=self.boundary.index)
        self._closing.callback(self.folder.release)
        refuse_unfinished(self.folder)
        if self._place is not None and self._place.start.catalog is not None:
            self.folder.check_begun(self._place.start.catalog, has_key_file=settings.master_key is None)
        reserve_file = ReserveFile(self.folder.reserve_file)
        disk_watch = DiskWatch(self.folder.root, reserve_file, looks_after=self._is_first_here)
        await asyncio.to_thread(disk_watch.look)
        self.removals = removals = Removals()
        self._closing.callback(removals.close)
        storage = LocalStorage(self.folder.recordings, removals=removals, modes=self.folder.modes)
        storage.prepare(self.folder.spool)
        self._local = storage
        self.stores = Stores.of(settings.storage)
        self.files = FinishedFiles(storage, self.stores, look=is_as_recorded)
        makes_link_keys = not self.begins_server and not self.folder.link_keys.exists()
        load_links: Callable[[], LinkKeys] = lambda: load_link_keys(self.folder.link_keys, self._wall())  # noqa: E731
        if self.cluster is not None:
            load_links = self.cluster.link_keys
        self.links = load_links()
        has_store = self.stores.first is not None
        self.public_urls = PublicUrls(
            self.links, settings.base_url, settings.recording_base_url, behind=settings.storage.url
        )
        wanted = wanted_facts(settings.webhooks)
        is_lost = await asyncio.to_thread(self.folder.is_lost_if_new)
        if is_lost and self.folder.database == self.folder.catalog:
            log.warning("catalog_lost", folder=str(settings.data_dir), to_do=WITHOUT_CATALOG)
        open_catalog = functools.partial(
            Catalog.open,
            self.folder.database,
            is_wanted=wanted,
            is_lost=is_lost,
            has_store=has_store,
            transcribes=settings.transcription.is_on,
        )
        self.catalog = await reserve_file.lend(open_catalog, why="the server starts on a full disk")
        self._closing.push_async_callback(self.catalog.database.close)
        if self.begins_server:
            await asyncio.to_thread(check_alone, self.folder.database)
        corrections = ClockCorrections(self.catalog.database)
        if self.cluster is None:
            await go_on(
                self.clocks,
                corrections=corrections,
                recordings=self.catalog.recordings,
                is_beside=not self.begins_server,
            )
        self.master = master = await self.folder.load_master_key(
            settings.master_key, self.catalog.app_keys, is_server=True
        )
        if self.cluster is not None:
            self._closing.push_async_callback(self.cluster.stop)
            database = await self.catalog.uploads.installation()
            await self.cluster.connect(self.folder, master=master, database=database)
            self._rows_of = RowsOfNodes(self.catalog.database, node=self.cluster.node, owner_of=self.cluster.owner_of)
            self.cluster.make_journals(self.folder, rows=self._rows_of, store=self.stores.first, removals=removals)
        digests = KeyDigests(master)
        app_cache = AppCache(self.catalog.apps, time.monotonic, server_options=settings.recording_options)
        expiry = Expiry(
            app_cache.get,
            server_hours=settings.retention.hours,
            kept_elsewhere=settings.recording_base_url is not None,
            on_wall=self.clocks.on_wall,
        )
        secret_box, signing_keys = SecretBox(master), SigningKeys(master)
        self.webhooks = WebhookService(
            self.catalog,
            settings.webhooks,
            secret_box=secret_box,
            signing_keys=signing_keys,
            public_urls=self.public_urls,
            now=self._wall,
        )
        self._closing.push_async_callback(self.webhooks.stop)
        self.uploads: UploadService | None = None
        if has_store:
            self.uploads = UploadService(
                settings.storage,
                stores=self.stores,
                catalog=self.catalog,
                local=storage,
                facts_of=self.webhooks.facts_of_stored,
                url_of=self.public_urls.of,
                reserve_file=reserve_file,
                now=self._wall,
                on_in_store=lambda recording_id: self.recorder.leases.stored(recording_id),
            )
            self._closing.push_async_callback(self.uploads.stop)
            if self.begins_server:
                await self.uploads.check()
        self.transcriber = None
        if settings.transcription.is_on:
            self.transcriber = make_transcriber(
                settings.transcription,
                catalog=self.catalog,
                files=self.files,
                storage=storage,
                spool=self.folder.spool,
                facts_of=self.webhooks.facts_of_transcribed,
                now=self._wall,
                is_of_nodes=self.cluster is not None,
            )
            self._closing.push_async_callback(self.transcriber.stop)
        if self.begins_server:
            await make_default_app(settings, self.catalog.apps, digests=digests, now=self._wall())
            refuse_weak_rows(settings, (await self.catalog.app_keys.read()).keys, now=self._wall())
            check_names(settings, await self.catalog.apps.list())
        self._loop = asyncio.get_running_loop()
        self._writer = JournalWriter(
            self.folder.journal,
            on_written=self._on_written,
            on_pressure=self._on_pressure,
            queue_bytes=settings.journal.queue_bytes,
            segment_bytes=settings.journal.segment_bytes,
            sync_interval_s=settings.journal.sync_interval_s,
            removals=removals,
            copies=None if self.cluster is None else self.cluster.journals.copier,
        )
        self._writer.start()
        self._closing.push_async_callback(asyncio.to_thread, self._writer.stop)
        publisher = Publisher(
            storage=storage,
            recordings=self.catalog.recordings,
            facts_of=self.webhooks.facts_of,
            expires_at=expiry.of,
            sidecar=self._sidecar if settings.sidecar else None,
            on_wall=self.clocks.on_wall,
        )
        self.recorder = Recorder(
            Folders(journal=self.folder.journal, spool=self.folder.spool),
            writer=self._writer,
            publisher=publisher,
            patience=Patience.of(file_s=settings.behind_wait_s, early_s=settings.stall_wait_s),
            removals=removals,
            shared=shared,
        )
        self._closing.push_async_callback(self.recorder.stop, FINISH_S)
        quotas = quotas_of(settings, shared)
        pools = Pools.of(settings.limits, shared)
        self._closing.push_async_callback(pools.stop)
        self.live = Live(
            self.recorder,
            reads=pools.live_reads,
            max_listeners=settings.limits.live_listeners,
            quotas=quotas,
            shared=shared,
        )
        beside = (self.folder.link_keys, self.folder.journal, self.folder.recordings)
        reserve = DiskReserve(self.folder.spool, settings.limits.min_free_bytes, beside=beside)
        await reserve.look()
        self.usage = AppUsage(quotas, catalog=self.catalog, recorder=self.recorder, reserve=reserve, shared=shared)
        await self.usage.look()
        conversions = Conversions(
            storage=storage,
            files=self.files,
            spool=self.folder.spool,
            reserve=reserve,
            places=conversion_places(settings.limits),
            max_bytes=settings.limits.conversion_bytes,
            quotas=quotas,
            removals=removals,
            shared=shared,
        )
        self._closing.push_async_callback(conversions.stop)
        waveforms = Waveforms(
            recorder=self.recorder,
            storage=storage,
            files=self.files,
            spool=self.folder.spool,
            live_reads=pools.live_reads,
            downloads=pools.downloads,
            stored_downloads=pools.stored_downloads,
        )
        self._closing.push_async_callback(waveforms.stop)
        open_files, fetches = OpenFiles(), Fetches()
        self._closing.callback(fetches.end)
        eraser = Eraser(
            catalog=self.catalog,
            storage=storage,
            files=self.files,
            recorder=self.recorder,
            set_aside=self._writer.set_aside,
            kept=timedelta(hours=settings.retention.hours),
            reserve_file=reserve_file,
        )
        news = News(self.boundary, is_of_nodes=self.cluster is not None)
        news.of_webhooks(self.catalog, self.webhooks.dispatcher)
        ends = [open_files.end, self.live.end, conversions.end, self.webhooks.dispatcher.forget]
        if self.uploads is not None:
            news.of_uploads(self.catalog, self.uploads.uploader)
            if self._is_first_here:
                ends.append(self.uploads.uploader.recording_removed)
        wake_transcriber = None
        if self.transcriber is not None:
            wake_transcriber = news.of_transcriptions(self.catalog, self.transcriber)
            if self._is_first_here:
                ends.append(self.transcriber.recording_removed)
        news.of_removals(eraser, self.recorder, ends, remove_here=None if self.cluster is None else eraser.remove_here)
        keys = KeyTemplate(settings.object_key)
        hide_keys(hidden=keys.is_personal)
        new_recordings = NewRecordings(keys=keys, reserve=reserve, now_us=self.clock.now_us)
        self.sessions = Sessions(
            timing=Timing(
                reconnect_wait_us=int(settings.reconnect_wait_s * 1e6),
                start_wait_us=int(settings.start_wait_s * 1e6),
                announced_wait_us=int(settings.announced_wait_s * 1e6),
                orphan_after_us=int(settings.orphan_after_s * 1e6),
            ),
            limits=SessionLimits(
                sessions=settings.limits.sessions,
                streams_per_session=settings.limits.streams_per_session,
                headroom=Headroom(
                    loop_delay_s=settings.limits.loop_delay_s,
                    fold_delay_s=settings.limits.fold_delay_s,
                    queue_bytes=settings.journal.queue_bytes // 2,
                ),
                recordings=settings.limits.recordings,
                auto_record=settings.auto_record,
            ),
            recorder=self.recorder,
            writer=self._writer,
            new_recordings=new_recordings,
            options_of=app_cache.last_options,
            quotas=quotas,
            shared=shared,
        )
        self.pages = LivePages(
            self.sessions,
            live=self.live,
            boundary=self.boundary,
            max_pages=settings.limits.live_pages,
            now_us=self.clock.now_us,
            quotas=quotas,
            shared=shared,
        )
        self._ticker = Ticker(self.sessions, writer=self._writer, recorder=self.recorder)
        self._opened = OpenedStreams(
            await make_opener(settings, self._closing, now=self._wall, is_only_app=self._is_only_app),
            request_for=OpenRequests(settings, make_token=self._make_token, now=self._wall).make,
            sessions=self.sessions,
            now_us=self.clock.now_us,
        )
        self._closing.push_async_callback(self._opened.stop, CLOSE_S)
        commands = Commands(
            sessions=self.sessions,
            recorder=self.recorder,
            opened=self._opened,
            catalog=self.catalog,
            eraser=eraser,
            new_recordings=new_recordings,
            now_us=self.clock.now_us,
            wall=self._wall,
            who_asks=lambda app_id: self.authenticator.who(app_id),
            boundary=self.boundary,
        )
        self.recorder.set_automatic_end_handler(commands.end_automatically)
        self.authenticator = Authenticator(
            app_keys=self.catalog.app_keys,
            app_cache=app_cache,
            master=master,
            twilio=twilio_account(settings),
            audiohook=audiohook_client(settings),
            shared=shared,
            now=self._wall,
        )
        await self.authenticator.refresh()
        news.of_apps(self.catalog, self.authenticator)
        news.of_sessions(self.sessions)
        self.recovery = Recovery(
            folder=self.folder.journal,
            sessions=self.sessions,
            recorder=self.recorder,
            recordings=self.catalog.recordings,
            storage=storage,
            writer=self._writer,
            clock=self.clock,
            wall=self._wall,
            boundary=self.boundary,
            uploading=self.catalog.uploads.tried if has_store else None,
            in_store=functools.partial(find_object, self.stores) if has_store else None,
            is_again=self._place is not None and self._place.start.is_again,
        )
        self.boundary.answers(MADE_AGAIN, self.recovery.answer)
        if self.cluster is not None:
            self.cluster.attach(
                catalog=self.catalog,
                publisher=publisher,
                recorder=self.recorder,
                sessions=self.sessions,
                recovery=self.recovery,
                used=self._sessions_here,
                now_us=self.clock.now_us,
            )
            if self.uploads is not None:
                self.cluster.journals.aside.on_settled = self.uploads.look_for_left_copies
        self._gateway = GatewayCommands(
            commands,
            self.catalog.operations,
            rules=command_rules(settings),
            now_us=self.clock.now_us,
            wall=self._wall,
        )
        gateway = gateway_dependencies(
            settings,
            quotas=quotas,
            commands=self._gateway,
            apps=self.catalog.apps,
            app_cache=app_cache,
            authenticator=self.authenticator,
            live=self.live,
            secret_box=secret_box,
            digests=digests,
            now=self._wall,
            shared=shared,
        )
        watch = Watch(
            self.folder,
            catalog=self.catalog,
            authenticator=self.authenticator,
            links=self.links,
            load_links=load_links,
            live=self.live,
            pages=self.pages,
            recorder=self.recorder,
            sessions=self.sessions,
            writer=self._writer,
            opener_trouble=lambda: self._opened.trouble,
            reserve=reserve,
            now=self._wall,
        )
        news.of_links(watch.reload_links, were_made=makes_link_keys)
        transcripts = Transcripts(
            rows=self.catalog.transcriptions,
            asked=self.catalog.asked_transcriptions,
            files=self.files,
            reads=pools.downloads,
            boundary=self.boundary,
            now=self._wall,
            wake=wake_transcriber,
        )
        dependencies = ApiDependencies(
            commands=commands,
            authenticator=self.authenticator,
            app_cache=app_cache,
            urls=self.public_urls,
            holds=Holds(register=self.catalog.holds, commands=commands, recorder=self.recorder),
            dead_letters=self.catalog.dead_letters,
            recordings=self.catalog.recordings,
            storage=storage,
            files=self.files,
            open_files=open_files,
            conversions=conversions,
            downloads=pools.downloads,
            stored_downloads=pools.stored_downloads,
            redirects_for=settings.storage.addresses_open_for,
            live=self.live,
            pages=self.pages,
            waveforms=waveforms,
            check_missing=MissingFiles(
                boundary=self.boundary,
                recovery=self.recovery,
                recorder=self.recorder,
                is_taken=None if self.cluster is None else self.cluster.journals.brings_back,
                has_row=None if self._rows_of is None else self._rows_of.has_row,
            ).check,
            boundary=self.boundary,
            console_passes=ConsolePasses(master) if settings.console else None,
            messages=self.webhooks.messages,
            readiness=(
                Readiness(self.boundary, watch.not_ready_because).not_ready_because
                if self.cluster is None
                else watch.not_ready_because
            ),
            fetches=fetches,
            quotas=quotas,
            losses=lambda: self.folder.losses,
            uploads=upload_state(self.catalog, now=self._wall) if has_store else None,
            metrics=WorkerMetrics(self.metrics, self.boundary if self.cluster is None else Alone()).text,
            transcripts=transcripts,
            now=self._wall,
            body_limit_bytes=settings.limits.body_bytes,
            page_limit=settings.limits.page_size,
            link_ttl_s=settings.links.ttl_s,
            trusted_proxies=settings.trusted_proxies,
            media_urls=None if self.cluster is None else self.cluster.media_url_of,
            cors_origins=settings.cors_origins,
        )
        facades = FacadeDependencies(
            commands=commands,
            authenticator=self.authenticator,
            app_cache=app_cache,
            urls=self.public_urls,
            files=self.files,
            operations=self.catalog.operations,
            deliveries=self.catalog.deliveries,
            transcripts=transcripts,
            signing_keys=signing_keys,
            sounds=pools.sounds,
            stored_downloads=pools.stored_downloads,
            now=self._wall,
            quotas=quotas,
            rules=facade_rules(settings),
            body_limit_bytes=settings.limits.body_bytes,
            page_limit=settings.limits.page_size,
            link_ttl_s=settings.links.ttl_s,
            allow_http_webhooks=settings.webhooks.allow_http,
            allow_localhost_webhooks=settings.webhooks.allow_localhost,
        )
        self.app = create_app(dependencies, gateway, facades)
        self.endpoint = media_endpoint(
            settings,
            quotas=quotas,
            authenticator=self.authenticator,
            app_cache=app_cache,
            sessions=self.sessions,
            boundary=self.boundary,
            now_us=self.clock.now_us,
        )
        sweeper = Sweeper(self.catalog, storage, eraser)
        clock_watch = ClockWatch(
            self.clocks,
            corrections=corrections,
            reserve_file=reserve_file,
            recorder=self.recorder,
            sweeper=sweeper,
            dispatcher=self.webhooks.dispatcher,
            set_aside=self._writer.set_aside,
            boundary=self.boundary,
        )
        self.front = http_front(settings, refusal_log=self.endpoint.refusal_log, boundary=self.boundary)
        self.drain = Drain(
            self.folder.drain,
            sessions=self.sessions,
            recorder=self.recorder,
            recovery=self.recovery,
            hand_over=None if self.cluster is None else self._hand_over,
            end=self._end_server if self._is_first_here else None,
        )
        if self.cluster is not None:
            self.cluster.nodes.counts_in(self.front.open)
            self.cluster.spreads(self.sessions.load, reserve, journal_refused=lambda: self._writer.refused)
        self.metrics.add(
            collect_metrics(
                counters=self.endpoint.counters,
                front=self.front,
                sessions=self.sessions,
                writer=self._writer,
                recorder=self.recorder,
                live=self.live,
                pages=self.pages,
                recovery=self.recovery,
                removals=removals,
                files=self.files,
                sweeper=sweeper,
                clock_watch=clock_watch,
                dispatcher=self.webhooks.dispatcher,
                uploads=self.uploads,
                transcriber=self.transcriber,
                now=self._wall,
                opened=self._opened,
                requests=dependencies.requests,
                authenticator=self.authenticator,
                reserve=reserve,
                drain=self.drain,
            )
        )
        if self.cluster is not None:
            self.metrics.add(self.cluster.read_metrics())
        self.recovery.defer_streams()
        self._closing.push_async_callback(self._end_background)
        self._keep(self._recover, "recovery")
        self._keep(reserve.watch, "disk reserve")
        self._keep(disk_watch.run, "disk")
        self._keep(self.usage.watch, "usage of apps")
        self._keep(watch.access, "watch of apps and keys")
        self._keep(watch.folders, "data folder")
        self._keep(self.drain.run, "drain")
        sweep = functools.partial(sweeper.run, interval_s=settings.retention.sweep_interval_s, now=self._wall)
        if self._is_first_here:
            if self._place is not None:  # the other workers go by it
                await reserve_file.lend(clock_watch.keep, why="the server starts on a full disk")
            self.webhooks.start()
            if self.uploads is not None:
                self.uploads.start()
            if self.transcriber is not None and self.cluster is None:
                self.transcriber.start()
            self._keep(watch.modes, "file modes")
        if self.cluster is not None:
            assert isinstance(self.folder.database, PostgresPlace)  # or the settings are refused
            once = functools.partial(self._sweep_and_transcribe, sweep)
            self._keep(functools.partial(self.cluster.do_once, once, self.folder.database), "what is done once")
            self._keep(self.cluster.journals.run, "journals of the cluster")
            self._keep(functools.partial(self.cluster.release_unused, self._has_rows), "unused claims")
        elif self._is_first_here:
            self._keep(clock_watch.run, "wall clock")
            self._keep(sweep, "sweeper")
        else:
            self._keep(clock_watch.follow, "wall clock")
        self._schedule_tick(self._loop.time())

    async def _sweep_and_transcribe(self, sweep: Callable[[], Coroutine[None, None, None]]) -> None:
        async with asyncio.TaskGroup() as once:
            once.create_task(sweep())
            if self.transcriber is not None:
                once.create_task(self.transcriber.transcribe())

    def begin_shutdown(self) -> None:
        """Treat what ends from here on as our doing: running recordings go on at the next start."""
        self._ticker.shut_down(self.clock.now_us())
        self.live.stop()
        self.pages.stop()

    async def leave(self) -> None:
        """Begin the shutdown; in a cluster, return when the others may have what runs: it is copied, and they know."""
        self.begin_shutdown()
        if self.cluster is not None:
            leases = self.recorder.leases
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await asyncio.gather(*(leases.flush(journal) for journal in leases.journals()))
                    await self.recorder.settle(LEAVE_S)
            await self.cluster.leave()

    async def _hand_over(self) -> None:
        """Leave, and have the peers of what ran come back, to whichever node they are sent."""
        await self.leave()
        for session in [*self.sessions]:
            for stream in [*session.streams]:
                stream.handle.close(SERVICE_RESTART, "service restart")

    async def stop(self) -> None:
        """Finish what was stopped, write what was journaled, close everything; also after a start that failed."""
        await self._closing.aclose()

    async def _recover(self) -> None:
        if self._rows_of is not None:
            await self._rows_of.adopt(await asyncio.to_thread(lambda: [*self._local.walk()]))
        await self.recovery.run()
        await self._gateway.finish_stops(lambda session_id: self.boundary.owner(session_id) == self.boundary.index)

    async def _end_background(self) -> None:
        self.begin_shutdown()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # ---- among several workers ---------------------------------------------------------------------------------

    @property
    def _is_first_here(self) -> bool:
        """Whether webhooks, uploads, and what the data folder needs as a whole are this worker's to do."""
        return self.boundary.index == 0 or self.cluster is not None

    def _sessions_here(self) -> set[str]:
        assert self.cluster is not None
        live = {recording.row.session_id for recording in self.recorder}
        return self.sessions.ids() | live | self.cluster.journals.sessions

    async def _has_rows(self, session_id: str) -> bool:
        """Return whether recordings of the session wait here for their files, or these for the bucket."""
        assert self._rows_of is not None
        rows = await self._rows_of.of_session(session_id)
        return any(row.status.is_unfinished or row.status is Status.AVAILABLE for row in rows)

    @property
    def begins_server(self) -> bool:
        """Whether the server begins with this start; else others record already, or this one is one of the next."""
        return self._place is None or (self.boundary.index == 0 and not self._place.start.is_again)

    # ---- what the parts are handed -----------------------------------------------------------------------------

    def _make_token(self, app_id: str, session_id: str, expires_at: datetime) -> str:
        return self.authenticator.make_token(app_id=app_id, session_id=session_id, expires_at=expires_at)

    async def _is_only_app(self, name: str) -> bool:
        return all(app.name == name for app in await self.catalog.apps.list())

    def _end_server(self) -> None:
        """End as on SIGTERM, which the supervisor hands to all workers."""
        os.kill(os.getpid() if self._place is None else os.getppid(), signal.SIGTERM)

    def _sidecar(self, recording: Recording) -> bytes:
        return write_sidecar(recording, url=self.public_urls.of(recording))

    # ---- the tick ----------------------------------------------------------------------------------------------

    def _schedule_tick(self, due: float) -> None:
        self._tick_timer = self._loop.call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        now = time.monotonic()  # uvloop's own time counts whole milliseconds
        self.metrics.loop_delay.observe(now - due)
        try:
            self._ticker.tick(self.clock.now_us(), late_us=int((now - due) * 1e6))
            self.live.tick()
        except Exception:  # one session's fault must not stop the tick of all
            log.exception("tick_failed")
        self._schedule_tick(max(due + TICK_S, now))

    def _on_written(self, journals: Sequence[Journal]) -> None:
        self.live.written(journals, self.clock.now_us())

    def _on_pressure(self, full: bool) -> None:
        if full:
            log.warning("journal_queue_full")
        else:
            log.warning("journal_queue_has_room")
        self._loop.call_soon_threadsafe(self.sessions.apply_backpressure, full)

    # ---- within ------------------------------------------------------------------------------------------------

    def _keep(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        async def run() -> None:
            with suppress(asyncio.CancelledError):
                try:
                    await work()
                except Exception:
                    log.exception("background_task_failed", task=name)

        task = asyncio.create_task(run(), name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _node_of_cluster(settings: Settings) -> ClusterService:
    from wavstream.service.cluster_service import ClusterService  # what it needs is of no use to a server that is alone

    return ClusterService(settings)
