"""Commands that were taken on, as rows, on an in-memory database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, create_engine

from wavstream.catalog import apps, operations
from wavstream.catalog.tables import metadata
from wavstream.model.operation import Command, Operation

START = datetime(2026, 8, 21, 12, 0, 0, 1, tzinfo=UTC)
OPERATION = Operation(
    id="o1", app_id="shop", session_id="call-77", command=Command.RECORD_START, command_uid="rec-1",
    recording_id="r1", at=START,
)  # fmt: skip


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as open_connection:
        yield open_connection
    engine.dispose()


def found(connection: Connection, *, since: datetime = START, session_id: str = "call-77") -> Operation | None:
    return operations.get(connection, app_id="shop", session_id=session_id, command_uid="rec-1", since=since)


def test_an_operation_is_found_by_its_uid_unless_it_is_older_than_asked_for(connection: Connection) -> None:
    operations.add(connection, OPERATION)
    assert found(connection) == OPERATION
    assert found(connection, since=START + timedelta(microseconds=1)) is None
    assert found(connection, session_id="another") is None


def test_a_uid_that_nobody_asks_for_any_more_can_be_used_again(connection: Connection) -> None:
    operations.add(connection, OPERATION)
    later = replace(OPERATION, id="o2", command=Command.RECORD_STOP, at=START + timedelta(days=2))
    operations.add(connection, later)
    assert found(connection) == later


def test_old_operations_and_those_of_a_removed_app_are_forgotten(connection: Connection) -> None:
    operations.add(connection, OPERATION)
    assert operations.forget_before(connection, START) == 0
    assert operations.forget_before(connection, START + timedelta(microseconds=1)) == 1
    assert found(connection) is None
    operations.add(connection, OPERATION)
    apps.remove(connection, "shop")
    assert found(connection) is None
