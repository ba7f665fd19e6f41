"""``wavstream serve --check``: whether a start would succeed, found out without one.

What a start reads and opens is read and opened: by a real start, but of a copy, in a folder for the while, of catalog
and keys. Nobody is told anything by it, and no file of the data folder is touched: a server may run on it meanwhile.
The folder itself, its lock and the port are looked at where they are.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from rich.console import Console

from wavstream.api.app import make_facades
from wavstream.errors import OperatorError
from wavstream.service.backup import copy_catalog
from wavstream.service.data_folder import DataFolder
from wavstream.service.listeners import Listeners
from wavstream.service.service import Service
from wavstream.settings import Settings

_TELLS = """
    DELETE FROM outbox; DELETE FROM recordings; DELETE FROM operations; DELETE FROM idempotency;
    UPDATE apps SET webhook_json = NULL;
"""
"""What a start on the copy must not find: it would tell apps of it, or look for files and calls."""


async def check_start(settings: Settings, console: Console) -> None:
    """Print what was checked; raise OperatorError with what a start would refuse."""
    folder = DataFolder.of(settings)
    is_used = await asyncio.to_thread(_look, folder)
    root = folder.root.resolve()
    _say(f"data folder {root}: " + ("a server uses it" if is_used else "can be used"), console)
    if not is_used:
        Listeners.open(settings).close()
    with tempfile.TemporaryDirectory(prefix="wavstream-check-") as name:
        await asyncio.to_thread(_copy, folder, DataFolder(Path(name)))
        apps = await _start(settings.model_copy(update={"data_dir": Path(name)}), as_if=root)
    _say(f"settings, catalog, master key and links: as they should be; {apps} apps", console)
    where = f"{settings.host}, port {settings.port}"
    _say(f"{where}: {'not tried, a server runs' if is_used else 'free'}", console)
    _say("a start would succeed" + (" once that server is stopped" if is_used else ""), console)


def _look(folder: DataFolder) -> bool:
    """Return whether a server uses the folder; raise OperatorError if it cannot be used."""
    there = next(each for each in (folder.root, *folder.root.resolve().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OperatorError(
            f"the data folder {folder.root.resolve()} cannot be used: {there} is no folder that this user may write; "
            "make it one, or set WAVSTREAM_DATA_DIR"
        )
    below = [each for each in (folder.journal, folder.spool, folder.recordings) if each.exists()]
    for each in below:
        if not os.access(each, os.W_OK | os.X_OK):
            raise OperatorError(f"the folder {each} cannot be written: give this user the right to")
    if len({each.stat().st_dev for each in below}) > 1:
        raise OperatorError(f"{', '.join(map(str, below))} must be on one filesystem: finished files are moved")
    if not folder.lock.exists():
        return False
    with folder.lock.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _copy(folder: DataFolder, copy: DataFolder) -> None:
    for secret in ("master_key", "link_keys"):
        if (source := getattr(folder, secret)).exists():
            shutil.copyfile(source, getattr(copy, secret))
    if not folder.catalog.exists():
        return
    try:
        copy_catalog(folder.catalog, copy.catalog)
        with closing(sqlite3.connect(copy.catalog)) as database:
            known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for statement in filter(None, map(str.strip, _TELLS.split(";"))):
                if statement.split()[2 if statement.startswith("DELETE") else 1] in known:
                    database.execute(statement)
            database.commit()
    except sqlite3.Error as error:
        raise OperatorError(
            f"the catalog {folder.catalog} cannot be used: {error}; restore it from a backup"
        ) from error


async def _start(settings: Settings, *, as_if: Path) -> int:
    """Start on the copy and stop again; return how many apps there are."""
    service = Service(settings)
    try:
        await service.start()
        make_facades(service.app)
        return await service.catalog.apps.count()
    except OperatorError as error:
        raise OperatorError(str(error).replace(str(settings.data_dir), str(as_if))) from error
    finally:
        await service.stop()


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
