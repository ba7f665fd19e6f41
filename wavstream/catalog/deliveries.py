"""What an app was told, is being told or could not be told, in one API's words: the outbox as its receivers see it.

Rows that were delivered are kept for ``outbox.DELIVERED_KEPT``, and have no body any more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from wavstream.catalog.database import Database
from wavstream.catalog.outbox import State, announcement
from wavstream.catalog.pages import NumberedPage
from wavstream.catalog.tables import outbox
from wavstream.model.fact import Announcement, FactKind
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class Delivery:
    """One announcement, and how far it is."""

    announcement: Announcement
    state: State
    ended_at: datetime | None
    """When it was taken or given up; None: it is still tried. Aware, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilters:
    """The deliveries to which everything said applies; None: do not ask."""

    states: Collection[State] | None = None
    kinds: Collection[FactKind] | None = None
    since: datetime | None = None
    """Begun at or after this; aware."""
    until: datetime | None = None
    """Begun before this; aware."""


class Deliveries:
    """Reads the outbox; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, app_id: str, api: str, filters: DeliveryFilters, *, number: int, size: int
    ) -> NumberedPage[Delivery]:
        """Return page ``number``, from 1, of what the app is told in an API's words, the newest first."""
        wanted = _conditions(app_id, api, filters)
        order = (outbox.c.begun_us.desc(), outbox.c.id.desc())
        statement = select(outbox).where(*wanted).order_by(*order).limit(size).offset((number - 1) * size)
        count = select(func.count()).select_from(outbox).where(*wanted)

        def read(connection: Connection) -> NumberedPage[Delivery]:
            total = connection.execute(count).scalar_one()
            return NumberedPage(tuple(_delivery(row) for row in connection.execute(statement).mappings()), total)

        return await self._database.read(read)


def _conditions(app_id: str, api: str, filters: DeliveryFilters) -> list[ColumnElement[bool]]:
    columns = outbox.c
    wanted: list[ColumnElement[bool]] = [columns.app_id == app_id, columns.api == api]
    if filters.states is not None:
        wanted.append(columns.state.in_(sorted(state.value for state in filters.states)))
    if filters.kinds is not None:
        wanted.append(columns.kind.in_(sorted(kind.value for kind in filters.kinds)))
    if filters.since is not None:
        wanted.append(columns.begun_us >= unix_us(filters.since))
    if filters.until is not None:
        wanted.append(columns.begun_us < unix_us(filters.until))
    return wanted


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        announcement=announcement(row),
        state=State(row["state"]),
        ended_at=None if row["done_us"] is None else utc(row["done_us"]),
    )
