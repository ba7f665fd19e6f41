"""Reads of the catalog: beside each other and beside the writer, which SQLite's write-ahead log allows.

A read is a plain function of a connection, run whole on one of a few threads. To hand its statements to a driver's
thread one by one, and their rows back, takes several times as long as to run them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from wavstream.catalog.schema import prepare
from wavstream.errors import DependencyError

_AT_ONCE = 4
"""Connections, and threads: a read that waits for the disk does not hold up the others."""

T = TypeVar("T")


class Reads:
    """The way to everything that is in the catalog's tables."""

    def __init__(self, path: Path) -> None:
        url = URL.create("sqlite", database=str(path))
        self._engine = create_engine(url, pool_size=_AT_ONCE, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(self._engine, "connect", _prepare)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="catalog-read")

    async def read(self, read: Callable[[Connection], T]) -> T:
        """What ``read`` returns; raises what it raises, or DependencyError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, read)
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise DependencyError(f"the catalog could not be read: {cause}") from error

    async def close(self) -> None:
        """Wait for the reads that run, and close the file."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _run(self, read: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return read(connection)


def _prepare(connection: Any, record: object) -> None:
    prepare(connection, record)
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()
