"""Commands that were taken on, as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.postgres import BOTH
from wavstream.api.gateway.commands import Command
from wavstream.catalog.catalog import Catalog
from wavstream.model.fact import command_done
from wavstream.model.operation import Operation

DATABASES = BOTH

START = datetime(2026, 8, 21, 12, 0, 0, 1, tzinfo=UTC)
OPERATION = Operation(
    id="o1", app_id="shop", session_id="call-77", command=Command.RECORD_START, request_id="rec-1",
    recording_id="r1", at=START,
)  # fmt: skip


FACT = command_done(
    app_id="shop", session_id="call-77", operation_id="o1", command="record/start", request_id="rec-1", error=None,
    at=START,
)  # fmt: skip


async def found(catalog: Catalog, *, since: datetime = START, session_id: str = "call-77") -> Operation | None:
    return await catalog.operations.get(app_id="shop", session_id=session_id, request_id="rec-1", since=since)


async def test_an_operation_is_found_by_its_uid_unless_it_is_older_than_asked_for(catalog: Catalog) -> None:
    await catalog.operations.add(OPERATION, FACT)
    assert await found(catalog) == OPERATION
    assert await found(catalog, since=START + timedelta(microseconds=1)) is None
    assert await found(catalog, session_id="another") is None


async def test_a_uid_that_nobody_asks_for_any_more_can_be_used_again(catalog: Catalog) -> None:
    await catalog.operations.add(OPERATION, FACT)
    later = replace(OPERATION, id="o2", command=Command.RECORD_STOP, at=START + timedelta(days=2))
    await catalog.operations.add(later, FACT)
    assert await found(catalog) == later


async def test_old_operations_and_those_of_a_removed_app_are_forgotten(catalog: Catalog) -> None:
    await catalog.operations.add(OPERATION, FACT)
    assert await catalog.operations.forget_before(START) == 0
    assert await catalog.operations.forget_before(START + timedelta(microseconds=1)) == 1
    assert await found(catalog) is None
    await catalog.operations.add(OPERATION, FACT)
    await catalog.apps.remove("shop")
    assert await found(catalog) is None
