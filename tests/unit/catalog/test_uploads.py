"""What is to be uploaded, as rows: written with what says available, gone with what says where."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.recordings import START, a_recording
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.clock import ClockJump
from wavstream.model.recording import Receipt, Recording, Status, StoredObject

FIRST, SECOND = "s3://first", "s3://second"
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def with_store(database: FaultyDatabase) -> Catalog:
    return await Catalog.over(database, is_wanted=USUAL, has_store=True)


def finished(name: str = "r1", *, minute: int = 0) -> Recording:
    at = START + minute * MINUTE
    return replace(a_recording(name, status=Status.AVAILABLE), ended_at=at, kept_since=at)


async def due(catalog: Catalog) -> list[str]:
    return [each.recording_id for each in await catalog.uploads.due(START + timedelta(days=1), 99)]


async def test_a_file_is_queued_with_the_row_that_says_available_and_due_at_once(with_store: Catalog) -> None:
    await with_store.recordings.save(a_recording("r1", status=Status.ONGOING))
    assert await due(with_store) == []

    await with_store.recordings.save(finished())

    (upload,) = await with_store.uploads.due(START, 9)
    assert (upload.recording_id, upload.object_key, upload.since) == ("r1", "default/r1.wav", START)


async def test_a_row_that_is_adopted_is_queued_too(with_store: Catalog) -> None:
    await with_store.recordings.add(finished())
    assert await due(with_store) == ["r1"]


async def test_whoever_uploads_is_told_of_a_file_and_of_nothing_else(with_store: Catalog) -> None:
    told: list[int] = []
    with_store.recordings.on_queued(lambda: told.append(1))
    await with_store.recordings.save(a_recording("r1", status=Status.ONGOING))
    assert told == []
    await with_store.recordings.save(finished())
    assert told == [1]


async def test_without_a_store_a_save_asks_and_queues_nothing(catalog: Catalog, database: FaultyDatabase) -> None:
    await catalog.recordings.save(finished())
    assert await due(catalog) == []
    assert not any(each.startswith("Uploads") for each in database.asked[:-1])


async def test_the_oldest_is_due_first_and_one_that_failed_waits(with_store: Catalog) -> None:
    for minute in (3, 1, 2):
        await with_store.recordings.save(finished(f"r{minute}", minute=minute))
    now = START + timedelta(hours=1)
    await with_store.uploads.fail("r1", "away", next_at=now + MINUTE)

    assert [each.recording_id for each in await with_store.uploads.due(now, 2)] == ["r2", "r3"]
    assert await with_store.uploads.next_due(now) == now + MINUTE
    assert [each.recording_id for each in await with_store.uploads.due(now + MINUTE, 2)] == ["r1", "r2"]
    backlog = await with_store.uploads.backlog()
    assert (backlog.count, backlog.since, backlog.error) == (3, START + MINUTE, "away")
    await with_store.uploads.hasten_all()
    assert [each.recording_id for each in await with_store.uploads.due(now, 1)] == ["r1"]


async def test_a_save_that_comes_again_does_not_queue_what_was_uploaded(with_store: Catalog) -> None:
    await with_store.recordings.save(finished())
    assert await with_store.uploads.finish("r1", StoredObject(FIRST, START, '"e"'))

    await with_store.recordings.save(finished())

    assert await due(with_store) == []
    row = await with_store.recordings.get("r1")
    assert row is not None
    assert row.stored == StoredObject(FIRST, START, '"e"')
    assert await with_store.uploads.stored_among(["r1", "r2"]) == [row]


async def test_who_comes_second_does_not_write_over_where_a_file_lies(with_store: Catalog) -> None:
    await with_store.recordings.save(finished())
    assert await with_store.uploads.finish("r1", StoredObject(FIRST, START))
    assert not await with_store.uploads.finish("r1", StoredObject(SECOND, START))
    row = await with_store.recordings.get("r1")
    assert row is not None
    assert row.stored == StoredObject(FIRST, START)


async def test_what_another_store_may_have_of_it_stays_known_until_it_is_removed(with_store: Catalog) -> None:
    await with_store.recordings.save(finished())
    (upload,) = await with_store.uploads.due(START, 9)
    await with_store.uploads.note_try(upload, FIRST)
    (upload,) = await with_store.uploads.due(START, 9)
    await with_store.uploads.note_try(upload, SECOND)
    assert await with_store.uploads.tried() == {"r1"}
    await with_store.uploads.fail("r1", "lost", next_at=START + MINUTE)

    assert await with_store.uploads.finish("r1", StoredObject(SECOND, START))

    (left,) = await with_store.uploads.due(START, 9)
    assert (left.tried, left.attempts, left.error) == ((FIRST,), 0, None)
    await with_store.uploads.forget("r1")
    assert await due(with_store) == []


async def test_an_erased_recording_is_not_finished_and_its_row_stays_until_it_is_taken_back(
    with_store: Catalog,
) -> None:
    await with_store.recordings.save(finished())
    (upload,) = await with_store.uploads.due(START, 9)
    await with_store.uploads.note_try(upload, FIRST)
    await with_store.erasures.begin([finished()], Status.DELETED, by="app", now=START)

    assert not await with_store.uploads.finish("r1", StoredObject(FIRST, START), runs_program=True)

    assert await due(with_store) == ["r1"]
    assert await with_store.stored_runs.count() == 0


async def test_what_is_erased_before_anything_was_sent_waits_for_nothing(with_store: Catalog) -> None:
    await with_store.recordings.save(finished())
    await with_store.erasures.begin([finished()], Status.DELETED, by="app", now=START)

    assert await due(with_store) == []


async def test_an_installation_has_one_name(with_store: Catalog) -> None:
    name = await with_store.uploads.installation()
    assert len(name) == 32
    assert await with_store.uploads.installation() == name


async def test_a_clock_that_was_put_back_does_not_keep_files_waiting(with_store: Catalog) -> None:
    now = START + timedelta(days=3)
    await with_store.recordings.save(finished())
    await with_store.uploads.fail("r1", "away", next_at=now + MINUTE)
    jump = ClockJump(by=-timedelta(days=2), since=START - MINUTE, until=now)

    await ClockCorrections(with_store.database).move(jump, None)

    assert await with_store.uploads.next_due(START) == now + MINUTE - timedelta(days=2)
    assert (await with_store.uploads.backlog()).since == START - timedelta(days=2)


async def test_what_its_store_has_lost_waits_again_unless_it_was_moved_or_erased_meanwhile(with_store: Catalog) -> None:
    await with_store.recordings.save(replace(finished(), receipt=Receipt(8000, 1, 100, "9f" * 32, 1_000)))
    await with_store.uploads.finish("r1", StoredObject(FIRST, START, '"e"'))
    row = await with_store.recordings.get("r1")
    assert row is not None
    before = await with_store.recordings.stored_bytes()

    assert not await with_store.uploads.put_again(replace(row, stored=StoredObject(SECOND, START)))
    assert await due(with_store) == []
    assert await with_store.uploads.put_again(row)

    assert await due(with_store) == ["r1"]
    now = await with_store.recordings.get("r1")
    assert now is not None
    assert now.stored is None
    assert (await with_store.recordings.stored_bytes() - before).total() == 1_000
