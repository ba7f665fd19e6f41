"""All rows of a catalog copied into another one, SQLite's or PostgreSQL's, and compared on both sides.

1. The source is read in one transaction that sees a single moment; the target is written in one. Whatever ends that,
   the target is as empty as it was.
2. The target has no rows of its own, but what making the tables puts there: that is written over.
3. What was written is read again before it is committed. Of each table the rows, in the order of their keys, have one
   digest, which is the same in both databases: each row as a JSON list of its values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, create_engine, delete, event, func, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from wavstream.catalog.postgres_place import PostgresPlace, without_nul
from wavstream.catalog.recording_rows import recording_of
from wavstream.catalog.schema import prepare, prepare_for_reading, upgrade
from wavstream.catalog.tables import metadata, recordings
from wavstream.errors import InternalError, OperatorError
from wavstream.model.recording import Recording

CatalogPlace = Path | PostgresPlace
BATCH = 1000
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND left(application_name, 9) = 'wavstream' AND pid <> pg_backend_pid()
"""
_MADE_WITH_TABLES = frozenset({"access", "installation"})
"""Tables of one row, which says nothing before a server was started."""


@dataclass(frozen=True, slots=True)
class TableDigest:
    """The rows of a table, in short."""

    rows: int
    sha256: str


def copy_catalog_rows(
    source: CatalogPlace,
    target: CatalogPlace,
    *,
    on_progress: Callable[[str, int], None] = lambda _table, _rows: None,
) -> dict[str, TableDigest]:
    """Copy all rows into a catalog that is empty, or not there, and return the digests of its tables. Blocks.

    Raise OperatorError, InternalError or DependencyError; then the target is as empty as it was.
    """
    for place in (source, target):
        make_catalog(place)
    held_text = without_nul if isinstance(target, PostgresPlace) else str
    with reading(source) as rows, writing(target) as empty:
        check_empty(empty, name_of(target))
        return copy_rows(rows, empty, held_text=held_text, on_progress=on_progress)


def name_of(place: CatalogPlace) -> str:
    """Return what a person calls a catalog: without user and password."""
    return place.name if isinstance(place, PostgresPlace) else str(place)


def make_catalog(place: CatalogPlace) -> None:
    """Bring the tables up to date, made first if there are none. Blocks; raise OperatorError or DiskFull."""
    if isinstance(place, Path):
        upgrade(place)
        return
    place.check_driver()
    from wavstream.catalog import postgres_schema

    postgres_schema.upgrade(place)


@contextmanager
def reading(place: CatalogPlace) -> Iterator[Connection]:
    """Open a catalog, whose schema is up to date, as it is at one moment."""
    if isinstance(place, Path):
        with _opened(place, prepare_for_reading) as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.exec_driver_sql("ROLLBACK")
        return
    from wavstream.catalog.postgres_schema import one_transaction

    with one_transaction(place) as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


@contextmanager
def writing(place: CatalogPlace) -> Iterator[Connection]:
    """Open a catalog, whose schema is up to date, for one transaction; it is committed at the end."""
    if isinstance(place, PostgresPlace):
        from wavstream.catalog.postgres_schema import one_transaction

        with one_transaction(place) as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # of large tables a digest takes longer
            yield connection
        return
    with _opened(place, prepare) as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def check_unused(place: CatalogPlace) -> None:
    """Raise OperatorError if a server on any machine uses a server's database; of a file its lock tells that."""
    if isinstance(place, Path):
        return
    with reading(place) as connection:
        count: int = connection.exec_driver_sql(_OTHERS).scalar_one()
    if count:
        raise OperatorError(
            f"{place.name} is used by {count} other connections of wavstream: stop every server that uses it, and run "
            "this again"
        )


def check_empty(target: Connection, name: str) -> None:
    """Raise OperatorError unless the catalog has no rows of its own (rule 2); ``name``: what a person calls it."""
    for table in metadata.sorted_tables:
        if table.name in _MADE_WITH_TABLES:
            continue
        count: int = target.execute(select(func.count()).select_from(table)).scalar_one()
        if count:
            raise OperatorError(
                f"{name} is not empty: its table {table.name} has {count} rows; name a database that no server has "
                "used, or drop the tables in it"
            )


def copy_rows(
    source: Connection,
    target: Connection,
    *,
    held_text: Callable[[str], str] = str,
    on_progress: Callable[[str, int], None] = lambda _table, _rows: None,
) -> dict[str, TableDigest]:
    """Copy the rows of all tables, and return their digests, which both sides have; not committed yet.

    ``held_text`` returns a text as the target can hold it. ``on_progress`` takes the name of a table and how many of
    its rows were copied.
    """
    copied = {}
    for table in metadata.sorted_tables:
        target.execute(delete(table))  # rule 2
        count, batch = 0, []
        for row in _rows(source, table):
            batch.append(dict(zip(table.c.keys(), row, strict=True)))
            if len(batch) == BATCH:
                target.execute(insert(table), batch)
                count += len(batch)
                batch = []
                on_progress(table.name, count)
        if batch:
            target.execute(insert(table), batch)
            on_progress(table.name, count + len(batch))
        was, became = digest(source, table, held_text=held_text), digest(target, table)
        if was != became:
            raise InternalError(
                f"table {table.name} was copied and is not the same: {was.rows} rows became {became.rows}; nothing is "
                "kept of it, and the source is as it was"
            )
        copied[table.name] = became
    return copied


def digest(connection: Connection, table: Table, *, held_text: Callable[[str], str] = str) -> TableDigest:
    """Return the digest of a table's rows, with their texts as ``held_text`` returns them (rule 3)."""
    encode = msgspec.json.Encoder().encode
    count, total = 0, hashlib.sha256()
    for row in _rows(connection, table):
        total.update(encode([held_text(each) if isinstance(each, str) else each for each in row]))
        count += 1
    return TableDigest(count, total.hexdigest())


def every_recording(path: Path) -> Iterator[Recording]:
    """Yield all recordings of a catalog in a file, whose schema is up to date."""
    with reading(path) as connection:
        for row in _streamed(connection, select(recordings).order_by(recordings.c.id)).mappings():
            yield recording_of(row)


@contextmanager
def _opened(path: Path, prepared: Callable[..., None]) -> Iterator[Connection]:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    event.listen(engine, "connect", prepared)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _rows(connection: Connection, table: Table) -> Iterator[tuple[Any, ...]]:
    for row in _streamed(connection, select(table).order_by(*table.primary_key.columns)):
        yield tuple(row)


def _streamed(connection: Connection, statement: Any) -> Any:
    return connection.execute(statement, execution_options={"yield_per": BATCH})
