"""Transcriptions as apps ask for them: one by its id, the list of them, and one that is to be erased.

1. A transcription is shown with its recording, for as long as that has a file: what is erased has none, and neither
   has what is over but was not swept yet.
2. Lists are of one app, the last that was asked for first.
3. A transcript may be erased before its recording is, with what waits to be told of it. What is held is not erased:
   what was said belongs to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, delete, func, select, tuple_

from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.outbox import Outbox, give_turn
from wavstream.catalog.pages import NumberedPage, Page, make_page, read_cursor
from wavstream.catalog.recording_rows import recording_of
from wavstream.catalog.searching import has_file
from wavstream.catalog.tables import outbox, recordings, transcriptions, transcripts
from wavstream.catalog.transcriptions import Transcription, erase_transcript, transcription_of
from wavstream.model.fact import FactKind
from wavstream.model.recording import Recording
from wavstream.model.times import unix_us

_TELLS_OF_IT = (FactKind.RECORDING_TRANSCRIBED.value, FactKind.RECORDING_NOT_TRANSCRIBED.value)
_REMOVE = Prepared("""
    DELETE FROM transcriptions WHERE recording_id = :recording AND id = :id
        AND EXISTS (SELECT 1 FROM recordings WHERE id = :recording AND hold_json IS NULL)
""")


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A transcription and its recording."""

    work: Transcription
    recording: Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionFilters:
    """The transcriptions to which everything said applies; None: do not ask. Times are aware."""

    recording_id: str | None = None
    asked_from: datetime | None = None
    """Asked for at or after this."""
    asked_until: datetime | None = None
    """Asked for before this."""


class AskedTranscriptions:
    """What apps see of transcriptions; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def find(self, app_id: str, transcription_id: str, now: datetime) -> Transcribed | None:
        """Return a transcription of the app by its id; None: there is none, or its recording has no file (rule 1)."""
        wanted = [*_of(app_id, now), transcriptions.c.id == transcription_id]

        def read(connection: Connection) -> Transcribed | None:
            found = _with_recordings(connection, list(connection.execute(_rows(wanted)).mappings()))
            return found[0] if found else None

        return await self._database.read(read)

    async def page(self, app_id: str, now: datetime, *, limit: int, cursor: str | None) -> Page[Transcribed]:
        """Return a page of the app's; raise InvalidFields for a cursor that is not ours."""
        columns, wanted = transcriptions.c, _of(app_id, now)
        if cursor is not None:
            wanted.append(tuple_(columns.since_us, columns.id) < tuple_(*read_cursor(cursor)))

        def read(connection: Connection) -> Page[Transcribed]:
            rows = list(connection.execute(_rows(wanted).limit(limit + 1)).mappings())
            shown = {each.recording.id: each for each in _with_recordings(connection, rows[:limit])}
            return make_page(rows, limit, time="since_us", make=lambda row: shown[row["recording_id"]])

        return await self._database.read(read)

    async def numbered_page(
        self, app_id: str, filters: TranscriptionFilters, now: datetime, *, number: int, size: int
    ) -> NumberedPage[Transcribed]:
        """Return page ``number``, from 1, of the same list, with the count of all of it."""
        columns, wanted = transcriptions.c, _of(app_id, now)
        if filters.recording_id is not None:
            wanted.append(columns.recording_id == filters.recording_id)
        if filters.asked_from is not None:
            wanted.append(columns.since_us >= unix_us(filters.asked_from))
        if filters.asked_until is not None:
            wanted.append(columns.since_us < unix_us(filters.asked_until))
        statement = _rows(wanted).limit(size).offset((number - 1) * size)
        count = select(func.count()).select_from(_JOINED).where(*wanted)

        def read(connection: Connection) -> NumberedPage[Transcribed]:
            total = connection.execute(count).scalar_one()
            rows = list(connection.execute(statement).mappings())
            return NumberedPage(data=tuple(_with_recordings(connection, rows)), total=total)

        return await self._database.read(read)

    async def transcribed_among(self, recording_ids: Collection[str]) -> frozenset[str]:
        """Return which of these recordings have a transcript."""
        statement = select(transcripts.c.recording_id).where(transcripts.c.recording_id.in_(sorted(recording_ids)))
        return await self._database.read(lambda connection: frozenset(connection.execute(statement).scalars()))

    async def remove(self, work: Transcription, now: datetime) -> bool:
        """Erase a transcription, and its transcript (rule 3); return False if it is not there, or held.

        What is being transcribed is not written any more.
        """
        asked = {"recording": work.recording_id, "id": work.id}
        columns = outbox.c
        untold = delete(outbox).where(columns.recording_id == work.recording_id, columns.kind.in_(_TELLS_OF_IT))
        untold = untold.returning(columns.app_id, columns.line, columns.due_us)  # type: ignore[assignment]

        def write(connection: Connection) -> tuple[bool, set[str]]:
            if _REMOVE.run(connection, asked) != 1:
                return False, set()
            erase_transcript(connection, work.recording_id)
            turns = {(row.app_id, row.line) for row in connection.execute(untold) if row.due_us is not None}
            for app_id, line in turns:
                give_turn(connection, app_id, line, now)
            return True, {app_id for app_id, _ in turns}

        is_removed, told = await self._database.write(write)
        self._outbox.tell_dispatcher(told)
        return is_removed


_JOINED = transcriptions.join(recordings, recordings.c.id == transcriptions.c.recording_id)


def _of(app_id: str, now: datetime) -> list[ColumnElement[bool]]:
    return [transcriptions.c.app_id == app_id, has_file(now)]


def _rows(wanted: list[ColumnElement[bool]]) -> Select[Any]:
    columns = transcriptions.c
    statement = select(transcriptions).select_from(_JOINED).where(*wanted)
    return statement.order_by(columns.since_us.desc(), columns.id.desc())


def _with_recordings(connection: Connection, rows: list[RowMapping]) -> list[Transcribed]:
    ids = [row["recording_id"] for row in rows]
    found = connection.execute(select(recordings).where(recordings.c.id.in_(ids))).mappings()
    by_id = {row["id"]: recording_of(row) for row in found}
    return [Transcribed(transcription_of(row), by_id[row["recording_id"]]) for row in rows]
