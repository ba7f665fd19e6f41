"""What others do beside a running server, looked at: the data folder, apps and keys; and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from wavstream.access.authenticator import Authenticator
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.failures import WHAT_TO_DO as CATALOG_TO_DO
from wavstream.errors import CatalogDamaged, DependencyError, OperatorError
from wavstream.journal.writer import JournalWriter
from wavstream.listening.live import Live
from wavstream.listening.live_pages import LivePages
from wavstream.recorder.recorder import Recorder
from wavstream.service.data_folder import DataFolder
from wavstream.service.disk_watch import why_short
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.registry import Sessions
from wavstream.storage.links import LinkKeys
from wavstream.storage.modes import mend_below

ACCESS_S = 0.5
"""How often the catalog is asked whether apps or keys were changed beside this process: well within a second."""
FOLDERS_S = 1.0
"""How often the folders are looked at."""

log = structlog.get_logger(__name__)


class Watch:
    """Looks after one running server. Each of its coroutines but ``not_ready_because`` runs until it is cancelled."""

    def __init__(
        self,
        folder: DataFolder,
        *,
        catalog: Catalog,
        authenticator: Authenticator,
        links: LinkKeys,
        load_links: Callable[[], LinkKeys],
        live: Live,
        pages: LivePages,
        recorder: Recorder,
        sessions: Sessions,
        writer: JournalWriter,
        opener_trouble: Callable[[], str | None],
        reserve: DiskReserve,
        now: Callable[[], datetime],
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._authenticator = authenticator
        self._links = links
        self._load_links = load_links
        self._live = live
        self._pages = pages
        self._recorder = recorder
        self._sessions = sessions
        self._writer = writer
        self._opener_trouble = opener_trouble
        self._reserve = reserve
        self._now = now
        self._trouble: str | None = None
        """Why the data folder cannot be used, and what to do."""

    async def folders(self) -> None:
        """Make folders again that were removed, and look whether the catalog is still there, once a second."""
        while True:
            await asyncio.sleep(FOLDERS_S)
            try:
                mended = await asyncio.to_thread(self._folder.mend, self._now())
                with suppress(CatalogDamaged):  # it is in the log, and in the answer of /readyz
                    await asyncio.to_thread(self._catalog.database.look)
            except OSError as error:
                if self._trouble is None:
                    log.error("data_folder_unusable", folder=str(self._folder.root), error=str(error))
                self._trouble = f"the data folder cannot be used ({error}): make it writable for this user"
            else:
                self._trouble = None
                if self._folder.journal in mended:
                    self._recorder.put_journals_back()

    async def modes(self) -> None:
        """Close what lies in recordings/ to others, a folder at a time, once: there may be many."""
        walk, wrong = mend_below(self._folder.recordings, self._folder.modes), 0
        try:
            while (found := await asyncio.to_thread(next, walk, None)) is not None:
                wrong += found
        except (OperatorError, OSError) as error:
            log.error("file_modes_not_mended", error=str(error))
        if wrong:
            log.warning("file_modes_mended", files=wrong)

    async def access(self) -> None:
        """Notice what a command line changed beside this process, and end what a key opened that is gone."""
        version = self._authenticator.version
        while True:
            await asyncio.sleep(ACCESS_S)
            try:
                await self._authenticator.refresh()
            except DependencyError:
                continue  # `/readyz` says so; keys that are known go on
            self._live.end_without(self._authenticator.is_good)
            self._pages.end_without(self._authenticator.is_good)
            if self._authenticator.version != version:
                with suppress(DependencyError):
                    await self._catalog.apps.look_for_webhooks()
                version = self._authenticator.version
                await self.reload_links()

    async def reload_links(self) -> None:
        """Take the link keys that there are now."""
        try:
            fresh = await asyncio.to_thread(self._load_links)
        except OperatorError as error:
            log.error("link_keys_unreadable", error=str(error))
        else:
            self._links.replace(fresh)

    async def not_ready_because(self) -> list[str]:
        """Return why no calls should be sent here, a sentence each; empty: they may."""
        reasons = []
        if self._sessions.is_stopping:
            reasons.append("the server is shutting down")
        elif self._sessions.load.is_draining:
            reasons.append("the server is being drained: it takes nothing new, and ends what it has")
        late = self._sessions.load.door.closed_by or self._late_of_the_only_app()
        if late is not None:
            reasons.append(f"new calls are refused, the server is too late: {late}")
        if self._trouble is not None:
            reasons.append(self._trouble)
        if (trouble := self._opener_trouble()) is not None:
            reasons.append(trouble)
        if (short := why_short(self._reserve)) is not None:
            reasons.append(short)
        if (refused := self._writer.refused) is not None:
            reasons.append(refused)
        elif self._writer.failing is not None:
            reasons.append(f"the journal cannot be written: {self._writer.failing}")
        try:
            await self._catalog.database.ping()
        except CatalogDamaged as error:
            reasons.append(f"the catalog is damaged ({error}): {CATALOG_TO_DO}")
        except DependencyError as error:
            reasons.append(f"the catalog does not answer: {error}")
        return reasons

    def _late_of_the_only_app(self) -> str | None:
        """Return why the only app gets no new calls: to whoever sends them here that is the whole server."""
        doors = [*self._sessions.load.doors.values()]
        return doors[0].closed_by if len(doors) == 1 and self._sessions.quotas.apps <= 1 else None
