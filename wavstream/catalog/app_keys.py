"""The keys of all apps as rows, which apps there are and were, and the number by which a server sees that they changed.

A command line changes these rows beside a running server. Every change raises ``access.version`` in its transaction, so
the server reads one number, often, and the rows only when it is another.
"""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog.database import Database
from wavstream.catalog.tables import access, app_keys, apps, removed_apps
from wavstream.model.app import AppKey
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class AccessRows:
    """All that decides who may come in, at one moment."""

    version: int
    keys: tuple[AppKey, ...]
    app_ids: frozenset[str]
    removed: Mapping[str, int]
    """By the name of apps that were removed: the generation of the last that was."""


@dataclass(frozen=True, slots=True)
class MasterRecord:
    """How the master key is made of what is given, and what tells whether it is the right one."""

    kind: str
    """``raw``: the 32 bytes as they are; ``scrypt``, or ``sha256`` of an earlier version: from a passphrase."""
    salt: str | None = None
    """Hex."""
    check: str | None = None
    """Hex; None: a catalog of an earlier version, which did not write it down."""


class AppKeys:
    """The rows of keys; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """Return the number that grows with every change."""
        statement = select(access.c.version)
        return await self._database.read(lambda connection: int(connection.execute(statement).scalar_one()))

    async def read(self) -> AccessRows:
        """Return everything."""

        def read(connection: Connection) -> AccessRows:
            # The number first: what is changed meanwhile is then read again.
            version = connection.execute(select(access.c.version)).scalar_one()
            return AccessRows(
                version=version,
                keys=tuple(_key(row) for row in connection.execute(select(app_keys)).mappings()),
                app_ids=frozenset(connection.execute(select(apps.c.id)).scalars()),
                removed={row.name: row.generation for row in connection.execute(select(removed_apps))},
            )

        return await self._database.read(read)

    async def add(
        self,
        app_id: str,
        name: str,
        *,
        key_hash: str,
        key_lookup: str,
        is_weak: bool = False,
        now: datetime,
        expires_at: datetime | None,
    ) -> bool:
        """Add a key to the app; return False, and change nothing, if it has one of that name."""

        def write(connection: Connection) -> bool:
            is_taken = select(app_keys.c.id).where(app_keys.c.app_id == app_id, app_keys.c.name == name)
            if connection.execute(is_taken).one_or_none() is not None:
                return False
            insert_key(connection, app_id, name, key_hash, key_lookup, now, expires_at, is_weak=is_weak)
            has_changed(connection)
            return True

        return await self._database.write(write)

    async def list(self, app_id: str) -> builtins.list[AppKey]:
        """Return the keys of the app, the oldest first."""
        statement = select(app_keys).where(app_keys.c.app_id == app_id).order_by(app_keys.c.created_us, app_keys.c.name)

        def read(connection: Connection) -> builtins.list[AppKey]:
            return [_key(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(read)

    async def revoke(self, app_id: str, name: str) -> bool:
        """Delete the key; return False if there is none of that name."""

        def write(connection: Connection) -> bool:
            has_changed(connection)
            deletion = delete(app_keys).where(app_keys.c.app_id == app_id, app_keys.c.name == name)
            return connection.execute(deletion).rowcount == 1

        return await self._database.write(write)

    async def rehash(self, key: AppKey, key_hash: str) -> None:
        """Write over the hash of a key that is as it was read: the key is the same, so nothing has changed."""
        change = update(app_keys).where(app_keys.c.id == key.id, app_keys.c.key_hash == key.key_hash)
        await self._database.write(lambda connection: connection.execute(change.values(key_hash=key_hash)))

    async def has_changed(self) -> None:
        """Let a running server look at apps, keys and link keys again."""
        await self._database.write(has_changed)

    async def master(self) -> MasterRecord | None:
        """Return what is known of the master key; None: nothing was made with one yet."""

        def read(connection: Connection) -> MasterRecord | None:
            row = connection.execute(select(access)).mappings().one()
            if row["master_kind"] is None:
                return None
            return MasterRecord(row["master_kind"], row["master_salt"], row["master_check"])

        return await self._database.read(read)

    async def set_master(self, record: MasterRecord | None, *, known: MasterRecord | None) -> bool:
        """Write down how the master key is made; return False if that is not ``known`` any more."""
        kind, check = access.c.master_kind, access.c.master_check
        change = update(access).values(
            master_kind=record.kind if record else None,
            master_salt=record.salt if record else None,
            master_check=record.check if record else None,
        )
        unchanged = change.where(
            kind.is_(None) if known is None else kind == known.kind,
            check.is_(None) if known is None or known.check is None else check == known.check,
        )
        return await self._database.write(lambda connection: connection.execute(unchanged).rowcount == 1)


def insert_key(
    connection: Connection,
    app_id: str,
    name: str,
    key_hash: str,
    key_lookup: str,
    now: datetime,
    expires_at: datetime | None = None,
    *,
    is_weak: bool = False,
) -> None:
    """Insert a key; raise IntegrityError if it, or its name, is there."""
    connection.execute(
        insert(app_keys).values(
            id=uuid.uuid4().hex,
            app_id=app_id,
            name=name,
            key_lookup=key_lookup,
            key_hash=key_hash,
            created_us=unix_us(now),
            expires_us=None if expires_at is None else unix_us(expires_at),
            is_weak=is_weak,
        )
    )


def put_key(
    connection: Connection,
    app_id: str,
    name: str,
    key_hash: str,
    key_lookup: str,
    now: datetime,
    *,
    is_weak: bool = False,
) -> None:
    """Put a key in the place of the one of that name; the same key stays, and with it what it has opened."""
    columns = app_keys.c
    same = update(app_keys).where(columns.app_id == app_id, columns.name == name, columns.key_lookup == key_lookup)
    if connection.execute(same.values(key_hash=key_hash, is_weak=is_weak)).rowcount:
        return
    replaced = (columns.name == name) | (columns.key_lookup == key_lookup)
    connection.execute(delete(app_keys).where(columns.app_id == app_id, replaced))
    insert_key(connection, app_id, name, key_hash, key_lookup, now, is_weak=is_weak)


def has_changed(connection: Connection) -> None:
    """Raise the number by which a server sees a change."""
    connection.execute(update(access).values(version=access.c.version + 1))


def _key(row: RowMapping) -> AppKey:
    return AppKey(
        id=row["id"],
        app_id=row["app_id"],
        name=row["name"],
        key_lookup=row["key_lookup"],
        key_hash=row["key_hash"],
        created_at=utc(row["created_us"]),
        expires_at=None if row["expires_us"] is None else utc(row["expires_us"]),
        is_weak=row["is_weak"],
    )
