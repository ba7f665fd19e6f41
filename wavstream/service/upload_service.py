"""The store of finished files as a running server has it: looked at before the port is served, and uploaded to.

1. At the start each store is used (``storage/probe.py``), within ``CHECK_S``. What waiting alone will not mend refuses
   the start: nobody finds out after a week that nothing was uploaded. A store that is merely away does not: recordings
   are made and served here, and go when it is back.
2. One worker uploads, for all; the others tell it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from wavstream.catalog.catalog import Catalog
from wavstream.errors import DependencyError, OperatorError, StoreError
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording
from wavstream.settings import StorageSettings
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.probe import check_owner, probe
from wavstream.storage.reserve_file import ReserveFile
from wavstream.storage.stores import Stores
from wavstream.uploads.programs import Programs
from wavstream.uploads.schedule import Schedule
from wavstream.uploads.uploader import Uploader

log = structlog.get_logger(__name__)

CHECK_S = 10.0


class UploadService:
    """Uploads, and runs the operator's program; lives on the event loop."""

    def __init__(
        self,
        settings: StorageSettings,
        *,
        stores: Stores,
        catalog: Catalog,
        local: LocalStorage,
        facts_of: Callable[[Recording], Sequence[Fact]],
        url_of: Callable[[Recording], str],
        reserve_file: ReserveFile,
        now: Callable[[], datetime],
        on_in_store: Callable[[str], None] = lambda _recording_id: None,
    ) -> None:
        assert stores.first is not None
        self._stores = stores
        self._catalog = catalog
        self._now = now
        self._lend = reserve_file.lend
        self._signed = settings.addresses_open_for
        self.programs: Programs | None = None
        if settings.on_stored:
            self.programs = Programs(
                catalog=catalog,
                command=settings.on_stored,
                timeout_s=settings.on_stored_timeout_s,
                url_of=url_of,
                now=now,
            )
        schedule = Schedule(
            stores.first.url,
            None if stores.backup is None else stores.backup.url,
            backup_after=timedelta(seconds=settings.backup_after_s),
        )
        self.uploader = Uploader(
            catalog=catalog,
            local=local,
            stores=stores,
            schedule=schedule,
            at_once=settings.uploads,
            facts_of=facts_of,
            reserve_file=reserve_file,
            now=now,
            on_stored=None if self.programs is None else self.programs.wake,
            on_in_store=on_in_store,
        )

    async def check(self, *, within_s: float = CHECK_S) -> None:
        """Use the stores before the server does; raise OperatorError if one will not take files (rule 1)."""
        installation = await self._lend(self._catalog.uploads.installation, why="the server starts on a full disk")
        await asyncio.gather(*(_check(store, self._signed, within_s, installation) for store in self._stores))

    def start(self) -> None:
        """Upload what was left and what comes; in one worker, for all (rule 2)."""
        self.uploader.start()
        if self.programs is not None:
            self.programs.start()

    def look_for_left_copies(self) -> None:
        """Look once more what is here of files that are in a store: another node has uploaded what was made here."""
        self.uploader.are_copies_removed = False
        self.uploader.wake()

    async def stop(self) -> None:
        """Break off what is under way; the next start does it again."""
        await self.uploader.stop()
        if self.programs is not None:
            await self.programs.stop()


async def look_at_stores(
    settings: StorageSettings, installation: str | None, *, within_s: float = CHECK_S
) -> list[str]:
    """Use the stores as a start does, and leave nothing there; return a line for each.

    ``installation``: what the stores know the catalog by; None: it has no name yet. Raise OperatorError if a start
    would be refused.
    """
    lines = []
    for store in Stores.of(settings):
        away = await _check(store, settings.addresses_open_for, within_s)
        if away is None:
            try:
                await check_owner(store, installation)
            except StoreError as error:
                if error.is_lasting:
                    raise OperatorError(str(error)) from error
                away = str(error)
        lines.append(f"{store.url}: takes files" if away is None else f"{away}; a start would go on without it")
    return lines


async def _check(
    store: ObjectStore, signed: timedelta | None, within_s: float, installation: str | None = None
) -> str | None:
    """Return why it cannot be used now; None: it can. ``installation``: takes it, if it is nobody's."""
    try:
        async with asyncio.timeout(within_s):
            findings = await probe(store, installation=installation, signed=signed)
    except TimeoutError:
        problems = [StoreError(f"{store.url}: the store has not answered within {within_s:g} s")]
    else:
        problems = [each.problem for each in findings if each.problem is not None]
    for problem in problems:
        if problem.is_lasting:
            raise OperatorError(str(problem)) from problem
    if not problems:
        return None
    log.warning("store_away", store=store.url, error=str(problems[0]))
    return str(problems[0])


def upload_state(catalog: Catalog, *, now: Callable[[], datetime]) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    """Return what tells, on any worker, what waits to be uploaded; None: that cannot be told now."""

    async def state() -> dict[str, Any] | None:
        try:
            backlog = await catalog.uploads.backlog()
        except DependencyError:
            return None
        oldest_s = 0.0 if backlog.since is None else max((now() - backlog.since).total_seconds(), 0.0)
        return {"waiting": backlog.count, "oldest_s": round(oldest_s, 3), "error": backlog.error}

    return state
