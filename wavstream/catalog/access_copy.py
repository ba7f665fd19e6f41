"""Who may come in, copied from a server's database into a file: what ``serve --check`` starts on.

A start on the copy must find nothing to tell, to look for or to go on with, so it has apps and keys alone, and what
stores know the catalog by. Columns that the database does not have yet are left to their defaults: a start would make
them.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Table, create_engine, delete, insert, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.schema import upgrade
from wavstream.catalog.tables import access, app_keys, apps, installation, removed_apps

_COPIED: tuple[Table, ...] = (apps, app_keys, removed_apps, access, installation)


def copy_access(place: PostgresPlace, path: Path) -> None:
    """Make a catalog at ``path`` with the apps and keys of that database; blocking. Raise OperatorError."""
    place.check_driver()
    from wavstream.catalog import postgres_schema

    if postgres_schema.look(place) is None:
        return
    upgrade(path)
    file = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    try:
        with postgres_schema.one_transaction(place) as source, file.begin() as target:
            for table in _COPIED:
                there = {column["name"] for column in inspect(source).get_columns(table.name)}
                rows = source.execute(select(*(each for each in table.c if each.name in there))).mappings().all()
                target.execute(delete(table))
                if rows:
                    target.execute(insert(table), [{**row, **_untold(table)} for row in rows])
    finally:
        file.dispose()


def _untold(table: Table) -> dict[str, None]:
    """Return what a row must not have: a start would tell the app."""
    return {"webhook_json": None} if table is apps else {}
