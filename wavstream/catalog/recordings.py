"""Recordings as rows.

A recording only ever moves forward in its life: ``save`` writes a value over a row only if the row's status is one
that the value's status may follow. So a late writer (a fold that ends after the sweeper, a recovery beside a live
session) cannot take a row back, and needs no lock.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, bindparam, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog import transcriptions
from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.json_members import json_number
from wavstream.catalog.nodes import Nodes
from wavstream.catalog.outbox import Outbox
from wavstream.catalog.pages import NumberedPage, Page, make_page, read_cursor
from wavstream.catalog.recording_rows import recording_of, recording_row
from wavstream.catalog.searching import LOOK_S, as_far_as, beyond, conditions, is_row_by_row, newest_first, slice_end
from wavstream.catalog.tables import recordings
from wavstream.catalog.uploads import queue
from wavstream.model.fact import Fact
from wavstream.model.filters import RecordingFilters
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us, utc

_DAY_US = 86_400_000_000
_RUNNING = tuple(status for status in Status if status.is_running)
UNFINISHED = tuple(status for status in Status if status.is_unfinished)
"""Statuses of recordings whose file is not made yet."""

MAY_FOLLOW: Mapping[Status, tuple[Status, ...]] = {
    Status.ACCEPTED: (Status.ACCEPTED,),
    Status.ONGOING: _RUNNING,
    Status.PAUSED: _RUNNING,
    Status.COMPLETED: UNFINISHED,
    Status.AVAILABLE: (*UNFINISHED, Status.AVAILABLE),
    Status.ABSENT: (*UNFINISHED, Status.ABSENT),
    # An available recording fails when reconciliation finds that its file is gone.
    Status.FAILED: (*UNFINISHED, Status.AVAILABLE, Status.FAILED),
    Status.EXPIRED: (Status.AVAILABLE, Status.EXPIRED),
    Status.DELETED: (Status.AVAILABLE, Status.ABSENT, Status.FAILED, Status.EXPIRED, Status.DELETED),
}


@dataclass(frozen=True, slots=True)
class StoredDay:
    """The files of the recordings that were created on one day, UTC, and can be fetched."""

    day: date
    recordings: int
    size_bytes: int


_OF_OTHERS = ("hold_json", "erasing_us", "erased_by", "stored_json", "node", "epoch")
"""Columns that ``holds``, ``erasures``, ``uploads`` and ``nodes`` write, and ``save`` leaves as they are, or nearly."""

_WRITTEN = {*recordings.c.keys()} - {"erasing_us", "erased_by"}

_NEW = insert(recordings).excluded
_SAVED = {name: value for name, value in dict(_NEW).items() if name not in _OF_OTHERS} | {
    name: func.coalesce(_NEW[name], recordings.c[name]) for name in ("node", "epoch")
}
_IS_OURS = or_(
    recordings.c.node.is_(None),
    _NEW.node.is_(None),
    recordings.c.node == _NEW.node,
    recordings.c.epoch.is_(None),
    recordings.c.epoch < _NEW.epoch,
)
"""Rule 2 of ``nodes``."""

# Statements that are made once: to build one takes several times as long as to run it.
_ADD = Prepared(insert(recordings).on_conflict_do_nothing(index_elements=["id"]), columns=_WRITTEN)
_SAVE = {
    status: Prepared(
        insert(recordings).on_conflict_do_update(
            index_elements=["id"],
            set_=_SAVED,
            where=and_(or_(*(recordings.c.status == each.value for each in before)), _IS_OURS),
        ),
        columns=_WRITTEN,
    )
    for status, before in MAY_FOLLOW.items()
}
# What of a sidecar a row lacks: a hold too, if that was put on a recording that ran, and where the file was found.
_FOUND = Prepared(
    insert(recordings).on_conflict_do_update(
        index_elements=["id"],
        set_=_SAVED | {name: func.coalesce(recordings.c[name], _NEW[name]) for name in ("hold_json", "stored_json")},
        where=and_(or_(*(recordings.c.status == each.value for each in (*UNFINISHED, Status.FAILED))), _IS_OURS),
    ),
    columns=_WRITTEN,
)
_NOBODY = {"node": None, "epoch": None}
_GET = select(recordings).where(recordings.c.id == bindparam("wanted"))
_SIZE = json_number(recordings.c.receipt_json, "size_bytes")
# Of what lies on this machine: the disk of a file that was uploaded is not ours.
_STORED = Prepared(
    select(recordings.c.app_id, _SIZE.label("size_bytes")).where(
        recordings.c.id == bindparam("wanted"),
        recordings.c.status == Status.AVAILABLE.value,
        recordings.c.stored_json.is_(None),
    )
)
_SUM_STORED = (
    select(recordings.c.app_id, func.sum(_SIZE))
    .where(recordings.c.status == Status.AVAILABLE.value, recordings.c.stored_json.is_(None))
    .group_by(recordings.c.app_id)
)


class Recordings:
    """The rows of recordings; every method raises DependencyError when the database fails."""

    def __init__(
        self, database: Database, outbox: Outbox, *, has_store: bool = False, transcribes: bool = False
    ) -> None:
        """``has_store``: files that are finished are to be uploaded; ``transcribes``: those that ask, transcribed."""
        self._database = database
        self._outbox = outbox
        self._has_store = has_store
        self._transcribes = transcribes
        self._on_queued: Callable[[], None] | None = None
        self._nodes: Nodes | None = None
        self._on_to_transcribe: Callable[[], None] | None = None
        self._stored: Counter[str] | None = None
        """Bytes of the files on this machine, by app; None: they were not summed up yet."""

    def on_queued(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever there may be one more file to upload."""
        self._on_queued = wake

    def are_of(self, nodes: Nodes) -> None:
        """Write from now on as one node of several, and look after what is its own alone (``nodes``)."""
        self._nodes = nodes

    def row_of(self, recording: Recording) -> dict[str, object] | None:
        """Return the columns that this node writes of a recording; None: another node has the session."""
        if self._nodes is None:
            return recording_row(recording) | _NOBODY
        stamp = self._nodes.stamp(recording.session_id)
        return None if stamp is None else recording_row(recording) | stamp._asdict()

    def on_to_transcribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from now on whenever there is one more recording to transcribe."""
        self._on_to_transcribe = wake

    async def stored_bytes(self) -> Counter[str]:
        """Return the bytes of the finished files on this machine, by app: without those that were uploaded.

        Summed up once, then kept up by saves, uploads and erasures.
        """
        if self._stored is None:
            # As a write, so that no other write comes between the sum and what is added to it.
            self._stored = await self._database.write(self._sum_stored)
        return Counter(self._stored)

    async def sum_stored(self) -> None:
        """Sum them up anew: other processes save and erase too. Takes a second of a reader for a million rows."""
        self._stored = await self._database.read(self._sum_stored)

    def _sum_stored(self, connection: Connection) -> Counter[str]:
        here = _SUM_STORED if self._nodes is None else _SUM_STORED.where(self._nodes.own())
        return Counter({app_id: int(size or 0) for app_id, size in connection.execute(here)})

    def give_back(self, freed: Mapping[str, int]) -> None:
        """Count the bytes of files that were erased or uploaded, by app, no more."""
        if self._stored is not None:
            self._stored.subtract(freed)

    async def add(self, recording: Recording) -> bool:
        """Insert the row; return False, and change nothing, if its id is there already."""
        row, is_uploaded = self.row_of(recording), self._is_to_upload(recording)
        is_transcribed = self._is_to_transcribe(recording)

        def write(connection: Connection) -> bool:
            added = insert_recording(connection, row)
            if added and is_uploaded:
                queue(connection, recording)
            if added and is_transcribed:
                transcriptions.queue(connection, recording)
            return added

        added = await self._database.write(write)
        if added and self._stored is not None:
            self._stored[recording.app_id] += _stored_bytes(recording)
        if added and is_uploaded:
            self._tell_uploader()
        if added and is_transcribed:
            self._tell_transcriber()
        return added

    def _is_to_upload(self, recording: Recording) -> bool:
        return self._has_store and recording.status is Status.AVAILABLE and recording.stored is None

    def _is_to_transcribe(self, recording: Recording) -> bool:
        return self._transcribes and recording.status is Status.AVAILABLE and recording.options.transcription

    def _tell_transcriber(self) -> None:
        if self._on_to_transcribe is not None:
            self._on_to_transcribe()

    def _tell_uploader(self) -> None:
        if self._on_queued is not None:
            self._on_queued()

    async def save(self, recording: Recording, facts: Sequence[Fact] = (), *, found: bool = False) -> bool:
        """Insert the row or write over all of it, and announce the facts of the change in the same transaction.

        Return False, and change nothing, if the row is further in its life, or another node's. ``found``: it is
        available, as its file was found; a row that says that it failed did not know of that.
        """
        statement = _FOUND if found else _SAVE[recording.status]
        row, is_uploaded = self.row_of(recording), self._is_to_upload(recording)
        is_transcribed = self._is_to_transcribe(recording)

        def write(connection: Connection) -> tuple[bool, set[str], int]:
            before_bytes = stored_before(connection, recording)
            saved = row is not None and statement.run(connection, row) == 1
            told = self._outbox.add(connection, facts) if saved else set()
            if saved and is_uploaded:
                queue(connection, recording)
            if saved and is_transcribed:
                transcriptions.queue(connection, recording)
            return saved, told, _stored_bytes(recording) - before_bytes if saved else 0

        saved, told, more_bytes = await self._database.write(write)
        if self._stored is not None:
            self._stored[recording.app_id] += more_bytes
        self._outbox.tell_dispatcher(told)
        if saved and is_uploaded:
            self._tell_uploader()
        if saved and is_transcribed:
            self._tell_transcriber()
        return saved

    async def get(self, recording_id: str, app_id: str | None = None) -> Recording | None:
        """Return the recording, if it is there and, where ``app_id`` is given, that app's."""

        def read(connection: Connection) -> Recording | None:
            row = connection.execute(_GET, {"wanted": recording_id}).mappings().one_or_none()
            if row is None or (app_id is not None and row["app_id"] != app_id):
                return None
            return recording_of(row)

        return await self._database.read(read)

    def _own(self) -> Select[Any]:
        return select(recordings) if self._nodes is None else select(recordings).where(self._nodes.own())

    async def is_of_another(self, recording: Recording) -> bool:
        """Return whether the row says that another node has the recording."""
        return self._nodes is not None and not await self._nodes.has_row(recording)

    async def unfinished(self, *, of: tuple[str, str] | None = None) -> list[Recording]:
        """Return the recordings of this node whose file is not made yet (any but those that ended), oldest first.

        ``of``: those of one session alone, by app and session id.
        """
        columns = recordings.c
        statement = self._own().where(columns.status.in_([status.value for status in UNFINISHED]))
        if of is not None:
            statement = statement.where(columns.app_id == of[0], columns.session_id == of[1])
        statement = statement.order_by(columns.created_us)
        return await self._database.read(lambda connection: _select(connection, statement))

    async def due(self, now: datetime, limit: int, after: Recording | None = None) -> list[Recording]:
        """Return available recordings, held by nobody, whose retention has ended, the longest ended first.

        ``after`` is the last one that was read; None: begin.
        """
        columns = recordings.c
        statement = select(recordings).where(
            columns.status == Status.AVAILABLE.value,
            columns.expires_us <= unix_us(now),
            columns.hold_json.is_(None),
        )
        if after is not None:
            assert after.expires_at is not None  # it was due
            statement = statement.where(
                tuple_(columns.expires_us, columns.id) > tuple_(unix_us(after.expires_at), after.id)
            )
        statement = statement.order_by(columns.expires_us, columns.id).limit(limit)
        return await self._database.read(lambda connection: _select(connection, statement))

    async def stored(self, after_id: str, limit: int) -> list[Recording]:
        """Return this node's available recordings in order of id; begin with ``""``, go on with the last id."""
        columns = recordings.c
        statement = self._own().where(columns.id > after_id, columns.status == Status.AVAILABLE.value)
        statement = statement.order_by(columns.id).limit(limit)
        return await self._database.read(lambda connection: _select(connection, statement))

    async def list(
        self,
        app_id: str,
        filters: RecordingFilters | None = None,
        *,
        limit: int,
        cursor: str | None = None,
        look_s: float = LOOK_S,
    ) -> Page[Recording]:
        """Return a page of the app's recordings, the newest first; raise InvalidFields for a cursor that is not ours.

        Without a status among the filters the deleted ones are left out. A search that no index helps ends after
        ``look_s``: its page may have fewer than ``limit``, and its cursor is where to go on.
        """
        asked = filters or RecordingFilters()

        def read(connection: Connection) -> Page[Recording]:
            place = None if cursor is None else read_cursor(cursor)
            give_up_s = time.monotonic() + look_s
            rows: list[RowMapping] = []
            while True:
                end = (
                    connection.execute(slice_end(app_id, asked, place)).one_or_none() if is_row_by_row(asked) else None
                )
                statement = select(recordings).where(*conditions(app_id, asked))
                if place is not None:
                    statement = statement.where(beyond(place))
                if end is not None:
                    statement = statement.where(as_far_as((end.created_us, end.id)))
                wanted = newest_first(statement, asked).limit(limit + 1 - len(rows))
                rows += connection.execute(wanted).mappings()
                if len(rows) > limit or end is None:
                    return make_page(rows, limit, time="created_us", make=recording_of)
                place = (end.created_us, end.id)
                if time.monotonic() >= give_up_s:
                    return make_page(rows, limit, time="created_us", make=recording_of, looked_to=place)

        return await self._database.read(read)

    async def numbered_page(
        self, app_id: str, filters: RecordingFilters, *, number: int, size: int
    ) -> NumberedPage[Recording]:
        """Return page ``number``, from 1, of the same list, with the count of all of it."""
        wanted = conditions(app_id, filters)
        statement = newest_first(select(recordings).where(*wanted), filters).limit(size).offset((number - 1) * size)
        count = select(func.count()).select_from(recordings).where(*wanted)

        def read(connection: Connection) -> NumberedPage[Recording]:
            total = connection.execute(count).scalar_one()
            return NumberedPage(data=tuple(_select(connection, statement)), total=total)

        return await self._database.read(read)

    async def stored_by_day(
        self, app_id: str, now: datetime, *, session_id: str | None = None
    ) -> tuple[StoredDay, ...]:
        """Return what the app has in storage, the oldest day first; ``session_id``: of one session alone."""
        columns, now_us = recordings.c, unix_us(now)
        wanted = [
            columns.app_id == app_id,
            columns.status == Status.AVAILABLE.value,
            or_(columns.expires_us.is_(None), columns.expires_us > now_us, columns.hold_json.is_not(None)),
        ]
        if session_id is not None:
            wanted.append(columns.session_id == session_id)
        day = columns.created_us // _DAY_US
        statement = select(day, func.count(), func.sum(_SIZE)).where(*wanted).group_by(day).order_by(day)

        def read(connection: Connection) -> tuple[StoredDay, ...]:
            rows = connection.execute(statement)
            return tuple(StoredDay(utc(day * _DAY_US).date(), count, int(size or 0)) for day, count, size in rows)

        return await self._database.read(read)


def stored_before(connection: Connection, recording: Recording) -> int:
    """Return the size of the file that the row has on this machine; only a recording that has ended can have one."""
    return 0 if recording.status.is_unfinished else stored_here(connection, recording.id).total()


def stored_here(connection: Connection, recording_id: str) -> Counter[str]:
    """Return the size of the file that an available recording has on this machine, by its app; nothing: it has none."""
    row = _STORED.row(connection, {"wanted": recording_id})
    return Counter() if row is None else Counter({row["app_id"]: row["size_bytes"] or 0})


def _stored_bytes(recording: Recording) -> int:
    receipt = recording.receipt
    is_here = recording.status is Status.AVAILABLE and recording.stored is None
    return receipt.size_bytes if receipt is not None and is_here else 0


def insert_recording(connection: Connection, row: Mapping[str, object] | None) -> bool:
    """Insert a row (``row_of``) as a part of a transaction; return False if it is there already, or is another's."""
    return row is not None and _ADD.run(connection, row) == 1


def _select(connection: Connection, statement: Select[Any]) -> list[Recording]:
    return [recording_of(row) for row in connection.execute(statement).mappings()]
