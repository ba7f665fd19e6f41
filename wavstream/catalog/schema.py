"""The schema of a database file, brought up to date before anyone uses it, and how its connections are set up."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event, insert, inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from wavstream.catalog.failures import is_full, is_locked
from wavstream.catalog.tables import LOST_APPS, removed_apps
from wavstream.errors import DiskFull, OperatorError

_MIGRATIONS = Path(__file__).parent / "migrations"
_OVERWRITES_SINCE = "0009"
"""The version of the schema from which on what is deleted is overwritten."""
BUSY_TIMEOUT_MS = 5_000
"""How long one connection waits for another's write; the command line and the server share the file."""


def upgrade(path: Path, *, is_lost: bool = False) -> None:
    """Make or migrate the database at ``path``; blocking. Raises OperatorError if that cannot be done, or DiskFull.

    ``is_lost``: where there is none it was lost, so a new one lets nobody in without a key: there may have been apps.

    All of it is one write transaction, begun before the version is read: of two processes that start at once, the
    second finds the work done.
    """
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin_write)
    try:
        _make_private(path)
        with engine.begin() as connection:
            was = _version(connection)
            command.upgrade(migrations(connection), "head")
            if was is None and is_lost:
                connection.execute(insert(removed_apps).values(name=LOST_APPS, generation=0))
        if was is not None and was < _OVERWRITES_SINCE:
            _rewrite(path)
    except CommandError as error:
        raise OperatorError(
            f"{path} was made by a newer wavstream: use that version, or another file ({error})"
        ) from error
    except (DatabaseError, OSError) as error:
        if is_full(path, error):
            raise DiskFull(
                f"the disk is full: the catalog {path} cannot be opened without some room on it; delete other files on "
                "that disk, or make it larger, and start again"
            ) from error
        cause = getattr(error, "orig", None) or error
        raise OperatorError(f"the catalog {path} cannot be used: {cause}; check the file and its folder") from error
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    """Return the version of the schema; None: the file is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def _rewrite(path: Path) -> None:
    """Write the whole file anew: what earlier versions deleted is still in its unused parts."""
    connection = sqlite3.connect(path)
    try:
        prepare(connection)
        connection.execute("VACUUM")
    finally:
        connection.close()


def _make_private(path: Path) -> None:
    """Make the file, if there is none, for its owner alone, whatever the umask; its log and index are made like it."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def migrations(connection: Connection) -> Config:
    """Return Alembic's configuration, to run on this connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def prepare(connection: Any, _record: object = None) -> None:
    """Set up a new connection.

    ``synchronous=FULL``: a commit is on the disk before it is answered. NORMAL would lose the last commits in a power
    cut, and by then the journal of a recording that is ``available`` may be gone already, so that its row could not
    be made again. Grouped commits keep the price at one flush for many writes.
    """
    # Transactions are begun by ``begin_write``: the driver's own habit begins them late and breaks savepoints.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    # What is deleted or written over is overwritten with zeros: see ``Database.scrub``.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def prepare_for_reading(connection: Any, _record: object = None) -> None:
    """Set up a new connection that only reads."""
    prepare(connection)
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


def truncate_log(path: Path, *, wait_s: float) -> bool:
    """Move what the log has into the file, and empty it; return False if another connection needs it still.

    Writers go on while most of it is moved. What is left is moved while they wait, ``wait_s`` seconds at most for those
    who read what it has.
    """
    connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
    try:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy
    finally:
        connection.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch to the write-ahead log; of two that switch a new file at once, SQLite lets one fail without waiting."""
    give_up = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def begin_write(connection: Connection) -> None:
    """Take the write lock at once: a transaction that takes it later fails instead of waiting."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
