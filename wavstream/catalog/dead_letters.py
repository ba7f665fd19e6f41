"""Dead letters: announcements that were given up, to be read and to be tried again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select, tuple_, update

from wavstream.catalog.database import Database
from wavstream.catalog.outbox import Outbox, State, announcement, order_turns
from wavstream.catalog.pages import Page, make_page, read_cursor
from wavstream.catalog.tables import outbox
from wavstream.model.fact import Announcement
from wavstream.model.times import unix_us

REPLAYED_AT_ONCE = 1_000
"""A transaction that takes longer than some 50 ms would hold up all others."""


class DeadLetters:
    """What apps could not be told; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def page(self, app_id: str, *, limit: int, cursor: str | None = None) -> Page[Announcement]:
        """Return a page of the app's, the last given up first; raise InvalidFields for a cursor that is not ours."""

        def read(connection: Connection) -> Page[Announcement]:
            place = (outbox.c.done_us, outbox.c.id)
            statement = select(outbox).where(*_dead(app_id)).order_by(*(column.desc() for column in place))
            if cursor is not None:
                statement = statement.where(tuple_(*place) < tuple_(*read_cursor(cursor)))
            rows = connection.execute(statement.limit(limit + 1)).mappings().all()
            return make_page(rows, limit, time="done_us", make=announcement)

        return await self._database.read(read)

    async def get(self, app_id: str, fact_id: str) -> Announcement | None:
        """Return the dead letter of that id, if the app has one."""
        statement = select(outbox).where(*_dead(app_id), outbox.c.id == fact_id)

        def read(connection: Connection) -> Announcement | None:
            row = connection.execute(statement).mappings().one_or_none()
            return None if row is None else announcement(row)

        return await self._database.read(read)

    async def replay(self, app_id: str, fact_ids: Collection[str] | None, now: datetime) -> int:
        """Try these again, or (None) the oldest, at most ``REPLAYED_AT_ONCE`` of them; return how many.

        Each is tried anew for as long as a new one, with the id and the sequence that it had. In its session it goes
        before what has a higher sequence and is still pending.
        """
        wanted = select(outbox.c.id).where(*_dead(app_id))
        if fact_ids is not None:
            wanted = wanted.where(outbox.c.id.in_(fact_ids))
        wanted = wanted.order_by(outbox.c.done_us, outbox.c.id).limit(REPLAYED_AT_ONCE)
        again = (
            update(outbox)
            .where(outbox.c.id.in_(wanted))
            .values(state=State.PENDING.value, attempts=0, begun_us=unix_us(now), done_us=None, error=None)
        )

        def write(connection: Connection) -> int:
            replayed = connection.execute(again).rowcount
            order_turns(connection, app_id, now)
            return replayed

        count = await self._database.write(write)
        self._outbox.tell_dispatcher({app_id} if count else ())
        return count


def _dead(app_id: str) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.app_id == app_id, outbox.c.state == State.DEAD.value
