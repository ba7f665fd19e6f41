"""Commands that were taken on, as rows: what makes a command_uid an idempotency key.

Every function takes a connection inside a transaction and can be run again after a rollback.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from wavstream.catalog.prepared import Prepared
from wavstream.catalog.tables import operations, recordings
from wavstream.model.operation import Command, Operation
from wavstream.model.recording import Status
from wavstream.model.times import unix_us, utc

# Statements that are made once: to build one takes several times as long as to run it.
_KEY = ("app_id", "session_id", "command_uid")
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


def add(connection: Connection, operation: Operation) -> None:
    """Write the row, over an older one of the same command_uid that nobody asks for any more."""
    values = {
        "id": operation.id,
        "app_id": operation.app_id,
        "session_id": operation.session_id,
        "command": operation.command.value,
        "command_uid": operation.command_uid,
        "recording_id": operation.recording_id,
        "created_us": unix_us(operation.at),
    }
    _ADD.run(connection, values)


def get(connection: Connection, *, app_id: str, session_id: str, command_uid: str, since: datetime) -> Operation | None:
    """The operation of this command_uid, if it was taken on at ``since`` or later."""
    asked = {"app_id": app_id, "session_id": session_id, "command_uid": command_uid, "since": unix_us(since)}
    row = connection.execute(_GET, asked).mappings().one_or_none()
    return None if row is None else _operation(row)


def undone_stops(connection: Connection) -> list[Operation]:
    """The stops of recordings that, by their rows, still run."""
    statement = (
        select(operations)
        .join(recordings, recordings.c.id == operations.c.recording_id)
        .where(
            recordings.c.status.in_([status.value for status in Status if status.is_running]),
            operations.c.command == Command.RECORD_STOP.value,
        )
    )
    return [_operation(row) for row in connection.execute(statement).mappings()]


def forget_before(connection: Connection, before: datetime) -> int:
    """Delete the operations that were taken on before that time; how many."""
    return connection.execute(delete(operations).where(operations.c.created_us < unix_us(before))).rowcount


def forget_app(connection: Connection, app_id: str) -> None:
    """Delete the operations of an app that is removed."""
    connection.execute(delete(operations).where(operations.c.app_id == app_id))


def _operation(row: RowMapping) -> Operation:
    return Operation(
        id=row["id"],
        app_id=row["app_id"],
        session_id=row["session_id"],
        command=Command(row["command"]),
        command_uid=row["command_uid"],
        recording_id=row["recording_id"],
        at=utc(row["created_us"]),
    )
