"""What an erasure takes out of the catalog, and what stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from tests.support.postgres import BOTH
from tests.support.recordings import a_recording
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.erasures import Erasing
from wavstream.catalog.tables import idempotency, operations, outbox, recordings
from wavstream.model.app import App, WebhookTarget
from wavstream.model.fact import command_done, recording_fact
from wavstream.model.filters import RecordingFilters
from wavstream.model.operation import Operation
from wavstream.model.recording import LegalHold, Recording, Status

DATABASES = BOTH

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def with_everything(catalog: Catalog, recording: Recording) -> Operation:
    """Put a recording into every table that can have something of one."""
    await catalog.apps.add(
        App(recording.app_id, created_at=NOW, webhook=WebhookTarget("https://example.com/hook")),
        key_hash="h",
        key_lookup="l",
    )
    operation = Operation(
        id="e" * 32,
        app_id=recording.app_id,
        session_id=recording.session_id,
        command="record/start",
        request_id="jane",
        recording_id=recording.id,
        at=NOW,
    )
    done = command_done(
        app_id=recording.app_id,
        session_id=recording.session_id,
        operation_id=operation.id,
        command="record/start",
        request_id="jane",
        error=None,
        at=NOW,
    )
    await catalog.operations.add(operation, done, recording=replace(recording, status=Status.ONGOING))
    await catalog.recordings.save(recording, [recording_fact(recording, url="https://rec.example/f", at=NOW)])
    await catalog.idempotency.remember(
        app_id=recording.app_id, key="jane", request_digest="d", recording_id=recording.id, now=NOW
    )
    return operation


async def rows(catalog: Catalog, table: Table) -> list[Any]:
    return await catalog.database.read(lambda connection: list(connection.execute(select(table))))


async def test_everything_that_names_the_recording_goes_and_its_row_says_who_wanted_it(catalog: Catalog) -> None:
    recording = a_recording(status=Status.AVAILABLE)
    await with_everything(catalog, recording)
    assert [len(await rows(catalog, table)) for table in (outbox, operations, idempotency)] == [2, 1, 1]

    erased = await catalog.erasures.begin([recording], Status.DELETED, by="api key of shop", now=NOW)

    assert erased == {recording.id}
    assert [len(await rows(catalog, table)) for table in (outbox, operations, idempotency)] == [0, 0, 0]
    (row,) = await rows(catalog, recordings)
    assert (row.id, row.status, row.erased_by) == (recording.id, "deleted", "api key of shop")
    assert await catalog.erasures.unfinished(10) == [Erasing(recording.id, recording.object_key)]
    await catalog.erasures.finish([recording.id])
    assert await catalog.erasures.unfinished(10) == []


async def test_the_key_of_a_file_which_may_tell_of_the_call_is_kept_until_the_file_is_gone(catalog: Catalog) -> None:
    recording = replace(a_recording("a" * 32, status=Status.AVAILABLE), object_key=f"plus4930123456/{'a' * 32}.wav")
    await catalog.recordings.add(recording)
    await catalog.erasures.begin([recording], Status.DELETED, by="x", now=NOW)
    assert await catalog.erasures.left_of(recording.id) == Erasing(recording.id, recording.object_key)

    await catalog.erasures.finish([recording.id])

    assert await catalog.erasures.left_of(recording.id) is None
    assert (await the(catalog, recording)).object_key == f"{recording.id}.wav"


async def test_a_file_that_comes_back_is_known_by_the_id_in_its_key_wherever_it_lies(catalog: Catalog) -> None:
    recording = a_recording("a" * 32, status=Status.AVAILABLE)
    await catalog.recordings.add(recording)
    await catalog.erasures.begin([recording], Status.DELETED, by="x", now=NOW)
    found = {f"plus4930123456/{recording.id}.wav": [recording.id], "b.wav": ["b" * 32], "c.wav": []}
    assert await catalog.erasures.again(found) == 0  # it is being removed anyhow
    await catalog.erasures.finish([recording.id])

    assert await catalog.erasures.again(found) == 1

    assert await catalog.erasures.unfinished(10) == [Erasing(recording.id, f"plus4930123456/{recording.id}.wav")]
    await catalog.erasures.finish([recording.id])
    assert (await the(catalog, recording)).object_key == f"{recording.id}.wav"


@pytest.mark.parametrize("status", [Status.ONGOING, Status.AVAILABLE])
async def test_a_recording_whose_session_is_called_as_one_that_was_erased_keeps_its_file(
    catalog: Catalog, status: Status
) -> None:
    erased = a_recording("a" * 32, status=Status.AVAILABLE)
    kept = replace(a_recording("b" * 32, status=status), object_key=f"{erased.id}/{'b' * 32}.wav")
    for each in (erased, kept):
        await catalog.recordings.add(each)
    await catalog.erasures.begin([erased], Status.DELETED, by="x", now=NOW)
    await catalog.erasures.finish([erased.id])

    assert await catalog.erasures.again({kept.object_key: [erased.id, kept.id]}) == 0


async def test_as_many_ids_as_there_are_in_the_names_of_files_are_asked_for(catalog: Catalog) -> None:
    recording = a_recording("f" * 32, status=Status.AVAILABLE)
    await catalog.recordings.add(recording)
    await catalog.erasures.begin([recording], Status.DELETED, by="x", now=NOW)
    await catalog.erasures.finish([recording.id])
    many = [f"{number:032x}" for number in range(40_000)]

    assert await catalog.erasures.again({f"{recording.id}.wav": [*many, recording.id]}) == 1


async def test_what_waits_behind_it_has_its_turn(catalog: Catalog) -> None:
    first, second = (a_recording(each * 32, status=Status.AVAILABLE) for each in "ab")
    await with_everything(catalog, first)
    await catalog.recordings.save(second, [recording_fact(second, url="https://rec.example/f", at=NOW)])
    woken: list[str] = []
    catalog.outbox.on_announced(woken.append)

    await catalog.erasures.begin([first], Status.DELETED, by="x", now=NOW)

    due = await catalog.outbox.due(first.app_id, NOW + timedelta(seconds=1), 10)
    assert [each.fact.recording_id for each in due.announcements] == [second.id]
    assert [each.sequence for each in due.announcements] == [3]  # never given twice
    assert woken == [first.app_id]


async def test_one_that_was_erased_is_found_by_the_session_that_it_was_of(catalog: Catalog) -> None:
    recording = a_recording(status=Status.AVAILABLE)
    await catalog.recordings.add(recording)
    await catalog.erasures.begin([recording], Status.EXPIRED, by="retention", now=NOW)
    await catalog.erasures.begin([await the(catalog, recording)], Status.DELETED, by="x", now=NOW)
    filters = RecordingFilters(session_id=recording.session_id, statuses=frozenset(Status))

    page = await catalog.recordings.list(recording.app_id, filters, limit=10)

    (found,) = page.data
    assert (found.id, found.status) == (recording.id, Status.DELETED)
    assert found.session_id != recording.session_id


async def the(catalog: Catalog, recording: Recording) -> Recording:
    found = await catalog.recordings.get(recording.id)
    assert found is not None
    return found


@pytest.mark.parametrize("status", [Status.ONGOING, Status.COMPLETED])
async def test_what_has_not_ended_or_is_held_is_not_erased(catalog: Catalog, status: Status) -> None:
    unfinished = a_recording("a" * 32, status=status)
    held = a_recording("b" * 32, status=Status.AVAILABLE)
    await catalog.recordings.add(unfinished)
    await catalog.recordings.add(held)
    await catalog.holds.put(held.id, held.app_id, LegalHold(by="legal", reason="case", since=NOW - timedelta(days=99)))
    assert await catalog.erasures.begin([unfinished, held], Status.DELETED, by="x", now=NOW) == set()


async def test_nobody_who_writes_late_brings_back_what_was_erased(catalog: Catalog) -> None:
    recording = a_recording(status=Status.AVAILABLE)
    await catalog.recordings.add(recording)
    await catalog.erasures.begin([recording], Status.DELETED, by="x", now=NOW)
    for status in (Status.AVAILABLE, Status.FAILED, Status.EXPIRED):
        assert not await catalog.recordings.save(replace(recording, status=status))
