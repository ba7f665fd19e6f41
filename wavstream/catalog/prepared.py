"""Statements that every call runs: made by SQLAlchemy once, or written as SQL, and then run by the driver itself.

SQLAlchemy takes 60 to 100 us around each execution of a statement that it has compiled before, SQLite itself 5 to 20. A
stop with its two webhooks runs twelve of them, on the one thread that writes. PostgreSQL plans each of them once for a
connection (a statement that its driver prepares).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")


class Prepared:
    """One statement, run by the driver itself. Its values are what databases store: numbers, text, None."""

    def __init__(
        self, statement: str | Insert | Update | Select[Any], *, columns: Collection[str] | None = None
    ) -> None:
        """Take SQL as it is, or compile a statement; ``columns`` are those that an insert writes, None: all."""
        self._statement = statement
        self._columns = columns
        self._sql, self._preset = self._compiled(sqlite.dialect(paramstyle="named"))

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Return how many rows it changed; raise DBAPIError, as SQLAlchemy would."""
        changed: int = self._execute(connection, values).rowcount
        return changed

    def row(self, connection: Connection, values: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the first of its rows, by names of columns, if there is one; raise DBAPIError."""
        cursor = self._execute(connection, values)
        rows = cursor.fetchall()  # to the end: a cursor that is still open would hold up the commit
        return dict(zip((column[0] for column in cursor.description), rows[0], strict=True)) if rows else None

    def _execute(self, connection: Connection, values: Mapping[str, object]) -> Any:
        driver: Any = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            bound = {**self._preset, **values}
            try:
                return driver.execute(self._sql, bound)
            except sqlite3.Error as error:
                raise DBAPIError.instance(self._sql, bound, error, sqlite3.Error) from error
        sql, preset = self._for_postgres
        bound = {**preset, **values}
        failure: Any = connection.dialect.dbapi
        try:
            return driver.execute(sql, bound, prepare=True)
        except failure.Error as error:
            raise DBAPIError.instance(sql, bound, error, failure.Error) from error
        except KeyError as error:  # a value that is not given is an error of the statement
            wrong = failure.ProgrammingError(f"no value for {error}")
            raise DBAPIError.instance(sql, bound, wrong, failure.Error) from error

    @cached_property
    def _for_postgres(self) -> tuple[str, dict[str, Any]]:
        return self._compiled(_postgres_dialect())

    def _compiled(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """Return its text in the words of a database, and the values that are part of it."""
        if isinstance(self._statement, str):
            is_sqlite = dialect.name == "sqlite"
            return self._statement if is_sqlite else _NAMED.sub(r"%(\1)s", self._statement), {}
        columns = None if self._columns is None else [*self._columns]
        compiled = self._statement.compile(dialect=dialect, column_keys=columns)
        return str(compiled), {name: bind.value for name, bind in compiled.binds.items() if not bind.required}


def _postgres_dialect() -> Dialect:
    from sqlalchemy.dialects.postgresql import psycopg

    made: Any = psycopg.dialect
    dialect: Dialect = made()
    return dialect
