"""``wavstream serve --check``: whether a start would succeed, found out without one.

What a start reads and opens is read and opened: by a real start, but of a copy, in a folder for the while, of catalog
and keys. Nobody is told anything by it, and no file of the data folder is touched: a server may run on it meanwhile.
The folder itself, its lock and the addresses are looked at where they are, and stores are used as a start uses
them, but for the marker that says whose they are: the id in it would be that of a copy that is gone. An address that is
taken is no mistake where the server of this folder has it, as the lock says: it will be free when that is stopped. Any
other is.

A node of a cluster is started as a server that is alone, and what it needs of the cluster is looked at beside that,
without joining: its settings as a whole, the address for other nodes, NATS, and what the cluster has there already.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from rich.console import Console

from wavstream.catalog.access_copy import copy_access
from wavstream.catalog.database import has_schema
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.cluster.preamble import key_of
from wavstream.cluster.start_checks import check_driver, check_settings
from wavstream.errors import OperatorError
from wavstream.model.hosts import UNIX
from wavstream.service.backup import copy_catalog
from wavstream.service.data_folder import DataFolder
from wavstream.service.listeners import AddressTaken, Listeners
from wavstream.service.service import Service
from wavstream.service.supervisor import worker_count
from wavstream.service.upload_service import look_at_stores
from wavstream.settings import Settings, StorageSettings
from wavstream.settings.catalog import CatalogSettings
from wavstream.settings.cluster import ClusterSettings

_TELLS = """
    DELETE FROM outbox; DELETE FROM uploads; DELETE FROM recordings; DELETE FROM operations; DELETE FROM idempotency;
    UPDATE apps SET webhook_json = NULL;
"""
"""What a start on the copy must not find: it would tell apps of it, or look for files and calls."""


async def check_start(settings: Settings, console: Console) -> None:
    """Print what was checked; raise OperatorError with what a start would refuse."""
    worker_count(settings)
    check_settings(settings)  # of a node, as a whole: what is started has a part of them
    folder = DataFolder.of(settings)
    held = await asyncio.to_thread(_look, folder)
    root = folder.root.resolve()
    _say(f"data folder {root}: {_state(folder, held)}", console)
    lines = await asyncio.to_thread(lambda: list(_addresses(settings, held)))
    with tempfile.TemporaryDirectory(prefix="wavstream-check-") as name:
        await asyncio.to_thread(_copy, folder, DataFolder(Path(name)))
        installation = await asyncio.to_thread(_installation, Path(name) / folder.catalog.name)
        as_copied = {"data_dir": Path(name), "catalog": CatalogSettings(), "storage": StorageSettings()}
        as_copied |= {"cluster": ClusterSettings()}
        apps = await _start(settings.model_copy(update=as_copied), as_if=root)
    lines += await look_at_stores(settings.storage, installation)
    if settings.cluster.joined is not None:
        lines += await _look_at_cluster(settings, held)
    _say(f"settings, catalog, master key and links: as they should be; {apps} apps", console)
    for line in lines:
        _say(line, console)
    _say("a start would succeed" + (" once that server is stopped" if held is not None else ""), console)


def _state(folder: DataFolder, held: list[str] | None) -> str:
    if held is not None:
        return "a server uses it"
    if not folder.root.exists() and folder.database == folder.catalog:
        return "there is none, a start would make it"
    if isinstance(folder.database, PostgresPlace):
        has_one = "can be used" if has_schema(folder.database) else "has no tables, a start would make them"
        return f"can be used; the catalog, {folder.database.name}, {has_one}"
    if folder.has_lost_catalog():
        return "its catalog is not there, a start would make one without the apps and keys that it had"
    return "can be used" if folder.catalog.exists() else "has no catalog, a start would make one"


def _addresses(settings: Settings, held: list[str] | None) -> Iterator[str]:
    """Yield a line for each address that a start would have; raise OperatorError for one that it would not.

    ``held``: where the server of this folder listens; empty: it does not say, None: there is none.
    """
    if held is None:
        Listeners.open(settings).close()  # all at once: they may be in each other's way
    for host in settings.hosts:
        unix = host.startswith(UNIX)
        where = host if unix else f"{host}, port {settings.port}"
        if held is None:
            yield f"{where}: free"
            continue
        try:
            Listeners.open(settings.model_copy(update={"host": host})).close()
        except AddressTaken:
            if held and (host if unix else str(settings.port)) not in held:
                raise
            yield f"{where}: taken, by that server" + ("" if held else " presumably: it does not say where it listens")
        else:
            yield f"{where}: free"


def _look(folder: DataFolder) -> list[str] | None:
    """Return where the server listens that uses the folder, None: none does; raise OperatorError if it cannot be."""
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
    folder.has_lost_catalog()
    return folder.places()


def _copy(folder: DataFolder, copy: DataFolder) -> None:
    for secret in ("master_key", "link_keys"):
        if (source := getattr(folder, secret)).exists():
            shutil.copyfile(source, getattr(copy, secret))
    if isinstance(folder.database, PostgresPlace):
        copy_access(folder.database, copy.catalog)
        return
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


async def _look_at_cluster(settings: Settings, held: list[str] | None) -> list[str]:
    """Return a line for each thing that a node needs for its cluster; raise OperatorError for what is not so."""
    check_driver()
    from wavstream.cluster.jetstream import JetStream  # it needs what is installed for a cluster alone
    from wavstream.cluster.nodes import Nodes

    cluster = settings.cluster
    node = cluster.node_name(socket.gethostname())
    listens = f"other nodes: {cluster.listen}, taken, by that server"
    if held is None:
        nodes = Nodes(node)
        await nodes.listen(cluster.listen, key=key_of(os.urandom(32)))
        await nodes.close()
        listens = f"other nodes: {cluster.listen}, free"
    server = await JetStream.look(cluster, node=f"{node} (check)")
    return [listens, f"node {node} of cluster {cluster.joined}: NATS at {server} can be used"]


def _installation(catalog: Path) -> str | None:
    """Return what stores know the catalog by; None: it has no such name yet."""
    if not catalog.exists():
        return None
    with closing(sqlite3.connect(catalog)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'installation'").fetchone():
            return None
        row = database.execute("SELECT name FROM installation").fetchone()
    return None if row is None else str(row[0])


async def _start(settings: Settings, *, as_if: Path) -> int:
    """Start on the copy and stop again; return how many apps there are."""
    service = Service(settings)
    try:
        await service.start()
        return await service.catalog.apps.count()
    except OperatorError as error:
        raise OperatorError(str(error).replace(str(settings.data_dir), str(as_if))) from error
    finally:
        await service.stop()


def _say(line: str, console: Console) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
