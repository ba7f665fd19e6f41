"""Idempotency keys as rows: what each stands for, so that a request that is sent twice is done once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog.database import Database
from wavstream.catalog.tables import idempotency
from wavstream.model.times import unix_us


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an idempotency key was used for first."""

    request_digest: str
    recording_id: str


class IdempotencyKeys:
    """The keys that apps have used; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(
        self, *, app_id: str, key: str, request_digest: str, recording_id: str, now: datetime
    ) -> Remembered | None:
        """Keep what a new key stands for and return None; for a key that is known return what it was used for first.

        Of callers with the same new key at the same moment one gets None.
        """

        def write(connection: Connection) -> Remembered | None:
            columns = idempotency.c
            insertion = insert(idempotency).values(
                app_id=app_id,
                key=key,
                request_digest=request_digest,
                recording_id=recording_id,
                created_us=unix_us(now),
            )
            if connection.execute(insertion.on_conflict_do_nothing()).rowcount == 1:
                return None
            known = select(columns.request_digest, columns.recording_id)
            row = connection.execute(known.where(columns.app_id == app_id, columns.key == key)).one()
            return Remembered(request_digest=row.request_digest, recording_id=row.recording_id)

        return await self._database.write(write)

    async def forget(self, app_id: str, key: str) -> None:
        """Free a key whose request came to nothing, so that it can be tried again."""
        deletion = delete(idempotency).where(idempotency.c.app_id == app_id, idempotency.c.key == key)
        await self._database.write(lambda connection: connection.execute(deletion))

    async def forget_before(self, before: datetime) -> int:
        """Free the keys that were first used before that time; return how many."""
        deletion = delete(idempotency).where(idempotency.c.created_us < unix_us(before))
        return await self._database.write(lambda connection: connection.execute(deletion).rowcount)
