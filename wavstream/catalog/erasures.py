"""Erasures: what is kept and told of a recording until it is erased goes in one transaction, before its files do.

1. First the row says that the recording is erased (``deleted``, or ``expired`` by retention), without what was personal
   in it. With it go its rows elsewhere: idempotency keys, commands, and what its app was told, was to be told or could
   not be told of it. From this commit on nothing hands the recording out, and no recovery brings it back.
   On a disk that is full the files go first, in the same transaction: they make the room that it needs.
2. Then the files go, here and in the store. Until they are gone the row has ``erasing_us``, so whatever ends the server
   in between, or keeps a file from being removed, the rest is done later.
   Until then it has the key of the file too. A key may tell who was called: when the files are gone, what stands in its
   place is made of the id alone (``finish``).
3. A recording that is held is not erased; one that is erased cannot be held.
4. Files come back with backups. What tells whose they are is the id in their key (``again``), as long as the key is not
   that of a recording which is kept: a peer may name its session as another recording is.
5. A file that waited for its upload waits no more. Where a store may have something of it by now, its row in
   ``uploads`` stays, and is due at once: who uploads takes that back, and until then something is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select, update

from wavstream.catalog.database import Database
from wavstream.catalog.outbox import Outbox, give_turn
from wavstream.catalog.recording_rows import recording_row
from wavstream.catalog.recordings import MAY_FOLLOW, Recordings, stored_before
from wavstream.catalog.tables import idempotency, operations, outbox, recordings, uploads
from wavstream.catalog.transcriptions import erase as erase_transcript
from wavstream.model.fact import command_done_id
from wavstream.model.ids import session_alias
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.model.times import unix_us

_ERASED = [status.value for status in Status if status.is_erased]
_IDS_AT_ONCE = 5_000
"""Parameters of one statement: databases take some tens of thousands."""
# rule 3, and no step back: what was deleted does not become expired.
_ERASE = update(recordings).where(
    recordings.c.id == bindparam("erased_id"),
    recordings.c.hold_json.is_(None),
    recordings.c.status.in_(bindparam("before", expanding=True)),
)
_MAY_BE_ERASED = select(recordings.c.id).where(
    recordings.c.id.in_(bindparam("ids", expanding=True)),
    recordings.c.hold_json.is_(None),
    recordings.c.status.in_(bindparam("before", expanding=True)),
)

_STORED_AT = select(recordings.c.stored_json).where(recordings.c.id == bindparam("wanted"))
_QUEUED = select(uploads.c.recording_id).where(uploads.c.recording_id == bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Erasing:
    """A recording that is erased and may still have files."""

    id: str
    object_key: str


@dataclass(frozen=True, slots=True)
class InStores:
    """What stores have of an erased recording, or may have."""

    url: str | None
    """The store that its file was uploaded to; None: it never was."""
    is_uploading: bool
    """Whether something may have been left by an upload that was not finished (rule 5)."""


class Erasures:
    """What is erased; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, recordings: Recordings, outbox: Outbox) -> None:
        self._database = database
        self._recordings = recordings
        self._outbox = outbox

    async def begin(
        self,
        doomed: Sequence[Recording],
        status: Status,
        *,
        by: str,
        now: datetime,
        make_room: Callable[[Recording], None] | None = None,
    ) -> set[str]:
        """Erase these rows, with what else tells of them, for ``by``; return the ids of those that nobody holds.

        ``status`` is what they become. A transaction takes about a millisecond for each. ``make_room`` is called within
        it, for those that are erased, before anything is written: a hold comes before, or fails.
        """
        before = [each.value for each in MAY_FOLLOW[status]]

        def write(connection: Connection) -> tuple[set[str], set[str], Counter[str]]:
            erased, told, freed = set(), set(), Counter[str]()
            if make_room is not None:
                free = set(
                    connection.execute(
                        _MAY_BE_ERASED, {"ids": [each.id for each in doomed], "before": before}
                    ).scalars()
                )
                for recording in doomed:
                    if recording.id in free:
                        make_room(recording)
            for recording in doomed:
                size_bytes = stored_before(connection, recording)
                row = recording_row(recording.erased(status, now)) | {"erasing_us": unix_us(now), "erased_by": by}
                del row["stored_json"]  # it may have been written since the recording was read
                if connection.execute(_ERASE, row | {"erased_id": recording.id, "before": before}).rowcount == 1:
                    erased.add(recording.id)
                    freed[recording.app_id] += size_bytes
                    told |= _erase_beside(connection, recording.id, now)
            return erased, told, freed

        erased, told, freed = await self._database.write(write)
        self._recordings.give_back(freed)
        self._outbox.tell_dispatcher(told)
        return erased

    async def unfinished(self, limit: int, after_id: str = "") -> list[Erasing]:
        """Return recordings of which something is still to be removed, in order of id."""
        columns = recordings.c
        statement = select(columns.id, columns.object_key).where(columns.erasing_us.is_not(None), columns.id > after_id)
        statement = statement.order_by(columns.id).limit(limit)

        def read(connection: Connection) -> list[Erasing]:
            return [Erasing(row.id, row.object_key) for row in connection.execute(statement)]

        return await self._database.read(read)

    async def in_stores(self, recording_id: str) -> InStores:
        """Return what stores have of an erased recording."""

        def read(connection: Connection) -> InStores:
            stored = connection.execute(_STORED_AT, {"wanted": recording_id}).scalar_one_or_none()
            url = None if stored is None else msgspec.json.decode(stored, type=StoredObject).url
            return InStores(url, connection.execute(_QUEUED, {"wanted": recording_id}).first() is not None)

        return await self._database.read(read)

    async def left_of(self, recording_id: str) -> Erasing | None:
        """Return the recording if something of it is still to be removed."""
        columns = recordings.c
        statement = select(columns.id, columns.object_key).where(
            columns.id == recording_id, columns.erasing_us.is_not(None)
        )

        def read(connection: Connection) -> Erasing | None:
            row = connection.execute(statement).one_or_none()
            return None if row is None else Erasing(row.id, row.object_key)

        return await self._database.read(read)

    async def is_over(self, app_id: str, session_id: str, now: datetime) -> bool | None:
        """Return whether no recording of a session is kept any more; None: there never was one."""
        columns = recordings.c
        statement = select(columns.status, columns.expires_us, columns.hold_json).where(
            columns.app_id == app_id, columns.session_id.in_((session_id, session_alias(app_id, session_id)))
        )

        def read(connection: Connection) -> bool | None:
            over = [
                row.status in _ERASED
                or (row.hold_json is None and row.expires_us is not None and row.expires_us <= unix_us(now))
                for row in connection.execute(statement)
            ]
            return all(over) if over else None

        return await self._database.read(read)

    async def finish(self, recording_ids: Collection[str]) -> None:
        """Note that nothing is left of these (rule 2)."""
        columns = recordings.c
        # The name of the file of one that is erased is its id.
        nothing = {columns.erasing_us: None, columns.object_key: columns.file_name}
        done = update(recordings).where(columns.id.in_(recording_ids), columns.status.in_(_ERASED)).values(nothing)
        await self._database.write(lambda connection: connection.execute(done))

    async def again(self, found: Mapping[str, Collection[str]]) -> int:
        """Note which files are there of recordings that were erased; return of how many nothing had been left (rule 4).

        ``found``: by key, which may be ids in it.
        """
        returned = await self._returned(found)
        if not returned:
            return 0
        columns = recordings.c
        again = update(recordings).where(
            columns.id == bindparam("returned_id"), columns.status.in_(_ERASED), columns.erasing_us.is_(None)
        )
        again = again.values(
            erasing_us=func.coalesce(columns.updated_us, columns.created_us), object_key=bindparam("returned_key")
        )

        def write(connection: Connection) -> int:
            return sum(
                connection.execute(again, {"returned_id": each, "returned_key": key}).rowcount
                for each, key in returned.items()
            )

        return await self._database.write(write)

    async def _returned(self, found: Mapping[str, Collection[str]]) -> dict[str, str]:
        """Return the keys of erased recordings, by id."""
        columns = recordings.c
        ids = sorted({each for key in found for each in found[key]})
        statement = select(columns.id, columns.object_key, columns.status).where(
            columns.id.in_(bindparam("ids", expanding=True))
        )

        def read(connection: Connection) -> list[Row[Any, Any, Any]]:
            some = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
            return [row for each in some for row in connection.execute(statement, {"ids": each})]

        rows = await self._database.read(read)
        erased = {row.id for row in rows if row.status in _ERASED}
        kept = {row.object_key for row in rows if row.status not in _ERASED}
        return {each: key for key in found if key not in kept for each in found[key] if each in erased}


def _erase_beside(connection: Connection, recording_id: str, now: datetime) -> set[str]:
    """Delete what other tables have of the recording; return the apps that have something else to be told now."""
    waits = uploads.c.recording_id == recording_id
    connection.execute(delete(uploads).where(waits, uploads.c.tried_json == "[]"))  # rule 5
    connection.execute(update(uploads).where(waits).values(due_us=0))
    erase_transcript(connection, recording_id)
    connection.execute(delete(idempotency).where(idempotency.c.recording_id == recording_id))
    commands = delete(operations).where(operations.c.recording_id == recording_id).returning(operations.c.id)
    facts = [command_done_id(each) for each in connection.execute(commands).scalars()]
    columns = outbox.c
    untold = delete(outbox).where(or_(columns.recording_id == recording_id, columns.id.in_(facts)))
    gone = connection.execute(untold.returning(columns.app_id, columns.line, columns.due_us)).all()
    # One that had the turn of its line gives it to the next.
    turns = {(row.app_id, row.line) for row in gone if row.due_us is not None}
    for app_id, line in turns:
        give_turn(connection, app_id, line, now)
    return {app_id for app_id, _ in turns}
