"""Apps as rows, each with the hash of its one key, and the idempotency keys that they sent.

Every function takes a connection inside a transaction and can be run again after a rollback.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, exists, select, update
from sqlalchemy.dialects.sqlite import insert

from wavstream.catalog import operations, outbox
from wavstream.catalog.tables import apps, idempotency
from wavstream.model.app import App, WebhookTarget
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an idempotency key was used for first."""

    request_digest: str
    recording_id: str


def add(connection: Connection, app: App, key_hash: str, key_lookup: str) -> bool:
    """Insert the app unless its id is taken; whether it was inserted."""
    statement = insert(apps).values(
        id=app.id,
        created_us=unix_us(app.created_at),
        retention_hours=app.retention_hours,
        key_hash=key_hash,
        key_lookup=key_lookup,
        webhook_json=_webhook_json(app.webhook),
        rate_limit=app.rate_limit,
        recording_json=_json(app.recording),
    )
    return connection.execute(statement.on_conflict_do_nothing(index_elements=["id"])).rowcount == 1


def change(connection: Connection, app: App) -> bool:
    """Write over all of the app but its key and its age; whether there is such an app."""
    statement = update(apps).where(apps.c.id == app.id)
    values = statement.values(
        retention_hours=app.retention_hours,
        webhook_json=_webhook_json(app.webhook),
        rate_limit=app.rate_limit,
        recording_json=_json(app.recording),
    )
    return connection.execute(values).rowcount == 1


def replace_key(connection: Connection, app_id: str, key_hash: str, key_lookup: str) -> bool:
    """Give the app another key; whether there is such an app."""
    statement = update(apps).where(apps.c.id == app_id).values(key_hash=key_hash, key_lookup=key_lookup)
    return connection.execute(statement).rowcount == 1


def remove(connection: Connection, app_id: str) -> bool:
    """Delete the app, its idempotency keys and what it was to be told; whether there was such an app."""
    outbox.forget_app(connection, app_id)
    operations.forget_app(connection, app_id)
    connection.execute(delete(idempotency).where(idempotency.c.app_id == app_id))
    return connection.execute(delete(apps).where(apps.c.id == app_id)).rowcount == 1


def all_apps(connection: Connection) -> list[App]:
    """Every app, oldest first."""
    statement = select(apps).order_by(apps.c.created_us, apps.c.id)
    return [_app(row) for row in connection.execute(statement).mappings()]


def get(connection: Connection, app_id: str) -> App | None:
    """The app, if there is one of that id."""
    row = connection.execute(select(apps).where(apps.c.id == app_id)).mappings().one_or_none()
    return None if row is None else _app(row)


def find_by_lookup(connection: Connection, key_lookup: str) -> tuple[App, str] | None:
    """The app whose key has this lookup, and the hash of that key."""
    row = connection.execute(select(apps).where(apps.c.key_lookup == key_lookup)).mappings().one_or_none()
    return None if row is None else (_app(row), row["key_hash"])


def with_webhook(connection: Connection) -> set[str]:
    """The apps that have somewhere to be told."""
    return set(connection.execute(select(apps.c.id).where(apps.c.webhook_json.is_not(None))).scalars())


def any_app(connection: Connection) -> bool:
    """Whether there is an app at all."""
    return bool(connection.execute(select(exists(select(apps.c.id)))).scalar_one())


def remember(
    connection: Connection, *, app_id: str, key: str, request_digest: str, recording_id: str, now: datetime
) -> Remembered | None:
    """Keep what the idempotency key stands for; if it stands for something already, keep that and return it."""
    statement = insert(idempotency).values(
        app_id=app_id,
        key=key,
        request_digest=request_digest,
        recording_id=recording_id,
        created_us=unix_us(now),
    )
    if connection.execute(statement.on_conflict_do_nothing()).rowcount == 1:
        return None
    known = select(idempotency.c.request_digest, idempotency.c.recording_id)
    row = connection.execute(known.where(idempotency.c.app_id == app_id, idempotency.c.key == key)).one()
    return Remembered(request_digest=row.request_digest, recording_id=row.recording_id)


def forget(connection: Connection, app_id: str, key: str) -> None:
    """Free one idempotency key."""
    connection.execute(delete(idempotency).where(idempotency.c.app_id == app_id, idempotency.c.key == key))


def forget_before(connection: Connection, before: datetime) -> int:
    """Free the idempotency keys that were first used before that time; how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.created_us < unix_us(before))).rowcount


_webhook: Any = msgspec.json.Decoder(WebhookTarget).decode


def _webhook_json(target: WebhookTarget | None) -> str | None:
    return None if target is None else _json(target)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _app(row: RowMapping) -> App:
    return App(
        id=row["id"],
        created_at=utc(row["created_us"]),
        retention_hours=row["retention_hours"],
        webhook=None if row["webhook_json"] is None else _webhook(row["webhook_json"]),
        rate_limit=row["rate_limit"],
        recording=msgspec.json.decode(row["recording_json"]),
    )
