"""Recordings whose files are moved: to a store, from one to another, or back to this machine.

1. The row is the truth. It is changed only if it still is as it was when the file was copied (``finish``): available,
   held by nobody, in the same place. Who erased or held it meanwhile has come first.
2. Before a store is sent anything, ``uploads`` says to which (``begin``), and from the change on it says where the
   former object is, until that is removed. Whatever ends the process, the next run finds it there (``left``).
3. What waits for the server's own upload is not moved: the server announces it with that. Rows that are ours say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update

from wavstream.catalog.database import Database
from wavstream.catalog.tables import json_text, recordings, uploads
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.model.times import unix_us, utc

OURS = "moved by 'wavstream storage migrate'"
"""What ``uploads`` says of a row that is of a move, where the server says why an upload has failed."""
_AVAILABLE = recordings.c.status == Status.AVAILABLE.value


@dataclass(frozen=True, slots=True)
class Selection:
    """Which recordings are to be moved, and to where."""

    target: str | None
    """URL of the store; None: this machine."""
    app_id: str | None = None
    before: datetime | None = None
    """Of those that were created before this alone."""


class Claim(Enum):
    """Whether a recording can be moved now."""

    MINE = auto()
    HELD = auto()
    """By a legal hold: it stays where it is until that is released."""
    GONE = auto()
    """It was erased, or moved by somebody else."""
    QUEUED = auto()
    """The server is to upload it."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that a move may have left in stores."""

    recording_id: str
    object_key: str
    urls: tuple[str, ...]
    """Stores in which something may lie that the row does not name."""
    due: datetime
    """When a server that runs may look after it."""


class Moves:
    """Moves as rows; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, selection: Selection) -> int:
        """Return how many recordings are to be moved, with those that are held."""
        statement = select(func.count()).select_from(recordings).where(*_wanted(selection))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def held(self, selection: Selection) -> int:
        """Return how many of them are held."""
        statement = select(func.count()).select_from(recordings)
        statement = statement.where(*_wanted(selection), recordings.c.hold_json.is_not(None))
        return await self._database.read(lambda connection: connection.execute(statement).scalar_one())

    async def ids(self, selection: Selection, after_id: str, limit: int) -> list[str]:
        """Return ids of recordings to be moved, in order; begin with ``""``, go on with the last id."""
        statement = select(recordings.c.id).where(*_wanted(selection), recordings.c.id > after_id)
        statement = statement.order_by(recordings.c.id).limit(limit)
        return await self._database.read(lambda connection: list(connection.execute(statement).scalars()))

    async def begin(
        self, recording: Recording, target: str | None, *, now: datetime, due: datetime, has_server: bool
    ) -> Claim:
        """Note that its file is being copied there (rule 2); from ``due`` on a server may look after what is left.

        ``has_server``: one runs, and may be at work on what was due.
        """

        def write(connection: Connection) -> Claim:
            row = connection.execute(_place(recording.id)).mappings().one_or_none()
            if row is None or not _is_there_still(row, recording):
                return Claim.GONE
            if row["hold_json"] is not None:
                return Claim.HELD
            queued = connection.execute(_queued(recording.id)).mappings().one_or_none()
            if queued is not None and (queued["error"] != OURS or (has_server and queued["due_us"] <= unix_us(now))):
                return Claim.QUEUED  # rule 3
            tried = [] if queued is None else msgspec.json.decode(queued["tried_json"])
            if target is not None and target not in tried:
                tried.append(target)
            if tried:
                _note(connection, recording, tried, now=now, due=due, is_there=queued is not None)
            return Claim.MINE

        return await self._database.write(write)

    async def finish(self, recording: Recording, stored: StoredObject | None, *, now: datetime, due: datetime) -> bool:
        """Write where the file lies now, and note what of it is still in the former store, in one transaction.

        Return False, and change nothing, if the row is not as it was (rule 1).
        """
        was, url = recording.stored, None if stored is None else stored.url
        text = None if stored is None else json_text(stored)

        def write(connection: Connection) -> bool:
            row = connection.execute(_place(recording.id)).mappings().one_or_none()
            if row is None or row["hold_json"] is not None or not _is_there_still(row, recording):
                return False  # rule 1
            connection.execute(update(recordings).where(recordings.c.id == recording.id).values(stored_json=text))
            queued = connection.execute(_queued(recording.id)).mappings().one_or_none()
            tried = [] if queued is None else msgspec.json.decode(queued["tried_json"])
            left = [each for each in dict.fromkeys([*tried, *([was.url] if was else [])]) if each != url]
            if left:
                _note(connection, recording, left, now=now, due=due, is_there=queued is not None)
            elif queued is not None:
                connection.execute(delete(uploads).where(uploads.c.recording_id == recording.id))
            return True

        return await self._database.write(write)

    async def left(self, *, now: datetime, has_server: bool) -> list[Left]:
        """Return what moves have left, of earlier runs too; not what a server that runs may be at work on."""
        statement = (
            select(uploads, recordings.c.stored_json, recordings.c.status)
            .join_from(uploads, recordings, recordings.c.id == uploads.c.recording_id, isouter=True)
            .where(uploads.c.error == OURS)
            .order_by(uploads.c.due_us)
        )
        if has_server:
            statement = statement.where(uploads.c.due_us > unix_us(now))
        return await self._database.read(
            lambda connection: [_left(row) for row in connection.execute(statement).mappings()]
        )

    async def forget(self, recording_id: str) -> None:
        """Note that nothing of it is left but what its row names."""
        done = delete(uploads).where(uploads.c.recording_id == recording_id, uploads.c.error == OURS)
        await self._database.write(lambda connection: connection.execute(done))


def _wanted(selection: Selection) -> Sequence[ColumnElement[bool]]:
    stored = recordings.c.stored_json
    wanted: list[ColumnElement[bool]] = [_AVAILABLE]
    if selection.target is None:
        wanted.append(stored.is_not(None))
    else:
        # The URL comes first in it (``StoredObject``), and has nothing that JSON would write in another way.
        begin = '{"url":' + json_text(selection.target) + ","
        wanted.append(or_(stored.is_(None), func.substr(stored, 1, len(begin)) != begin))
    if selection.app_id is not None:
        wanted.append(recordings.c.app_id == selection.app_id)
    if selection.before is not None:
        wanted.append(recordings.c.created_us < unix_us(selection.before))
    return wanted


def _place(recording_id: str) -> Any:
    columns = recordings.c
    statement = select(columns.status, columns.hold_json, columns.stored_json).where(columns.id == recording_id)
    return statement.with_for_update()  # where there are several writers


def _queued(recording_id: str) -> Any:
    return select(uploads).where(uploads.c.recording_id == recording_id).with_for_update()


def _note(
    connection: Connection,
    recording: Recording,
    tried: Sequence[str],
    *,
    now: datetime,
    due: datetime,
    is_there: bool,
) -> None:
    values = {"due_us": unix_us(due), "tried_json": json_text([*tried]), "error": OURS}
    if is_there:
        connection.execute(update(uploads).where(uploads.c.recording_id == recording.id).values(values))
        return
    whose = {"recording_id": recording.id, "app_id": recording.app_id, "object_key": recording.object_key}
    connection.execute(insert(uploads).values(**whose, since_us=unix_us(now), **values))


def _is_there_still(row: Any, recording: Recording) -> bool:
    return row["status"] == Status.AVAILABLE.value and _stored(row) == recording.stored


def _stored(row: Any) -> StoredObject | None:
    text = row["stored_json"]
    return None if text is None else msgspec.json.decode(text, type=StoredObject)


def _left(row: Any) -> Left:
    stored = _stored(row) if row["status"] == Status.AVAILABLE.value else None
    kept = None if stored is None else stored.url
    urls = tuple(each for each in msgspec.json.decode(row["tried_json"]) if each != kept)
    return Left(row["recording_id"], row["object_key"], urls, utc(row["due_us"]))
