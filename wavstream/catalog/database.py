"""The database of the catalog: reads beside each other on a few threads, writes one group after the other on one.

1. A read or a write is a plain function of a connection, and runs whole on a thread. To hand its statements to a thread
   one by one, and their rows back, takes several times as long as to run them.
2. Writes that are asked for at the same time share one transaction, and so one flush of the disk. A write is answered
   after the commit that holds it.
3. A write seldom fails, and a savepoint costs two more statements. So a group is run without savepoints first. If one
   of its writes fails, all of it is rolled back and run again with a savepoint around each, and only the callers of
   those that fail again get an error.
4. A failure of the machine (disk full, database locked for longer than the busy timeout, server away) fails the whole
   group, at once: SQLite may have rolled everything back by itself then, and to run it again would wait again.

What the database is, a file by SQLite or a server of PostgreSQL, only ``Engine`` knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import Connection, text

from wavstream.catalog.engine import MAX_CONCURRENT_READS, Engine, Read, Write
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.prepared import Prepared
from wavstream.catalog.schema import upgrade
from wavstream.catalog.sqlite_engine import SqliteEngine
from wavstream.catalog.write_thread import WriteThread
from wavstream.errors import DependencyError, OperatorError

__all__ = ["Database", "Prepared", "Read", "Write", "check_schema", "has_schema", "retry_forever"]

T = TypeVar("T")


class Database:
    """One open database. It belongs to the event loop that opens it; its methods raise DependencyError if it fails."""

    def __init__(self, where: Path | PostgresPlace) -> None:
        """Open a file, or a database of a server, whose schema is up to date."""
        self._engine = _engine(where)
        self._read_threads = ThreadPoolExecutor(MAX_CONCURRENT_READS, thread_name_prefix="catalog-read")
        self._writes = WriteThread(self._engine)
        self._closing = False

    @classmethod
    async def open(cls, where: Path | PostgresPlace, *, is_lost: bool = False) -> Self:
        """Open the database, made or migrated first if need be; raise OperatorError or DiskFull if it cannot be used.

        ``is_lost``: see ``upgrade``.
        """
        await asyncio.to_thread(_upgrade, where, is_lost=is_lost)
        return cls(where)

    @property
    def turns_of(self) -> str | None:
        """Who tells apps of what is in the outbox, where several machines may take turns; None: nobody else does."""
        return self._engine.turns_of

    async def read(self, read: Read[T]) -> T:
        """Return what ``read`` returns; raise what it raises, or DependencyError."""
        loop, asked_s = asyncio.get_running_loop(), time.monotonic()
        return await loop.run_in_executor(self._read_threads, self._engine.read, read, asked_s)  # rule 1

    async def write(self, write: Write[T]) -> T:
        """Return what ``write`` returns, once it is committed; raise what it raised, or DependencyError.

        A caller that is cancelled stops waiting; its write is done all the same.
        """
        if self._closing:
            raise DependencyError("the catalog is closed")
        return await self._writes.write(write)

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is in the file or its log, however long that takes.

        A caller that is cancelled stops waiting; it is done all the same, until the database is closed. Of a server the
        files are not ours: it returns at once.
        """
        await self._engine.scrub()

    async def ping(self) -> None:
        """Return if the database is the one that was opened, can be read, and its write lock be had."""

        def read(connection: Connection) -> None:
            self._engine.look()
            connection.execute(text("SELECT id FROM recordings LIMIT 1")).all()

        await self.read(read)
        await self.write(lambda connection: None)

    async def close(self) -> None:
        """Commit what is queued and close the database; writes that come later raise DependencyError."""
        self._closing = True
        await self._writes.close()
        await asyncio.to_thread(self._engine.end_scrubbing)
        await asyncio.to_thread(self._read_threads.shutdown)
        await asyncio.to_thread(self._engine.close)

    def look(self) -> None:
        """Raise CatalogDamaged if the file is not the one that was opened, or OSError. Blocks: not for the loop."""
        self._engine.look()

    @property
    def damage(self) -> str | None:
        """What is wrong with the file, for a person who has to mend it; None: nothing that is known of."""
        return self._engine.damage


def _engine(where: Path | PostgresPlace) -> Engine:
    if isinstance(where, Path):
        return SqliteEngine(where)
    from wavstream.catalog.postgres_engine import PostgresEngine  # its driver need not be there

    return PostgresEngine(where)


def _upgrade(where: Path | PostgresPlace, *, is_lost: bool) -> None:
    if isinstance(where, Path):
        upgrade(where, is_lost=is_lost)
        return
    where.check_driver()
    from wavstream.catalog import postgres_schema

    postgres_schema.upgrade(where, is_lost=is_lost)


def has_schema(place: PostgresPlace) -> bool:
    """Return whether a server's database has a catalog, of any version; raise OperatorError if it cannot be used."""
    place.check_driver()
    from wavstream.catalog import postgres_schema

    return postgres_schema.look(place) is not None


def check_alone(where: Path | PostgresPlace) -> None:
    """Raise OperatorError if another server uses the catalog; of a file the lock of its folder tells that. Blocks."""
    if isinstance(where, PostgresPlace):
        from wavstream.catalog import postgres_schema

        postgres_schema.check_alone(where)


def check_schema(where: Path | PostgresPlace, *, to_do: str) -> None:
    """Raise OperatorError, with what is to do, for a server's database that has no catalog yet."""
    if isinstance(where, PostgresPlace) and not has_schema(where):
        raise OperatorError(f"{where.name} has no catalog yet: {to_do}")


async def retry_forever(
    work: Callable[[], Awaitable[T]],
    *,
    on_first_failure: Callable[[Exception], None],
    delay_s: float,
    failure: type[Exception] = DependencyError,
) -> T:
    """Return what ``work`` returns, tried again every ``delay_s`` for as long as it raises ``failure``."""
    failed = False
    while True:
        try:
            return await work()
        except failure as error:
            if not failed:
                on_first_failure(error)
            failed = True
        await asyncio.sleep(delay_s)
