"""What is still to be uploaded, as rows: written with what says ``available``, gone with what says where.

1. A file that is to be uploaded is queued in the transaction in which its recording becomes ``available``
   (``queue``, by ``Recordings``), and is due at once. Without a store nothing is queued.
2. Before a store is sent anything, the row says to which (``note_try``): whatever ends the process, it is known where
   something may have been left.
3. ``finish`` writes where the file lies, removes the row and announces it, in one transaction. Where another store may
   have something too, as one whose answer was lost, the row stays until that is removed. A recording that was erased
   meanwhile is not found there: then the row stays, and who uploads takes back what it has put.
4. The oldest goes first. One that fails waits, and holds up none of the others.
5. Where a program is to be run for what was uploaded, ``finish`` writes that too: it is run until it has succeeded, or
   was tried as often as it is (``catalog/stored_runs.py``), whatever ends the server in between.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, TextClause, select, text, update

from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.outbox import Outbox
from wavstream.catalog.recording_rows import recording_of
from wavstream.catalog.tables import json_text, recordings, uploads
from wavstream.model.fact import Fact
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.model.times import unix_us, utc


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that waits, or an object that may have been left."""

    recording_id: str
    app_id: str
    object_key: str
    since: datetime
    due: datetime
    attempts: int
    error: str | None
    tried: tuple[str, ...]
    """URLs of the stores in which a try may have left something."""


@dataclass(frozen=True, slots=True)
class UploadBacklog:
    """What waits, in all."""

    count: int = 0
    since: datetime | None = None
    """Of the oldest."""
    due: datetime | None = None
    """When the next is to be tried."""
    error: str | None = None
    """Of the oldest that has failed."""


_QUEUE = Prepared("""
    INSERT INTO uploads (recording_id, app_id, object_key, since_us, due_us)
    SELECT id, app_id, object_key, :since, 0 FROM recordings
    WHERE id = :recording AND status = 'available' AND stored_json IS NULL
    ON CONFLICT (recording_id) DO NOTHING
""")
# The plus keeps the index of due_us out of it: in the order of the other one it ends with the first few.
_DUE = "SELECT * FROM uploads WHERE +due_us <= :now{own} ORDER BY since_us, recording_id LIMIT :limit"
_NEXT_DUE = "SELECT min(due_us) FROM uploads WHERE due_us > :now{own}"
_BACKLOG = """
    SELECT count(*) AS waiting, min(since_us) AS since_us, min(due_us) AS due_us,
        (SELECT error FROM uploads WHERE attempts > 0{own} ORDER BY since_us LIMIT 1) AS error
    FROM uploads WHERE 1 = 1{own}
"""
_OWN = """ AND NOT EXISTS (
    SELECT 1 FROM recordings WHERE recordings.id = uploads.recording_id AND recordings.node <> :node
)"""
"""The files of others lie at others (``nodes``)."""
# Put again where it is gone: the recording was erased before anything was tried.
_TRY = Prepared("""
    INSERT INTO uploads (recording_id, app_id, object_key, since_us, due_us, tried_json)
    VALUES (:recording, :app, :key, :since, 0, :tried)
    ON CONFLICT (recording_id) DO UPDATE SET tried_json = excluded.tried_json
""")
_FAIL = Prepared("""
    UPDATE uploads SET attempts = attempts + 1, error = :error, due_us = :due WHERE recording_id = :recording
""")
_STORED = Prepared("""
    UPDATE recordings SET stored_json = :stored
    WHERE id = :recording AND status = 'available' AND stored_json IS NULL
        AND coalesce(node, '') = coalesce(:node, node, '')
""")
_FORGET = Prepared("DELETE FROM uploads WHERE recording_id = :recording")
_HASTEN = Prepared("UPDATE uploads SET due_us = 0 WHERE recording_id = :recording AND due_us > 0")
_HASTEN_ALL = text("UPDATE uploads SET due_us = 0 WHERE due_us > 0 AND attempts > 0")
_TRIED = Prepared("SELECT tried_json FROM uploads WHERE recording_id = :recording")
_LEFT = Prepared("""
    UPDATE uploads SET tried_json = :tried, due_us = 0, attempts = 0, error = NULL WHERE recording_id = :recording
""")
_RUN = Prepared("""
    INSERT INTO stored_runs (recording_id, due_us) VALUES (:recording, 0) ON CONFLICT (recording_id) DO NOTHING
""")
_NAME = text("INSERT INTO installation (id, name) VALUES (1, :name) ON CONFLICT (id) DO NOTHING")
_NAMED = text("SELECT name FROM installation WHERE id = 1")


def queue(connection: Connection, recording: Recording) -> None:
    """Queue the file of a recording whose row was just written, unless it is queued or uploaded (rule 1)."""
    if recording.status is Status.AVAILABLE:
        # By the server's time, where that is known.
        since = recording.kept_since or recording.changed_at
        _QUEUE.run(connection, {"recording": recording.id, "since": unix_us(since)})


class Uploads:
    """The queue; every method raises DependencyError when the database fails."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        *,
        size_of: Callable[[Connection, str], Counter[str]] = lambda _connection, _recording_id: Counter(),
        give_back: Callable[[Mapping[str, int]], None] = lambda _freed: None,
    ) -> None:
        """``size_of`` tells what a recording has on this machine, ``give_back`` takes what it has there no more."""
        self._database = database
        self._outbox = outbox
        self._own: dict[str, object] = {}
        self._due, self._next_due, self._backlog = _asked("")
        self._size_of = size_of
        self._give_back = give_back

    def are_of(self, node: str) -> None:
        """Look from now on after the files of this node of several alone."""
        self._own = {"node": node}
        self._due, self._next_due, self._backlog = _asked(_OWN)

    async def installation(self) -> str:
        """Return what the stores know this catalog by, made up when it is asked for first."""

        def write(connection: Connection) -> str:
            connection.execute(_NAME, {"name": uuid.uuid4().hex})
            return str(connection.execute(_NAMED).scalar_one())

        return await self._database.write(write)

    async def due(self, now: datetime, limit: int) -> list[Upload]:
        """Return what is to be tried now, the oldest first (rule 4)."""
        asked = {"now": unix_us(now), "limit": limit} | self._own

        def read(connection: Connection) -> list[Upload]:
            return [_upload(row) for row in connection.execute(self._due, asked).mappings()]

        return await self._database.read(read)

    async def next_due(self, now: datetime) -> datetime | None:
        """Return when more is due; None: nothing waits for a moment."""
        asked = {"now": unix_us(now)} | self._own
        return _utc(
            await self._database.read(lambda connection: connection.execute(self._next_due, asked).scalar_one())
        )

    async def tried(self) -> set[str]:
        """Return the recordings of which a store may have something that no row says yet."""
        statement = select(uploads.c.recording_id).where(uploads.c.tried_json != "[]")
        return await self._database.read(lambda connection: {*connection.execute(statement).scalars()})

    async def stored_among(self, recording_ids: Collection[str]) -> list[Recording]:
        """Return those of these recordings whose file was uploaded."""
        columns = recordings.c
        statement = select(recordings).where(columns.id.in_(recording_ids), columns.stored_json.is_not(None))
        return await self._database.read(
            lambda connection: [recording_of(row) for row in connection.execute(statement).mappings()]
        )

    async def put_again(self, recording: Recording) -> bool:
        """Queue an uploaded file that the store has lost, and that is here; return False if the row has changed."""
        columns, was = recordings.c, recording.stored
        statement = select(recordings).where(columns.id == recording.id).with_for_update()

        def write(connection: Connection) -> bool:
            row = connection.execute(statement).mappings().one_or_none()
            now = None if row is None else recording_of(row)
            if now is None or now.status is not Status.AVAILABLE or now.stored != was:
                return False
            connection.execute(update(recordings).where(columns.id == recording.id).values(stored_json=None))
            queue(connection, now)
            return True

        if not await self._database.write(write):
            return False
        if recording.receipt is not None:  # it counts as one of this machine again
            self._give_back({recording.app_id: -recording.receipt.size_bytes})
        return True

    async def backlog(self) -> UploadBacklog:
        """Return what waits."""

        def read(connection: Connection) -> UploadBacklog:
            row = connection.execute(self._backlog, self._own).mappings().one()
            return UploadBacklog(row["waiting"], _utc(row["since_us"]), _utc(row["due_us"]), row["error"])

        return await self._database.read(read)

    async def note_try(self, upload: Upload, url: str) -> None:
        """Note that from now on something of it may be in this store (rule 2)."""
        if url not in upload.tried:
            values = {
                "recording": upload.recording_id,
                "app": upload.app_id,
                "key": upload.object_key,
                "since": unix_us(upload.since),
                "tried": json_text([*upload.tried, url]),
            }
            await self._database.write(lambda connection: _TRY.run(connection, values))

    async def fail(self, recording_id: str, error: str, *, next_at: datetime) -> None:
        """Note that a try has failed, and when the next one is."""
        values = {"recording": recording_id, "error": error, "due": unix_us(next_at)}
        await self._database.write(lambda connection: _FAIL.run(connection, values))

    async def hasten(self, recording_id: str) -> None:
        """Let the next try be at once."""
        await self._database.write(lambda connection: _HASTEN.run(connection, {"recording": recording_id}))

    async def hasten_all(self) -> None:
        """Let the next try of all be at once: a store that was away is back."""
        await self._database.write(lambda connection: connection.execute(_HASTEN_ALL))

    async def finish(
        self, recording_id: str, stored: StoredObject, facts: Sequence[Fact] = (), *, runs_program: bool = False
    ) -> bool:
        """Write where the file lies, and announce it; return False if it is not available, or another's, or was stored.

        ``runs_program``: one is to be run for it (rule 5).
        """
        values = {"recording": recording_id, "stored": json_text(stored), "node": self._own.get("node")}

        def write(connection: Connection) -> tuple[bool, set[str], Counter[str]]:
            freed = self._size_of(connection, recording_id)
            if _STORED.run(connection, values) != 1:
                return False, set(), Counter()
            tried = _TRIED.row(connection, {"recording": recording_id})
            others = [each for each in _urls(tried["tried_json"] if tried else "[]") if each != stored.url]
            if others:
                _LEFT.run(connection, {"recording": recording_id, "tried": json_text(others)})
            else:
                _FORGET.run(connection, {"recording": recording_id})
            if runs_program:
                _RUN.run(connection, {"recording": recording_id})
            return True, self._outbox.add(connection, facts), freed

        is_stored, told, freed = await self._database.write(write)
        self._give_back(freed)
        self._outbox.tell_dispatcher(told)
        return is_stored

    async def forget(self, recording_id: str) -> None:
        """Note that nothing of it is left in any store but what its row says."""
        await self._database.write(lambda connection: _FORGET.run(connection, {"recording": recording_id}))


def _asked(own: str) -> tuple[TextClause, ...]:
    return tuple(text(asked.format(own=own)) for asked in (_DUE, _NEXT_DUE, _BACKLOG))


_urls: Any = msgspec.json.Decoder(tuple[str, ...]).decode


def _utc(moment_us: int | None) -> datetime | None:
    return None if moment_us is None else utc(moment_us)


def _upload(row: Any) -> Upload:
    return Upload(
        recording_id=row["recording_id"],
        app_id=row["app_id"],
        object_key=row["object_key"],
        since=utc(row["since_us"]),
        due=utc(row["due_us"]),
        attempts=row["attempts"],
        error=row["error"],
        tried=_urls(row["tried_json"]),
    )
