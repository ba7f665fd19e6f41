"""For which uploaded files the operator's program is still to be run, as rows.

1. A row is written in the transaction that says where the file lies (``Uploads.finish``), and goes when the program has
   succeeded or is given up. So a server that ends while it runs runs it again: at least once, never "at most".
2. A recording that was erased meanwhile has no file any more: who runs the program asks for it, and forgets the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from wavstream.catalog.database import Database, Prepared
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class StoredRun:
    """An uploaded file for which the program is to be run."""

    recording_id: str
    due: datetime
    attempts: int
    """Times that it has failed."""
    error: str | None
    """Why, the last time."""


_DUE = text("SELECT * FROM stored_runs WHERE due_us <= :now ORDER BY due_us, recording_id LIMIT :limit")
_NEXT_DUE = text("SELECT min(due_us) FROM stored_runs WHERE due_us > :now")
_COUNT = text("SELECT count(*) FROM stored_runs")
_FAIL = Prepared("""
    UPDATE stored_runs SET attempts = attempts + 1, error = :error, due_us = :due WHERE recording_id = :recording
""")
_FORGET = Prepared("DELETE FROM stored_runs WHERE recording_id = :recording")


class StoredRuns:
    """What is to be run; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, now: datetime, limit: int) -> list[StoredRun]:
        """Return what is to be run now, the longest due first."""
        asked = {"now": unix_us(now), "limit": limit}

        def read(connection: Connection) -> list[StoredRun]:
            return [_run(row) for row in connection.execute(_DUE, asked).mappings()]

        return await self._database.read(read)

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when more is due; None: nothing waits for a moment."""
        asked = {"now": unix_us(now)}
        due_us = await self._database.read(lambda connection: connection.execute(_NEXT_DUE, asked).scalar_one())
        return None if due_us is None else utc(due_us)

    async def count(self) -> int:
        """Return for how many files it is still to be run."""
        return int(await self._database.read(lambda connection: connection.execute(_COUNT).scalar_one()))

    async def fail(self, recording_id: str, error: str, *, next_at: datetime) -> None:
        """Note that the program has failed, and when it is run again."""
        values = {"recording": recording_id, "error": error, "due": unix_us(next_at)}
        await self._database.write(lambda connection: _FAIL.run(connection, values))

    async def forget(self, recording_id: str) -> None:
        """Note that it has succeeded, was given up, or that there is no such file any more (rules 1 and 2)."""
        await self._database.write(lambda connection: _FORGET.run(connection, {"recording": recording_id}))


def _run(row: Any) -> StoredRun:
    return StoredRun(
        recording_id=row["recording_id"], due=utc(row["due_us"]), attempts=row["attempts"], error=row["error"]
    )
