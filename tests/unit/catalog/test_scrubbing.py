"""What was deleted is in no byte of the catalog's files, and taking it out holds nobody up."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from structlog.testing import capture_logs

from tests.support.earlier import unpack
from tests.support.faulty_database import FaultyDatabase
from tests.support.recordings import USUAL, a_recording
from tests.support.traces import files_with
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.schema import upgrade
from wavstream.model.recording import Recording, Status

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WORD = "case-of-jane"
NOTHING = np.empty(0, np.int16)


def with_word(recording_id: str) -> Recording:
    return a_recording(recording_id, replace(USUAL, metadata={"about": WORD}), status=Status.AVAILABLE)


async def test_of_many_rows_that_are_erased_nothing_is_left_between_those_that_stay(
    catalog: Catalog, database: FaultyDatabase, tmp_path: Path
) -> None:
    # Of many sizes, so that rows are moved between pages, and by turns with others that stay.
    doomed = [with_word(f"doomed-{number}") for number in range(150)]
    for number, recording in enumerate(doomed):
        stays = replace(USUAL, metadata={"about": "x" * (number * 37 % 900)})
        await catalog.recordings.add(a_recording(f"stays-{number}", stays, status=Status.AVAILABLE))
        await catalog.recordings.add(recording)
    await database.scrub()
    assert files_with(tmp_path, NOTHING, [WORD]) == ["catalog.db"]

    await catalog.erasures.begin(doomed, Status.DELETED, by="x", now=NOW)
    assert files_with(tmp_path, NOTHING, [WORD]) != []
    await database.scrub()

    assert files_with(tmp_path, NOTHING, [WORD]) == []


async def test_a_reader_holds_up_the_emptying_of_the_log_and_neither_a_writer_nor_an_erasure(
    catalog: Catalog, database: FaultyDatabase, tmp_path: Path
) -> None:
    await catalog.recordings.add(doomed := with_word("doomed"))
    reader = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM recordings").fetchall()
    with capture_logs() as logs:
        await catalog.erasures.begin([doomed], Status.DELETED, by="x", now=NOW)
        scrubbing = asyncio.create_task(database.scrub())
        for number in range(100):  # while it is tried
            await catalog.recordings.add(a_recording(f"later-{number}"))
            if logs:
                break
            await asyncio.sleep(0.05)
        assert not scrubbing.done()
        reader.close()
        await scrubbing
    assert [entry["event"] for entry in logs] == ["catalog_log_not_emptied"]
    assert files_with(tmp_path, NOTHING, [WORD]) == []


async def test_erasures_at_the_same_time_empty_the_log_together(catalog: Catalog, database: FaultyDatabase) -> None:
    await catalog.recordings.add(with_word("doomed"))
    await asyncio.gather(*(database.scrub() for _ in range(20)))


def test_an_upgrade_takes_out_what_the_version_before_had_deleted_and_what_it_had_kept_of_it(tmp_path: Path) -> None:
    path = unpack(tmp_path) / "catalog.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("UPDATE recordings SET call_from = ? WHERE status = 'deleted'", (WORD,))
    connection.execute("CREATE TABLE gone (word TEXT)")
    connection.executemany("INSERT INTO gone VALUES (?)", [(f"deleted-{WORD}",)] * 500)
    connection.execute("DROP TABLE gone")
    connection.close()
    assert files_with(path.parent, NOTHING, [WORD]) == ["catalog.db"]

    upgrade(path)

    assert files_with(path.parent, NOTHING, [WORD]) == []
