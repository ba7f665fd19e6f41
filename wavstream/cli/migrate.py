"""``wavstream storage migrate``: finished files moved to a store, to another one, or back to this machine."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.moves import Moves, Selection
from wavstream.cli.data_folder import found_folder
from wavstream.errors import NotFound, OperatorError, WavstreamError
from wavstream.service.data_folder import DataFolder
from wavstream.service.migration import Migrated, Migration, named, stores_in
from wavstream.settings import Settings
from wavstream.storage.object_store import ObjectStore
from wavstream.storage.probe import probe
from wavstream.storage.stores import Stores

LOCAL = "local"
_LINE_EVERY_S = 5.0
_AGE = re.compile(r"(\d+)([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class NotMigrated(WavstreamError):
    """Something is still where it was: the text says how much, and why."""


def read_age(text: str) -> timedelta:
    """Return how long ``30d``, ``12h`` or ``90m`` is; raise OperatorError."""
    if (match := _AGE.fullmatch(text)) is None:
        raise OperatorError(f"--older-than {text}: give days, hours or minutes, as 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


async def run_migrate(
    to: str,
    settings: Settings,
    console: Console,
    *,
    app_name: str | None,
    older_than: timedelta | None,
    at_once: int,
    keep_s: float | None,
    is_dry: bool,
) -> None:
    """Move the files; raise OperatorError, or NotMigrated if something is left."""
    stores = Stores.of(settings.storage)
    target = None if to == LOCAL else _named_store(to, stores)
    folder = found_folder(settings)
    if not is_dry:
        await asyncio.to_thread(_check_server, folder, [store.url for store in stores], to)
    async with folder.open_catalog() as catalog:
        now = datetime.now(UTC)
        selection = Selection(
            target=None if target is None else target.url,
            app_id=None if app_name is None else await _app_id(catalog, app_name),
            before=None if older_than is None else now - older_than,
        )
        if is_dry:
            await _tell_what_would_be(catalog, selection, to, console)
            return
        if target is not None:
            await _check_target(target, catalog)
        keep = timedelta(seconds=settings.storage.signed_s if keep_s is None else keep_s)
        with Shown(console) as shown:
            done = await Migration(
                catalog=catalog,
                folder=folder,
                stores=stores,
                target=target,
                now=lambda: datetime.now(UTC),
                keep=keep,
                has_server=lambda: folder.places() is not None,
                at_once=at_once,
                min_free_bytes=settings.limits.min_free_bytes,
                on_progress=shown,
            ).run(selection)
    _report(done, to, console)


def _named_store(url: str, stores: Stores) -> ObjectStore:
    """Return the store to move to, which the settings must name: else nobody could read what is there."""
    for store in (stores.first, stores.backup):
        if store is not None and store.url == url.rstrip("/"):
            return store
    raise OperatorError(
        f"--to {url}: set storage.url to it, and storage.backup_url to the store that files are in now, for the server "
        f"too; or give --to {LOCAL}"
    )


async def _check_target(target: ObjectStore, catalog: Catalog) -> None:
    """Raise StoreError if the store does not take files, or has another installation's; it is this one's from now."""
    for finding in await probe(target, installation=await catalog.uploads.installation()):
        if finding.problem is not None:
            raise finding.problem


def _check_server(folder: DataFolder, urls: list[str], to: str) -> None:
    """Raise OperatorError if a server runs here that could not read what is moved."""
    noted = folder.places()
    if noted is None:
        return
    reads = stores_in(noted)
    lacking = [each for each in urls if each not in reads]
    if lacking and (to != LOCAL or reads):
        raise OperatorError(
            f"the server of {folder.root} does not read {' and '.join(lacking)}: give it the same storage.url and "
            "storage.backup_url as this command, start it again, and then move the files"
        )


async def _app_id(catalog: Catalog, name: str) -> str:
    app = await catalog.apps.find(name)
    if app is None:
        raise NotFound(f"--app {name}: there is no app of that name; 'wavstream apps list' has their names")
    return app.id


async def _tell_what_would_be(catalog: Catalog, selection: Selection, to: str, console: Console) -> None:
    moves = Moves(catalog.database)
    count, held = await moves.count(selection), await moves.held(selection)
    _say(f"{count - held} recordings would be moved to {to}", console)
    if held:
        _say(f"{held} are under a hold, and would stay where they are", console)


def _report(done: Migrated, to: str, console: Console) -> None:
    """Say what was done; raise NotMigrated if something is left."""
    _say(f"{done.moved} recordings moved to {to}, {done.size_bytes:,} bytes", console)
    for count, what in (
        (done.held, "are under a hold, and stay where they are until it is released"),
        (done.gone, "were erased or moved meanwhile"),
        (done.queued, "wait to be uploaded by the server, which does that by itself"),
    ):
        if count:
            _say(f"{count} {what}", console)
    lacks = []
    if done.left:
        lacks.append(f"{done.left} recordings are where they were")
    if done.not_removed:
        lacks.append(f"{done.not_removed} objects are still in the store that they were moved from")
    if lacks:
        why = "; ".join(filter(None, (done.stopped, named(done.failed))))
        raise NotMigrated(
            f"{' and '.join(lacks)}{f' ({why})' if why else ''}: nothing is lost; run this again, and it goes on"
        )


class Shown:
    """How far it is: a bar in a terminal, a line each five seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        """Prepare to show it."""
        self._console = console
        self._last_s = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._bar = self._progress.add_task("recordings", total=None)

    def __enter__(self) -> Self:
        """Begin."""
        self._progress.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """End."""
        self._progress.stop()

    def __call__(self, done: Migrated) -> None:
        """Show it."""
        if done.waits_until is not None:
            words = f"moved; former objects are removed from {done.waits_until:%H:%M:%S} UTC on"
        else:
            words = f"{done.size_bytes / 1e6:,.0f} MB"
        self._progress.update(self._bar, completed=done.done, total=max(done.total, done.done), description=words)
        if not self._console.is_terminal and time.monotonic() - self._last_s >= _LINE_EVERY_S:
            self._last_s = time.monotonic()
            _say(f"{done.done} of {done.total} recordings, {words}", self._console)


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
