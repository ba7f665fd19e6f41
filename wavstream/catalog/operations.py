"""Commands that were taken on, as rows: what makes a request id an idempotency key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert  # which SQLite speaks too

from wavstream.catalog.database import Database, Prepared
from wavstream.catalog.outbox import Outbox
from wavstream.catalog.recordings import Recordings, insert_recording
from wavstream.catalog.tables import operations, recordings
from wavstream.model.fact import Fact
from wavstream.model.operation import Operation
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us, utc

# Statements that are made once: to build one takes several times as long as to run it.
_KEY = ("app_id", "session_id", "request_id")
_insert = insert(operations)
_ADD = Prepared(
    _insert.on_conflict_do_update(
        index_elements=[*_KEY],
        set_={name: value for name, value in dict(_insert.excluded).items() if name not in _KEY},
    )
)
_GET = select(operations).where(
    *(operations.c[name] == bindparam(name) for name in _KEY), operations.c.created_us >= bindparam("since")
)


class Operations:
    """The rows of operations; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database, outbox: Outbox, recordings: Recordings) -> None:
        self._database = database
        self._outbox = outbox
        self._recordings = recordings

    async def add(self, operation: Operation, *facts: Fact, recording: Recording | None = None) -> None:
        """Write a command that is taken on, the recording that it starts if it does, and what is to be told of it.

        The row replaces an older one of the same request_id that nobody asks for any more.
        """

        row = None if recording is None else self._recordings.row_of(recording)

        def write(connection: Connection) -> set[str]:
            _ADD.run(connection, _row(operation))
            if row is not None:
                insert_recording(connection, row)
            return self._outbox.add(connection, facts)

        self._outbox.tell_dispatcher(await self._database.write(write))

    async def get(self, *, app_id: str, session_id: str, request_id: str, since: datetime) -> Operation | None:
        """Return the operation of this request_id, if it was taken on at ``since`` or later."""
        asked = {"app_id": app_id, "session_id": session_id, "request_id": request_id, "since": unix_us(since)}

        def read(connection: Connection) -> Operation | None:
            row = connection.execute(_GET, asked).mappings().one_or_none()
            return None if row is None else _operation(row)

        return await self._database.read(read)

    async def undone(self, command: str) -> list[Operation]:
        """Return the commands of this name whose recordings, by their rows, still run."""
        statement = (
            select(operations)
            .join(recordings, recordings.c.id == operations.c.recording_id)
            .where(
                recordings.c.status.in_([status.value for status in Status if status.is_running]),
                operations.c.command == command,
            )
        )

        def read(connection: Connection) -> list[Operation]:
            return [_operation(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(read)

    async def forget_before(self, before: datetime) -> int:
        """Delete the operations that were taken on before that time; return how many."""
        deletion = delete(operations).where(operations.c.created_us < unix_us(before))
        return await self._database.write(lambda connection: connection.execute(deletion).rowcount)


def _row(operation: Operation) -> dict[str, object]:
    return {
        "id": operation.id,
        "app_id": operation.app_id,
        "session_id": operation.session_id,
        "command": operation.command,
        "request_id": operation.request_id,
        "recording_id": operation.recording_id,
        "created_us": unix_us(operation.at),
    }


def _operation(row: RowMapping) -> Operation:
    return Operation(
        id=row["id"],
        app_id=row["app_id"],
        session_id=row["session_id"],
        command=row["command"],
        request_id=row["request_id"],
        recording_id=row["recording_id"],
        at=utc(row["created_us"]),
    )
