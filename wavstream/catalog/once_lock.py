"""The lock of what one process does for all that use a database: retention. It is the database's, and no clock's.

It belongs to a connection of its own: who dies, or whose machine is cut off, has it no more as soon as the server knows
that. So never two have it, also where two nodes take themselves for the first one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.errors import OperatorError

if TYPE_CHECKING:
    import psycopg

ONCE_LOCK = 0x7761767374720003
"""Of ``pg_try_advisory_lock``; ``postgres_engine`` and ``postgres_schema`` have others."""


class OnceLock:
    """One process's hold on it. Lives on the event loop; asks on a thread."""

    def __init__(self, place: PostgresPlace) -> None:
        """Use the lock of this database."""
        self._place = place
        self._connection: psycopg.Connection[Any] | None = None

    async def take(self) -> bool:
        """Return whether this process has the lock now; not while another has it, or the database is away."""
        return await asyncio.to_thread(self._take)

    async def has(self) -> bool:
        """Return whether it has the lock still: it is gone with its connection."""
        return await asyncio.to_thread(self._ask, "SELECT true")

    async def release(self) -> None:
        """Let go of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.to_thread(connection.close)

    def _take(self) -> bool:
        import psycopg

        if self._connection is None:
            try:
                self._connection = self._place.connect()
            except (psycopg.Error, OSError, OperatorError):
                return False
        return self._ask(f"SELECT pg_try_advisory_lock({ONCE_LOCK})")

    def _ask(self, question: str) -> bool:
        import psycopg

        connection = self._connection
        if connection is None:
            return False
        try:
            row = connection.execute(question).fetchone()
        except (psycopg.Error, OSError):
            self._connection = None
            connection.close()
            return False
        return row is not None and bool(row[0])
