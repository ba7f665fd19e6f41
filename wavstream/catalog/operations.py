"""Commands that were taken on, as rows: what makes a command_uid an idempotency key.

Every function takes a connection inside a transaction and can be run again after a rollback.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, select
from sqlalchemy.dialects.sqlite import insert

from wavstream.catalog.tables import operations, recordings
from wavstream.model.operation import Command, Operation
from wavstream.model.recording import Status
from wavstream.model.times import unix_us, utc


def add(connection: Connection, operation: Operation) -> None:
    """Write the row, over an older one of the same command_uid that nobody asks for any more."""
    values = {
        "id": operation.id,
        "command": operation.command.value,
        "recording_id": operation.recording_id,
        "opened": operation.opened,
        "created_us": unix_us(operation.at),
    }
    key = {
        "app_id": operation.app_id,
        "session_id": operation.session_id,
        "command_uid": operation.command_uid,
    }
    connection.execute(
        insert(operations).values(**key, **values).on_conflict_do_update(index_elements=[*key], set_=values)
    )


def get(connection: Connection, *, app_id: str, session_id: str, command_uid: str, since: datetime) -> Operation | None:
    """The operation of this command_uid, if it was taken on at ``since`` or later."""
    statement = select(operations).where(
        operations.c.app_id == app_id,
        operations.c.session_id == session_id,
        operations.c.command_uid == command_uid,
        operations.c.created_us >= unix_us(since),
    )
    row = connection.execute(statement).mappings().one_or_none()
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
        opened=row["opened"],
        at=utc(row["created_us"]),
    )
