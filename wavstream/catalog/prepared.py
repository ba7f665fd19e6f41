"""Statements that every call runs: made by SQLAlchemy once, and then run by the driver itself.

SQLAlchemy takes 60 to 100 us around each execution of a statement that it has compiled before, SQLite itself 5 to 20.
A stop with its two webhooks runs twelve of them, on the one thread that writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

_DIALECT = sqlite.dialect(paramstyle="named")


class Prepared:
    """One statement. Its values are what SQLite stores: numbers, text, None."""

    def __init__(self, statement: Insert | Update | Select[Any], *, columns: Collection[str] | None = None) -> None:
        """``columns``: those that an insert writes; None: all."""
        compiled = statement.compile(dialect=_DIALECT, column_keys=None if columns is None else [*columns])
        self._sql = str(compiled)
        self._preset = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """How many rows it changed; raises DBAPIError, as SQLAlchemy would."""
        return self._execute(connection, values).rowcount

    def row(self, connection: Connection, values: Mapping[str, object]) -> dict[str, Any] | None:
        """The first of its rows, by names of columns; None: there is none. Raises DBAPIError."""
        cursor = self._execute(connection, values)
        rows = cursor.fetchall()  # to the end: a cursor that is still open would hold up the commit
        return dict(zip((column[0] for column in cursor.description), rows[0], strict=True)) if rows else None

    def _execute(self, connection: Connection, values: Mapping[str, object]) -> sqlite3.Cursor:
        driver: Any = connection.connection.driver_connection
        bound = {**self._preset, **values}
        try:
            cursor: sqlite3.Cursor = driver.execute(self._sql, bound)
        except sqlite3.Error as error:
            raise DBAPIError.instance(self._sql, bound, error, sqlite3.Error) from error
        return cursor
