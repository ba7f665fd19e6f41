"""Dead letters: announcements that were given up, to be read and to be tried again.

Every function takes a connection inside a transaction and can be run again after a rollback.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, tuple_, update

from wavstream.catalog.cursors import read_cursor, write_cursor
from wavstream.catalog.outbox import State, announcement, before
from wavstream.catalog.tables import outbox
from wavstream.model.fact import Announcement
from wavstream.model.times import unix_us

REPLAYED_AT_ONCE = 1_000
"""A transaction that takes longer than some 50 ms would hold up all others."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """One page of a list."""

    data: tuple[Announcement, ...]
    """The last to be given up first."""
    next_cursor: str | None
    """Hand it back to read on; None: this was the last page."""


def page(connection: Connection, app_id: str, limit: int, cursor: str | None) -> DeadLetters:
    """Up to ``limit`` dead letters after ``cursor``; raises InvalidFields for a cursor that is not ours."""
    place = (outbox.c.done_us, outbox.c.id)
    statement = select(outbox).where(*_dead(app_id)).order_by(*(column.desc() for column in place))
    if cursor is not None:
        statement = statement.where(tuple_(*place) < tuple_(*read_cursor(cursor)))
    rows = connection.execute(statement.limit(limit + 1)).mappings().all()
    shown = rows[:limit]
    return DeadLetters(
        data=tuple(announcement(row) for row in shown),
        next_cursor=write_cursor(shown[-1]["done_us"], shown[-1]["id"]) if len(rows) > limit else None,
    )


def get(connection: Connection, app_id: str, fact_id: str) -> Announcement | None:
    """The dead letter of that id, if the app has one."""
    row = connection.execute(select(outbox).where(*_dead(app_id), outbox.c.id == fact_id)).mappings().one_or_none()
    return None if row is None else announcement(row)


def replay(connection: Connection, app_id: str, fact_ids: Collection[str] | None, now: datetime) -> int:
    """Make these pending again, or all, the oldest ``REPLAYED_AT_ONCE`` of them; how many.

    Each is tried anew for as long as a new one, with the id and the sequence that it had. In its session it goes before
    what has a higher sequence and is still pending.
    """
    wanted = select(outbox.c.id).where(*_dead(app_id)).order_by(outbox.c.done_us, outbox.c.id).limit(REPLAYED_AT_ONCE)
    if fact_ids is not None:
        wanted = wanted.where(outbox.c.id.in_(fact_ids))
    now_us = unix_us(now)
    again = update(outbox).where(outbox.c.id.in_(wanted))
    replayed = connection.execute(
        again.values(state=State.PENDING.value, attempts=0, begun_us=now_us, done_us=None, error=None)
    ).rowcount
    pending = update(outbox).where(outbox.c.app_id == app_id, outbox.c.state == State.PENDING.value)
    connection.execute(pending.where(outbox.c.due_us.is_not(None), before(outbox)).values(due_us=None))
    connection.execute(pending.where(outbox.c.due_us.is_(None), ~before(outbox)).values(due_us=now_us))
    return replayed


def _dead(app_id: str) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.app_id == app_id, outbox.c.state == State.DEAD.value
