"""Apps as rows, each with the hash of its one key."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert

from wavstream.catalog.database import Database
from wavstream.catalog.tables import apps, idempotency, json_text, operations, outbox, outbox_sequences
from wavstream.model.app import App, WebhookTarget
from wavstream.model.times import unix_us, utc

_KEPT_FOR_AN_APP = (outbox, outbox_sequences, operations, idempotency)
"""Tables whose rows go when their app is removed."""


class Apps:
    """The rows of apps; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, with_webhook: set[str]) -> None:
        """Take over ``with_webhook``, which ``apps_with_webhook`` found."""
        self._database = database
        self.with_webhook = with_webhook
        """Apps that have, or had, somewhere to be told: no facts are made for others, each of which costs a query."""

    async def add(self, app: App, *, key_hash: str, key_lookup: str) -> bool:
        """Insert the app; return False, and change nothing, if its id is taken."""
        statement = insert(apps).values(
            id=app.id, created_us=unix_us(app.created_at), key_hash=key_hash, key_lookup=key_lookup, **_changeable(app)
        )
        insertion = statement.on_conflict_do_nothing(index_elements=["id"])
        added = await self._database.write(lambda connection: connection.execute(insertion).rowcount == 1)
        if added and app.webhook is not None:
            self.with_webhook.add(app.id)
        return added

    async def change(self, app: App) -> bool:
        """Write over all of the app but its key and its age; return False if there is no such app."""
        change = update(apps).where(apps.c.id == app.id).values(**_changeable(app))
        changed = await self._database.write(lambda connection: connection.execute(change).rowcount == 1)
        if changed and app.webhook is not None:
            self.with_webhook.add(app.id)
        return changed

    async def replace_key(self, app_id: str, *, key_hash: str, key_lookup: str) -> bool:
        """Give the app another key; return False if there is no such app."""
        change = update(apps).where(apps.c.id == app_id).values(key_hash=key_hash, key_lookup=key_lookup)
        return await self._database.write(lambda connection: connection.execute(change).rowcount == 1)

    async def remove(self, app_id: str) -> bool:
        """Delete the app, its keys and operations, and what it was to be told; return False if there is no such app.

        Its recordings stay until their retention ends.
        """

        def write(connection: Connection) -> bool:
            for table in _KEPT_FOR_AN_APP:
                connection.execute(delete(table).where(table.c.app_id == app_id))
            return connection.execute(delete(apps).where(apps.c.id == app_id)).rowcount == 1

        return await self._database.write(write)

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

    async def find_by_lookup(self, key_lookup: str) -> tuple[App, str] | None:
        """Return the app whose key has this lookup, and the hash of that key."""

        def read(connection: Connection) -> tuple[App, str] | None:
            row = connection.execute(select(apps).where(apps.c.key_lookup == key_lookup)).mappings().one_or_none()
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
