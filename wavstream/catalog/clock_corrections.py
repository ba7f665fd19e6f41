"""Moments of the wall clock in the catalog, moved when that clock was put forth or back.

What was written since the machine was started, by this run of the server or an earlier one, goes by the server's time
(``clock.Clocks``). It is told by its own moment: between that start and now, and every jump moves it with the others.
An older row whose moment happens to lie there too, by a clock that was wrong by just so much, is moved with them.

How the clocks are set is written in the same transaction: what was not moved is moved by the next run.

What is shown of a call (``created_at``, ``ended_at``, ``at`` of a fact) is left as it was told.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, select, update
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog.database import Database
from wavstream.catalog.tables import (
    app_keys,
    apps,
    clocks,
    idempotency,
    json_text,
    operations,
    outbox,
    outbox_sequences,
    stored_runs,
    uploads,
)
from wavstream.catalog.tables import recordings as recordings_table
from wavstream.clock import BootClocks, ClockJump
from wavstream.model.app import WebhookTarget
from wavstream.model.times import unix_us

_US = timedelta(microseconds=1)
# Each goes by itself: what was made since the start is moved.
_MOMENTS: tuple[Column[Any], ...] = (
    idempotency.c.created_us,
    operations.c.created_us,
    outbox.c.begun_us,
    outbox.c.done_us,
    outbox_sequences.c.used_us,
    uploads.c.since_us,
)


class ClockCorrections:
    """Corrects rows for a jump; raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self) -> BootClocks | None:
        """Return how the clocks were set last; None: no server has said it yet."""

        def read(connection: Connection) -> BootClocks | None:
            row = connection.execute(select(clocks)).mappings().one_or_none()
            return None if row is None else BootClocks(row["boot_id"], row["wall_us"], row["journal_us"])

        return await self._database.read(read)

    async def keep(self, setting: BootClocks) -> None:
        """Write how the clocks are set: on another start of the machine, or after another start of the server."""
        await self._database.write(lambda connection: _keep(connection, setting))

    async def move(self, jump: ClockJump, setting: BootClocks | None) -> int:
        """Move what was written since the machine was started; return how many recordings expire otherwise now.

        ``setting``: how the clocks are set before the jump; None: no later run could use it.
        """
        return await self._database.write(lambda connection: _move(connection, jump, setting))


def _keep(connection: Connection, setting: BootClocks) -> None:
    values = {"boot_id": setting.boot_id, "wall_us": setting.wall_us, "journal_us": setting.journal_us}
    statement = insert(clocks).values(id=1, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def _move(connection: Connection, jump: ClockJump, setting: BootClocks | None) -> int:
    by_us, since_us, until_us = jump.by // _US, unix_us(jump.since), unix_us(jump.until)
    if setting is not None:
        _keep(connection, replace(setting, wall_us=setting.wall_us + by_us))
    for moment in _MOMENTS:
        mine = update(moment.table).where(moment.between(since_us, until_us))
        connection.execute(mine.values({moment.key: moment + by_us}))
    keys = app_keys.c
    made = update(app_keys).where(keys.created_us.between(since_us, until_us))
    connection.execute(made.values(created_us=keys.created_us + by_us, expires_us=keys.expires_us + by_us))
    if by_us < 0:  # where it was put forth, what waits is due a little early
        for due in (outbox.c.due_us, uploads.c.due_us, stored_runs.c.due_us):
            late = update(due.table).where(due > until_us + by_us)
            connection.execute(late.values({due.key: due + by_us}))
    _move_secrets(connection, jump)
    rows = recordings_table.c
    ended = update(recordings_table).where(rows.kept_since_us.between(since_us, until_us))
    moved = ended.values(expires_us=rows.expires_us + by_us, kept_since_us=rows.kept_since_us + by_us)
    return connection.execute(moved).rowcount


def _move_secrets(connection: Connection, jump: ClockJump) -> None:
    """Move when secrets of webhooks were made: until a day later the one before it signs too."""
    told = select(apps.c.id, apps.c.webhook_json).where(apps.c.webhook_json.is_not(None))
    for app_id, text in connection.execute(told).all():
        target = _target(text)
        moved = tuple(
            replace(each, made_at=each.made_at + jump.by) if jump.since <= each.made_at <= jump.until else each
            for each in target.secrets
        )
        if moved != target.secrets:
            changed = json_text(replace(target, secrets=moved))
            connection.execute(update(apps).where(apps.c.id == app_id).values(webhook_json=changed))


_target: Any = msgspec.json.Decoder(WebhookTarget).decode
