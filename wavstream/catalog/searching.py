"""Which rows of recordings are asked for, as conditions of a statement.

1. An app's rows are read newest first, along an index that has them so; the parties and what is held have indexes of
   their own in the same order. So has the session, but it is asked for by two names, of which SQLite finds no order: it
   would read all of the app instead (1.4 s of 200,000 rows). ``newest_first`` has it sort the few rows of the session.
2. All else is looked at row by row, ``SLICE`` rows at a time. After ``LOOK_S`` a search answers with what it has found,
   which may be nothing, and with the place that it has come to: who wants more goes on from there. So a search for what
   is rare among a million recordings never keeps one of the few readers for longer, and holds up no writer at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from math import ceil
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, tuple_

from wavstream.catalog.json_members import contains, has_pair, json_member
from wavstream.catalog.tables import recordings
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import session_alias
from wavstream.model.recording import Status
from wavstream.model.times import unix_us

LOOK_S = 0.25
"""So long a search looks, and for a slice more."""
SLICE = 2_000
_LAST = "\U0010ffff"


def conditions(app_id: str, filters: RecordingFilters) -> list[ColumnElement[bool]]:
    """Return the conditions of rows of the app to which all that applies."""
    columns = recordings.c
    wanted: list[ColumnElement[bool]] = [columns.app_id == app_id]
    if filters.statuses is None:
        wanted.append(columns.status != Status.DELETED.value)
    else:
        wanted.append(columns.status.in_(sorted(status.value for status in filters.statuses)))
    if filters.ids is not None:
        wanted.append(columns.id.in_(filters.ids))
    equal = {
        columns.call_from: filters.from_,
        columns.call_to: filters.to,
        columns.call_direction: filters.direction,
    }
    if filters.session_id is not None:  # those that were erased have the alias
        wanted.append(columns.session_id.in_((filters.session_id, session_alias(app_id, filters.session_id))))
    wanted += [column == value for column, value in equal.items() if value is not None]
    wanted += [*_searched(filters)]
    for name, value in filters.vendor_ids.items():
        told = json_member(columns.vendor_ids_json, name)
        wanted.append(told.is_(None) if value is None else told == value)
    for column, since, until in (
        (columns.created_us, filters.created_from, filters.created_until),
        (columns.started_us, filters.started_from, filters.started_until),
        (columns.ended_us, filters.ended_from, filters.ended_until),
    ):
        if since is not None:
            wanted.append(column >= unix_us(since))
        if until is not None:
            wanted.append(column < unix_us(until))
    return wanted


def has_file(now: datetime) -> ColumnElement[bool]:
    """Return the condition of recordings that have their file: what is over and was not swept yet has none."""
    columns = recordings.c
    is_kept = or_(columns.expires_us.is_(None), columns.expires_us > unix_us(now), columns.hold_json.is_not(None))
    return and_(columns.status == Status.AVAILABLE.value, is_kept)


def is_row_by_row(filters: RecordingFilters) -> bool:
    """Return whether rows have to be looked at one by one (rule 2)."""
    has_index = filters.session_id is not None or filters.from_ is not None or filters.to is not None
    searched = (
        filters.statuses, filters.text, filters.party, filters.end_reasons, filters.metadata or None,
        filters.longer_than_s, filters.shorter_than_s,
    )  # fmt: skip
    return not has_index and not filters.is_held and any(each is not None for each in searched)


def newest_first(statement: Select[Any], filters: RecordingFilters) -> Select[Any]:
    """Return the statement with its rows in the order of a list (rule 1)."""
    created = recordings.c.created_us
    return statement.order_by((created if filters.session_id is None else created + 0).desc(), recordings.c.id.desc())


def slice_end(app_id: str, filters: RecordingFilters, after: tuple[int, str] | None) -> Select[Any]:
    """Return what selects the place of the last row of the slice that begins behind ``after``; None: at the newest."""
    columns = recordings.c
    statement = select(columns.created_us, columns.id).where(columns.app_id == app_id)
    if filters.created_from is not None:
        statement = statement.where(columns.created_us >= unix_us(filters.created_from))
    if after is not None:
        statement = statement.where(beyond(after))
    elif filters.created_until is not None:
        statement = statement.where(columns.created_us < unix_us(filters.created_until))
    return statement.order_by(columns.created_us.desc(), columns.id.desc()).offset(SLICE - 1).limit(1)


def beyond(place: tuple[int, str]) -> ColumnElement[bool]:
    """Return the condition of rows that come after this place, in the order of the list."""
    return tuple_(recordings.c.created_us, recordings.c.id) < tuple_(*place)


def as_far_as(place: tuple[int, str]) -> ColumnElement[bool]:
    """Return the condition of rows before this place, and of the one there."""
    return tuple_(recordings.c.created_us, recordings.c.id) >= tuple_(*place)


def _searched(filters: RecordingFilters) -> Iterator[ColumnElement[bool]]:
    columns = recordings.c
    if filters.end_reasons is not None:
        yield columns.end_reason.in_(sorted(reason.value for reason in filters.end_reasons))
    if (party := filters.party) is not None:
        yield or_(*(_is_party(column, party) for column in (columns.call_from, columns.call_to)))
    if filters.text is not None:
        texts = (columns.id, columns.session_id, columns.call_from, columns.call_to)
        # Not LIKE, which takes some characters for others.
        yield or_(*(contains(column, filters.text) for column in texts))
    if filters.longer_than_s is not None:
        yield columns.length_ms >= ceil(filters.longer_than_s * 1000)
    if filters.shorter_than_s is not None:
        yield columns.length_ms < ceil(filters.shorter_than_s * 1000)
    for name, value in filters.metadata.items():
        yield has_pair(columns.options_json, "metadata", name, value)
    if filters.is_held is not None:
        yield columns.hold_json.is_not(None) if filters.is_held else columns.hold_json.is_(None)


def _is_party(column: ColumnElement[str], party: str) -> ColumnElement[bool]:
    if not party.endswith("*"):
        return column == party
    begins = party[:-1]
    # A range, which an index has: no text that begins so is beyond it.
    return and_(column >= begins, column < begins + _LAST)
