"""Which rows of recordings are asked for, as conditions of a statement.

An app's rows are read newest first, along an index that has them so; the session, the parties and what is held have
indexes of their own in the same order. All else is looked at row by row: a search for what is rare among a million
recordings takes a reader a second or two, and holds up no writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from sqlalchemy import ColumnElement, and_, or_

from wavstream.catalog.json_members import contains, has_pair, json_member
from wavstream.catalog.tables import recordings
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import session_alias
from wavstream.model.recording import Status
from wavstream.model.times import unix_us

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
