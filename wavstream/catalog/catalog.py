"""The catalog as the rooms above see it: one open database, asynchronous.

Reads run beside each other and beside the writer (SQLite's write-ahead log allows it); writes go through grouped
commits, and what they return is on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from wavstream.catalog import apps, recordings
from wavstream.catalog.apps import Remembered
from wavstream.catalog.commits import GroupedCommits
from wavstream.catalog.recordings import Filters, Page
from wavstream.catalog.schema import begin_write, prepare, upgrade
from wavstream.errors import DependencyError
from wavstream.model.app import App
from wavstream.model.recording import Recording, Status

_READERS = 4
"""Connections for reading; each is a thread."""

T = TypeVar("T")


class Catalog:
    """Every recording, app and idempotency key. All methods raise DependencyError when the database fails."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader = reader
        self._writer = writer
        self.commits = GroupedCommits(writer)

    @classmethod
    async def open(cls, path: Path) -> Catalog:
        """Open the database file, made or migrated first if need be; raises OperatorError if it cannot be used."""
        await asyncio.to_thread(upgrade, path)
        url = URL.create("sqlite+aiosqlite", database=str(path))
        writer = create_async_engine(url, pool_size=1, max_overflow=0)
        event.listen(writer.sync_engine, "connect", prepare)
        event.listen(writer.sync_engine, "begin", begin_write)
        reader = create_async_engine(url, pool_size=_READERS, max_overflow=0, isolation_level="AUTOCOMMIT")
        event.listen(reader.sync_engine, "connect", _prepare_reader)
        catalog = cls(reader, writer)
        catalog.commits.start()
        return catalog

    async def close(self) -> None:
        """Commit what is queued and close the file."""
        await self.commits.close()
        await self._reader.dispose()
        await self._writer.dispose()

    async def ping(self) -> None:
        """Return if the database can be read and its write lock be had."""
        await self._read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())
        await self.commits.write(lambda connection: None)

    # ---- recordings ------------------------------------------------------------------------------------------------

    async def add_recording(self, recording: Recording) -> bool:
        """Insert the row unless its id is there already; whether it was inserted."""
        return await self.commits.write(lambda connection: recordings.add(connection, recording))

    async def save_recording(self, recording: Recording) -> bool:
        """Insert the row or write over all of it; False, and nothing done, if the row is further in its life."""
        return await self.commits.write(lambda connection: recordings.save(connection, recording))

    async def get_recording(self, recording_id: str, app_id: str | None = None) -> Recording | None:
        """The recording, if it is there and, where ``app_id`` is given, that app's."""
        return await self._read(lambda connection: recordings.get(connection, recording_id, app_id))

    async def list_recordings(
        self,
        app_id: str,
        *,
        session_id: str | None = None,
        status: Status | None = None,
        from_: str | None = None,
        to: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page:
        """A page of the app's recordings, newest first; without a ``status`` the deleted ones are left out.

        Raises InvalidFields for a cursor that is not from a page of this list.
        """
        filters = Filters(session_id=session_id, status=status, from_=from_, to=to, since=since, until=until)
        return await self._read(lambda connection: recordings.page(connection, app_id, filters, limit, cursor))

    async def unfinished(self) -> list[Recording]:
        """Recordings that are accepted, ongoing, paused or completed, oldest first."""
        return await self._read(recordings.unfinished)

    async def due(self, now: datetime, limit: int, after: Recording | None = None) -> list[Recording]:
        """Available recordings whose retention has ended, longest ended first; ``after``: the last one read."""
        return await self._read(lambda connection: recordings.due(connection, now, limit, after))

    async def stored(self, after_id: str, limit: int) -> list[Recording]:
        """Available recordings in order of id; begin with ``""``, go on with the last id."""
        return await self._read(lambda connection: recordings.stored(connection, after_id, limit))

    # ---- apps ------------------------------------------------------------------------------------------------------

    async def add_app(self, app: App, *, key_hash: str, key_lookup: str) -> bool:
        """Insert the app unless its id is taken; whether it was inserted."""
        return await self.commits.write(lambda connection: apps.add(connection, app, key_hash, key_lookup))

    async def replace_key(self, app_id: str, *, key_hash: str, key_lookup: str) -> bool:
        """Give the app another key; whether there is such an app."""
        return await self.commits.write(lambda connection: apps.replace_key(connection, app_id, key_hash, key_lookup))

    async def remove_app(self, app_id: str) -> bool:
        """Remove the app, not its recordings: they stay until their retention ends. Whether there was such an app."""
        return await self.commits.write(lambda connection: apps.remove(connection, app_id))

    async def list_apps(self) -> list[App]:
        """Every app, oldest first."""
        return await self._read(apps.all_apps)

    async def get_app(self, app_id: str) -> App | None:
        """The app, if there is one of that id."""
        return await self._read(lambda connection: apps.get(connection, app_id))

    async def find_by_lookup(self, key_lookup: str) -> tuple[App, str] | None:
        """The app whose key has this lookup, and the hash of that key."""
        return await self._read(lambda connection: apps.find_by_lookup(connection, key_lookup))

    async def any_app(self) -> bool:
        """Whether there is an app at all."""
        return await self._read(apps.any_app)

    # ---- idempotency keys ------------------------------------------------------------------------------------------

    async def remember(
        self, *, app_id: str, key: str, request_digest: str, recording_id: str, now: datetime
    ) -> Remembered | None:
        """None for a new key, which is kept, once among callers at the same moment; else what it was used for first."""
        return await self.commits.write(
            lambda connection: apps.remember(
                connection,
                app_id=app_id,
                key=key,
                request_digest=request_digest,
                recording_id=recording_id,
                now=now,
            )
        )

    async def forget(self, app_id: str, key: str) -> None:
        """Free a key whose request came to nothing, so that it can be tried again."""
        await self.commits.write(lambda connection: apps.forget(connection, app_id, key))

    async def forget_before(self, before: datetime) -> int:
        """Free the keys that were first used before that time; how many."""
        return await self.commits.write(lambda connection: apps.forget_before(connection, before))

    async def _read(self, read: Callable[[Connection], T]) -> T:
        try:
            async with self._reader.connect() as connection:
                return await connection.run_sync(read)
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise DependencyError(f"the catalog could not be read: {cause}") from error


def _prepare_reader(connection: Any, record: object) -> None:
    prepare(connection, record)
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()
