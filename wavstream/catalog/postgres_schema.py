"""The schema of a PostgreSQL database, brought up to date before anyone uses it.

1. It is the same schema, made by the same migrations, in one transaction, which an advisory lock keeps others out of:
   of two processes that start at once, the second finds the work done.
2. Who finds the schema as it should be makes nothing, so a user who may not make tables is enough from then on.
3. Text is ordered and compared by its bytes, as SQLite does, whatever the database was made with: each column of text
   gets the collation "C". Pages of a list go on behind the last row of the page before, and a number that begins as is
   asked for is found as a range.
4. What cannot be used is refused in one line: too old a server, another encoding than UTF-8, a standby, a schema of a
   newer wavstream, a right that lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, insert, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from wavstream.catalog.postgres_failures import code_of, not_usable
from wavstream.catalog.postgres_place import SERVERS, PostgresPlace
from wavstream.catalog.schema import migrations
from wavstream.catalog.tables import LOST_APPS, metadata, removed_apps
from wavstream.errors import OperatorError

MIGRATION_LOCK = 0x7761767374720001
"""Of ``pg_advisory_xact_lock``; ``postgres_engine`` has the other."""
OLDEST_SERVER = 13
_MIGRATION_WAIT_S = 60
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")

log = structlog.get_logger(__name__)


def upgrade(place: PostgresPlace, *, is_lost: bool = False) -> None:
    """Make or migrate the schema; blocking. Raise OperatorError if that cannot be done.

    ``is_lost``: where there is none it was lost, so a new one lets nobody in without a key: there may have been apps.
    """
    with one_transaction(place) as connection:
        _check_server(connection, place)
        if version(connection) != _newest(connection):  # rule 2
            _set_patience(connection)
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")  # rule 1
            was = version(connection)
            command.upgrade(migrations(connection), "head")
            _order_by_bytes(connection)
            if was is None and is_lost:
                connection.execute(insert(removed_apps).values(name=LOST_APPS, generation=0))
                log.warning("catalog_lost", folder=place.name, to_do="move the catalog that the data folder had")
        _check_rights(connection, place)


def look(place: PostgresPlace) -> str | None:
    """Return the version of the schema, None: there is none; change nothing. Raise OperatorError as ``upgrade``."""
    with one_transaction(place) as connection:
        _check_server(connection, place)
        found = version(connection)
        if found is None:
            may_make = "SELECT has_schema_privilege(current_schema(), 'CREATE'), current_user, current_schema()"
            allowed, user, schema = connection.exec_driver_sql(may_make).one()
            if not allowed:
                raise _may_not_make(place, user, schema)
            return None
        _check_version(connection, found, place)
        _check_rights(connection, place)
        return found


def check_alone(place: PostgresPlace) -> None:
    """Raise OperatorError if a server of another data folder uses the database now; blocking.

    Of two that start at once each sees the other, if both have connected before they look.
    """
    with one_transaction(place) as connection:
        other = connection.exec_driver_sql(
            "SELECT pid, host(client_addr) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE %(servers)s AND application_name <> %(ours)s ORDER BY backend_start LIMIT 1",
            {"servers": f"{SERVERS}%", "ours": place.called},
        ).one_or_none()
    if other is not None:
        pid, host = other
        raise OperatorError(
            f"the catalog, {place.name}, is used by another server, on {host or 'the machine of the database'}: a "
            "database has one server, with one data folder, so stop that one, or name another database here; if it is "
            f"gone with its machine, end what it has left: SELECT pg_terminate_backend({pid})"
        )


def version(connection: Connection) -> str | None:
    """Return the version of the schema; None: there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


@contextmanager
def one_transaction(place: PostgresPlace) -> Iterator[Connection]:
    """Begin a transaction, and say of its failures what a start says: raise OperatorError."""
    place.check_driver()
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: place.connect(autocommit=False), poolclass=NullPool, **NATIVE
    )
    try:
        with engine.begin() as connection:
            try:
                yield connection
            except (SQLAlchemyError, psycopg.Error) as error:
                if code_of(error) != "42501":
                    raise
                with place.connect() as other:
                    who = other.execute("SELECT current_user, current_schema()").fetchone()
                assert who is not None
                raise _may_not_make(place, *who) from error
    except CommandError as error:
        raise _is_newer(place, error) from error
    except (SQLAlchemyError, psycopg.Error, OSError) as error:
        raise not_usable(error, place) from error
    finally:
        engine.dispose()


NATIVE: dict[str, Any] = {"use_native_hstore": False}
"""What SQLAlchemy is told: it would ask each new connection for a type that we do not use."""


def _newest(connection: Connection) -> str | None:
    return ScriptDirectory.from_config(migrations(connection)).get_current_head()


def _check_version(connection: Connection, found: str, place: PostgresPlace) -> None:
    try:
        ScriptDirectory.from_config(migrations(connection)).get_revision(found)
    except CommandError as error:
        raise _is_newer(place, error) from error


def _check_server(connection: Connection, place: PostgresPlace) -> None:
    number, encoding, read_only = connection.exec_driver_sql(
        "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
        " current_setting('transaction_read_only')"
    ).one()
    if number < OLDEST_SERVER * 10_000:
        raise OperatorError(
            f"the catalog, {place.name}, cannot be used: the server is PostgreSQL {number // 10_000}, and "
            f"{OLDEST_SERVER} is the oldest that will do"
        )
    if encoding != "UTF8":
        raise OperatorError(
            f"the catalog, {place.name}, cannot be used: its encoding is {encoding}; make one with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    if read_only == "on":
        raise OperatorError(
            f"the catalog, {place.name}, cannot be used: it takes no writes, as a standby or a user that may only "
            "read; name the primary in WAVSTREAM_CATALOG__URL, or all of them with commas between and "
            "?target_session_attrs=read-write"
        )


def _check_rights(connection: Connection, place: PostgresPlace) -> None:
    wanted = [(table, right) for table in metadata.tables for right in _RIGHTS]
    missing = connection.exec_driver_sql(
        "SELECT relation, wanted, current_user FROM unnest(%(tables)s::text[], %(rights)s::text[])"
        " AS asked (relation, wanted) WHERE NOT has_table_privilege(to_regclass(relation), wanted)",
        {"tables": [table for table, _ in wanted], "rights": [right for _, right in wanted]},
    ).all()
    if missing:
        table, right, user = missing[0]
        raise OperatorError(
            f"the catalog, {place.name}, cannot be used: the user {user} may not {right} in {table}: "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ... TO {user}"
        )


def _set_patience(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_MIGRATION_WAIT_S}s'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _order_by_bytes(connection: Connection) -> None:
    """Give each column of text the collation that it lacks (rule 3)."""
    columns = connection.exec_driver_sql(
        "SELECT table_name, string_agg(format('ALTER COLUMN %%I TYPE text COLLATE \"C\"', column_name), ', ')"
        " FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'text'"
        " AND collation_name IS DISTINCT FROM 'C' AND table_name = ANY(%(tables)s) GROUP BY table_name",
        {"tables": [*metadata.tables]},
    ).all()
    for table, changes in columns:
        connection.exec_driver_sql(f"ALTER TABLE {table} {changes}")


def _may_not_make(place: PostgresPlace, user: str, schema: str | None) -> OperatorError:
    return OperatorError(
        f"the catalog, {place.name}, cannot be used: the user {user} may not make or change its tables in the schema "
        f"{schema or 'of its search_path'}: GRANT CREATE, USAGE ON SCHEMA {schema or 'public'} TO {user}, or start "
        "once as the owner of the tables"
    )


def _is_newer(place: PostgresPlace, error: Exception) -> OperatorError:
    return OperatorError(
        f"the catalog, {place.name}, was made by a newer wavstream, or belongs to another program: use that version, "
        f"or another database ({error})"
    )
