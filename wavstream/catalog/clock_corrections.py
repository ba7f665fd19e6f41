"""Moments of the wall clock in the catalog, moved when that clock was put forth or back.

What was written since the machine was started goes by how the clock was set until then. It is told by its own moment:
between that start and the jump. An older row whose moment happens to lie there too, by a clock that was wrong by just
so much, is moved with them.

What is shown of a call (``created_at``, ``ended_at``, ``at`` of a fact) is left as it was told.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, select, update

from wavstream.catalog.database import Database
from wavstream.catalog.tables import app_keys, apps, idempotency, json_text, operations, outbox, outbox_sequences
from wavstream.catalog.tables import recordings as recordings_table
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
)


@dataclass(frozen=True, slots=True)
class ClockJump:
    """The wall clock was moved while the server ran."""

    by: timedelta
    """Less than 0: back."""
    since: datetime
    """The start of the machine, as the clock was set before the jump."""
    until: datetime
    """The jump, as the clock was set before it."""
    journal_since_us: int
    """The start of the machine by the journal's clock."""
    journal_until_us: int
    """The jump by the journal's clock."""


class ClockCorrections:
    """Corrects rows for a jump; raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def move(self, jump: ClockJump, *, but: Collection[str] = ()) -> int:
        """Move what was written between the start and the jump, once; return how many recordings expire otherwise now.

        ``but``: recordings whose rows are still to be written, and that are moved where they are.
        """
        return await self._database.write(lambda connection: _move(connection, jump, but))


def _move(connection: Connection, jump: ClockJump, but: Collection[str]) -> int:
    by_us, since_us, until_us = jump.by // _US, unix_us(jump.since), unix_us(jump.until)
    for moment in _MOMENTS:
        mine = update(moment.table).where(moment.between(since_us, until_us))
        connection.execute(mine.values({moment.key: moment + by_us}))
    keys = app_keys.c
    made = update(app_keys).where(keys.created_us.between(since_us, until_us))
    connection.execute(made.values(created_us=keys.created_us + by_us, expires_us=keys.expires_us + by_us))
    if by_us < 0:  # where it was put forth, what waits is due a little early
        late = update(outbox).where(outbox.c.due_us > until_us + by_us)
        connection.execute(late.values(due_us=outbox.c.due_us + by_us))
    _move_secrets(connection, jump)
    rows = recordings_table.c
    ended = update(recordings_table).where(
        rows.ended_us.between(jump.journal_since_us, jump.journal_until_us),
        rows.expires_us.is_not(None),
        rows.id.not_in([*but]),
    )
    return connection.execute(ended.values(expires_us=rows.expires_us + by_us)).rowcount


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
