"""Apps as rows, each added with its first key.

The id of an app is its name, with a generation where an app of that name was removed before (``model.app``). Everything
else goes by the id, so a name that is used again inherits nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, RowMapping, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog.app_keys import has_changed, insert_key, put_key
from wavstream.catalog.database import Database, Write
from wavstream.catalog.tables import (
    app_keys,
    apps,
    idempotency,
    json_text,
    operations,
    outbox,
    outbox_sequences,
    removed_apps,
    transcribed_speech,
)
from wavstream.model.app import MAIN_KEY, App, WebhookTarget, app_generation, app_id_of, app_name
from wavstream.model.times import unix_us, utc

_KEPT_FOR_AN_APP = (outbox, outbox_sequences, operations, idempotency, app_keys, transcribed_speech)
"""Tables whose rows go when their app is removed."""


T = TypeVar("T")


class Apps:
    """The rows of apps; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, with_webhook: set[str]) -> None:
        """Take over ``with_webhook``, which ``apps_with_webhook`` found."""
        self._database = database
        self._on_change: Callable[[], None] | None = None
        self.with_webhook = with_webhook
        """Apps that have, or had, somewhere to be told: no facts are made for others, each of which costs a query."""

    def on_change(self, call: Callable[[], None]) -> None:
        """Call this from now on when an app, or its first key, was changed here."""
        self._on_change = call

    async def _change(self, write: Write[T]) -> T:
        changed = await self._database.write(write)
        if self._on_change is not None:
            self._on_change()
        return changed

    async def look_for_webhooks(self) -> None:
        """Learn which apps other processes have given somewhere to be told."""
        self.with_webhook |= await self._database.read(apps_with_webhook)

    async def add(self, app: App, *, key_hash: str, key_lookup: str, is_weak: bool = False) -> App | None:
        """Insert the app with its first key, and return it with the id that its name has now.

        Return None, and change nothing, if there is an app of that name, or if it is told of webhooks and has not the
        id that its name has now: its secrets are sealed for its id.
        """

        def write(connection: Connection) -> App | None:
            added = replace(app, id=_next_id(connection, app.name))
            if app.webhook is not None and added.id != app.id:
                return None
            insertion = insert(apps).values(
                id=added.id, name=added.name, created_us=unix_us(app.created_at), **_changeable(app)
            )
            if connection.execute(insertion.on_conflict_do_nothing()).rowcount != 1:
                return None
            insert_key(connection, added.id, MAIN_KEY, key_hash, key_lookup, app.created_at, is_weak=is_weak)
            has_changed(connection)
            return added

        added = await self._change(write)
        if added is not None and added.webhook is not None:
            self.with_webhook.add(added.id)
        return added

    async def next_id(self, name: str) -> str:
        """Return the id that an app of this name would have."""
        return await self._database.read(lambda connection: _next_id(connection, name))

    async def change(self, app: App) -> bool:
        """Write over all of the app but its keys and its age; return False if there is no such app."""
        change = update(apps).where(apps.c.id == app.id).values(**_changeable(app))

        def write(connection: Connection) -> bool:
            has_changed(connection)
            return connection.execute(change).rowcount == 1

        changed = await self._change(write)
        if changed and app.webhook is not None:
            self.with_webhook.add(app.id)
        return changed

    async def replace_key(
        self, app_id: str, *, key_hash: str, key_lookup: str, is_weak: bool = False, now: datetime
    ) -> bool:
        """Give the app another first key; those that have names of their own stay. Return False if there is no app."""

        def write(connection: Connection) -> bool:
            if connection.execute(select(apps.c.id).where(apps.c.id == app_id)).one_or_none() is None:
                return False
            put_key(connection, app_id, MAIN_KEY, key_hash, key_lookup, now, is_weak=is_weak)
            has_changed(connection)
            return True

        return await self._change(write)

    async def remove(self, app_id: str) -> bool:
        """Delete the app, its keys and operations, and what it was to be told; return False if there is no such app.

        Its recordings stay until their retention ends, and belong to nobody.
        """

        def write(connection: Connection) -> bool:
            for table in _KEPT_FOR_AN_APP:
                connection.execute(delete(table).where(table.c.app_id == app_id))
            if connection.execute(delete(apps).where(apps.c.id == app_id)).rowcount != 1:
                return False
            gone = insert(removed_apps).values(name=app_name(app_id), generation=app_generation(app_id))
            connection.execute(
                gone.on_conflict_do_update(index_elements=["name"], set_={"generation": gone.excluded.generation})
            )
            has_changed(connection)
            return True

        return await self._change(write)

    async def list(self) -> list[App]:
        """Return every app, the oldest first."""
        statement = select(apps).order_by(apps.c.created_us, apps.c.id)

        def read(connection: Connection) -> list[App]:
            return [_app(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(read)

    async def get(self, app_id: str) -> App | None:
        """Return the app, if there is one of that id."""

        def read(connection: Connection) -> App | None:
            row = connection.execute(select(apps).where(apps.c.id == app_id)).mappings().one_or_none()
            return None if row is None else _app(row)

        return await self._database.read(read)

    async def find(self, name: str) -> App | None:
        """Return the app that has this name now."""

        def read(connection: Connection) -> App | None:
            row = connection.execute(select(apps).where(apps.c.name == name)).mappings().one_or_none()
            return None if row is None else _app(row)

        return await self._database.read(read)

    async def find_by_lookup(self, key_lookup: str) -> tuple[App, str] | None:
        """Return the app of which a key has this lookup, and the hash of that key."""

        def read(connection: Connection) -> tuple[App, str] | None:
            of_key = select(apps, app_keys.c.key_hash).join(app_keys, app_keys.c.app_id == apps.c.id)
            row = connection.execute(of_key.where(app_keys.c.key_lookup == key_lookup)).mappings().one_or_none()
            return None if row is None else (_app(row), row["key_hash"])

        return await self._database.read(read)

    async def count(self) -> int:
        """Return how many apps there are."""
        statement = select(func.count()).select_from(apps)
        return await self._database.read(lambda connection: int(connection.execute(statement).scalar_one()))

    async def any(self) -> bool:
        """Return whether there is an app at all."""
        statement = select(exists(select(apps.c.id)))
        return await self._database.read(lambda connection: bool(connection.execute(statement).scalar_one()))


def apps_with_webhook(connection: Connection) -> set[str]:
    """Return the ids of the apps that have somewhere to be told."""
    return set(connection.execute(select(apps.c.id).where(apps.c.webhook_json.is_not(None))).scalars())


def _next_id(connection: Connection, name: str) -> str:
    removed = select(removed_apps.c.generation).where(removed_apps.c.name == name)
    return app_id_of(name, (connection.execute(removed).scalar_one_or_none() or 0) + 1)


def _changeable(app: App) -> dict[str, object]:
    return {
        "retention_hours": app.retention_hours,
        "webhook_json": None if app.webhook is None else json_text(app.webhook),
        "rate_limit": app.rate_limit,
        "recording_json": json_text(app.recording),
        "vendor_accounts_json": json_text(app.vendor_accounts),
    }


_webhook: Any = msgspec.json.Decoder(WebhookTarget).decode
_accounts: Any = msgspec.json.Decoder(dict[str, tuple[str, ...]]).decode


def _app(row: RowMapping) -> App:
    return App(
        id=row["id"],
        created_at=utc(row["created_us"]),
        retention_hours=row["retention_hours"],
        webhook=None if row["webhook_json"] is None else _webhook(row["webhook_json"]),
        rate_limit=row["rate_limit"],
        recording=msgspec.json.decode(row["recording_json"]),
        vendor_accounts=_accounts(row["vendor_accounts_json"]),
    )
