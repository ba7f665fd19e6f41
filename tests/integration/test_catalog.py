"""The catalog on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from tests.support.waiting import begun
from wavstream.catalog.app_keys import MasterRecord
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.schema import migrations, upgrade
from wavstream.catalog.tables import metadata
from wavstream.errors import DependencyError, OperatorError
from wavstream.model.app import App, WebhookTarget
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status

START = datetime(2026, 8, 21, 12, tzinfo=UTC)


def recording(recording_id: str, status: Status = Status.ONGOING) -> Recording:
    return Recording(
        id=recording_id,
        app_id="default",
        session_id="call-77",
        status=status,
        options=RecordingOptions(),
        object_key=f"default/{recording_id}.wav",
        file_name="call-77.wav",
        created_at=START,
    )


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    opened = await Catalog.open(tmp_path / "catalog.db")
    yield opened
    await opened.database.close()


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """Every commit of a connection that is made from here on."""
    seen: list[str] = []

    def note(driver: Any, _record: object) -> None:
        driver.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)

    event.listen(Engine, "connect", note)
    yield seen
    event.remove(Engine, "connect", note)


async def test_two_hundred_writes_at_once_share_a_few_commits(catalog: Catalog, commits: list[str]) -> None:
    added = await asyncio.gather(*(catalog.recordings.add(recording(f"r{n:03}")) for n in range(100)))
    saved = await asyncio.gather(*(catalog.recordings.save(recording(f"r{n:03}")) for n in range(50, 150)))
    assert added + saved == [True] * 200
    assert 2 <= len(commits) <= 4
    page = await catalog.recordings.list("default", limit=200)
    assert len(page.data) == 150


async def test_a_write_that_fails_fails_for_its_caller_alone(catalog: Catalog, commits: list[str]) -> None:
    shared: dict[str, Any] = {"key_hash": "h", "key_lookup": "the same"}
    apps = [App(id=f"app-{n}", created_at=START) for n in range(3)]
    outcomes = await asyncio.gather(
        catalog.recordings.add(recording("r1")),
        *(catalog.apps.add(app, **shared) for app in apps),
        catalog.recordings.add(recording("r2")),
        return_exceptions=True,
    )
    assert outcomes[:2] == [True, apps[0]]
    assert [type(outcome) for outcome in outcomes[2:4]] == [IntegrityError, IntegrityError]
    assert outcomes[4] is True
    assert len(commits) == 1
    assert await catalog.apps.list() == apps[:1]
    assert {each.id for each in await catalog.recordings.unfinished()} == {"r1", "r2"}


async def test_an_error_in_a_write_reaches_its_caller_and_the_next_write_succeeds(catalog: Catalog) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("DELETE FROM recordings"))
        raise ZeroDivisionError

    await catalog.recordings.add(recording("r1"))
    with pytest.raises(ZeroDivisionError):
        await catalog.database.write(broken)
    assert await catalog.recordings.add(recording("r2"))
    assert await catalog.recordings.get("r1") is not None


async def test_a_write_whose_caller_is_cancelled_is_done_all_the_same(catalog: Catalog) -> None:
    task = await begun(catalog.recordings.add(recording("r1")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await catalog.recordings.add(recording("r2"))
    assert await catalog.recordings.get("r1") is not None


async def test_of_many_uses_of_an_idempotency_key_at_once_one_is_the_first(catalog: Catalog) -> None:
    answers = await asyncio.gather(
        *(
            catalog.idempotency.remember(app_id="a", key="k", request_digest="d", recording_id=f"r{n}", now=START)
            for n in range(20)
        )
    )
    first = [n for n, answer in enumerate(answers) if answer is None]
    assert len(first) == 1
    assert {answer.recording_id for answer in answers if answer is not None} == {f"r{first[0]}"}


async def test_closing_commits_what_was_asked_for_before(tmp_path: Path) -> None:
    catalog = await Catalog.open(tmp_path / "catalog.db")
    writes = [asyncio.create_task(catalog.recordings.add(recording(f"r{n}"))) for n in range(500)]
    await asyncio.sleep(0)
    await catalog.database.close()
    assert all(await asyncio.gather(*writes))
    with pytest.raises(DependencyError, match="closed"):
        await catalog.recordings.add(recording("late"))
    reopened = await Catalog.open(tmp_path / "catalog.db")
    assert len(await reopened.recordings.unfinished()) == 500
    await reopened.database.close()


async def test_rows_and_apps_are_there_when_the_catalog_is_opened_again(tmp_path: Path) -> None:
    shop = App(id="shop", created_at=START, retention_hours=1)
    catalog = await Catalog.open(tmp_path / "catalog.db")
    await catalog.recordings.add(recording("r1"))
    await catalog.recordings.save(replace(recording("r1"), status=Status.PAUSED))
    await catalog.apps.add(shop, key_hash="h", key_lookup="l")
    await catalog.database.close()
    reopened = await Catalog.open(tmp_path / "catalog.db")
    assert await reopened.recordings.get("r1") == recording("r1", Status.PAUSED)
    assert await reopened.apps.find_by_lookup("l") == (shop, "h")
    await reopened.database.close()


async def test_a_write_waits_for_another_process_that_holds_the_lock(catalog: Catalog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(catalog.recordings.add(recording("r1")))
        # A reader is not held up by it, and by then the write is waiting.
        assert await catalog.recordings.get("r1") is None
        assert not write.done()
        await asyncio.to_thread(other.execute, "COMMIT")
        assert await write


async def test_a_failure_of_the_database_is_a_dependency_error_for_all_and_passes(catalog: Catalog) -> None:
    await catalog.database.write(lambda connection: connection.execute(text("ALTER TABLE recordings RENAME TO away")))
    outcomes = await asyncio.gather(
        *(catalog.recordings.add(recording(f"r{n}")) for n in range(3)),
        catalog.recordings.unfinished(),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [DependencyError] * 4
    await catalog.database.write(lambda connection: connection.execute(text("ALTER TABLE away RENAME TO recordings")))
    assert await catalog.recordings.add(recording("r1"))


async def test_ping_answers_while_open(catalog: Catalog) -> None:
    await catalog.database.ping()


async def test_commits_are_flushed_to_the_disk_and_logged_ahead(catalog: Catalog) -> None:
    def pragma(name: str) -> object:
        return lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar_one()

    assert await catalog.database.write(pragma("journal_mode")) == "wal"  # type: ignore[arg-type]
    assert await catalog.database.write(pragma("synchronous")) == 2  # type: ignore[arg-type]


def test_migrations_from_nothing_make_the_tables_as_they_are_declared(tmp_path: Path) -> None:
    upgrade(tmp_path / "catalog.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as database:
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    upgrade(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before


def test_data_of_the_first_revision_is_kept_by_all_later_migrations(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO recordings (id, app_id, session_id, status, options_json, object_key, file_name,"
                " call_from, call_to, call_direction, vendor_ids_json, created_us)"
                " VALUES ('r1', 'default', 's', 'ongoing', '{}', 'k.wav', 'f.wav', '', '', '', '{}', 1)"
            )
        )
    engine.dispose()

    async def read() -> Recording | None:
        catalog = await Catalog.open(tmp_path / "catalog.db")
        found = await catalog.recordings.get("r1")
        await catalog.database.close()
        return found

    found = asyncio.run(read())
    assert found is not None
    assert (found.object_key, found.options) == ("k.wav", RecordingOptions())


def test_a_recording_whose_command_had_a_stream_opened_has_an_opened_stream(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0004")
        for number, opened in enumerate((0, 1)):
            connection.execute(
                text(
                    "INSERT INTO recordings (id, app_id, session_id, status, options_json, object_key, file_name,"
                    " call_from, call_to, call_direction, vendor_ids_json, created_us)"
                    f" VALUES ('r{number}', 'default', 's', 'ongoing', '{{}}', 'k.wav', 'f.wav', '', '', '', '{{}}', 1)"
                )
            )
            connection.execute(
                text(
                    "INSERT INTO operations (app_id, session_id, command_uid, id, command, recording_id, opened,"
                    f" created_us) VALUES ('a', 's', 'u{number}', 'o', 'record/start', 'r{number}', {opened}, 1)"
                )
            )
        command.upgrade(migrations(connection), "0005")
        rows = connection.execute(text("SELECT opened FROM recordings ORDER BY id")).scalars().all()
    engine.dispose()
    assert rows == [0, 1]


def test_what_an_earlier_version_has_erased_loses_the_key_of_its_file_unless_that_is_still_there(
    tmp_path: Path,
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    erased = [
        ("r1", "deleted", "NULL", "r1.wav"),
        ("r2", "expired", "NULL", "r2.mp3"),
        ("r3", "deleted", "7", "r3.wav"),
    ]
    others = [("r4", "available", "NULL", "jane.wav"), ("r5", "deleted", "NULL", "jane.wav")]
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0012")
        for each, status, erasing_us, file_name in erased + others:
            connection.execute(
                text(
                    "INSERT INTO recordings (id, app_id, session_id, status, options_json, object_key, file_name,"
                    " call_from, call_to, call_direction, vendor_ids_json, created_us, erasing_us)"
                    f" VALUES ('{each}', 'default', 's', '{status}', '{{}}', 'jane-doe/{each}.wav', '{file_name}',"
                    f" '', '', '', '{{}}', 1, {erasing_us})"
                )
            )
        command.upgrade(migrations(connection), "0013")
        keys = connection.execute(text("SELECT object_key FROM recordings ORDER BY id")).scalars().all()
    engine.dispose()

    # One whose row has no name of its own (a version that erased less made it) is left as it is.
    assert keys == ["r1.wav", "r2.mp3", "jane-doe/r3.wav", "jane-doe/r4.wav", "jane-doe/r5.wav"]


async def test_the_key_of_each_app_becomes_its_first_and_apps_that_were_removed_stay_so(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.db'}")
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0007")
        connection.execute(text("INSERT INTO apps (id, created_us, key_hash, key_lookup) VALUES ('shop', 1, 'h', 'l')"))
        for number, app_id in enumerate(("shop", "gone", "default")):
            connection.execute(
                text(
                    "INSERT INTO recordings (id, app_id, session_id, status, options_json, object_key, file_name,"
                    " call_from, call_to, call_direction, vendor_ids_json, created_us)"
                    f" VALUES ('r{number}', '{app_id}', 's', 'ongoing', '{{}}', 'k', 'f', '', '', '', '{{}}', 1)"
                )
            )
    engine.dispose()
    catalog = await Catalog.open(tmp_path / "catalog.db")
    rows = await catalog.app_keys.read()
    (key,) = rows.keys
    assert (key.app_id, key.name, key.key_hash, key.key_lookup, key.expires_at) == ("shop", "main", "h", "l", None)
    assert rows.app_ids == {"shop"}
    assert rows.removed == {"gone": 1}
    assert await catalog.app_keys.master() == MasterRecord("sha256")
    again = await catalog.apps.add(App("gone", START), key_hash="h2", key_lookup="l2")
    assert again is not None
    assert (again.id, (await catalog.recordings.list("gone.2", limit=1)).data) == ("gone.2", ())
    await catalog.database.close()


async def test_a_new_catalog_knows_of_no_app_and_no_master_key(catalog: Catalog) -> None:
    rows = await catalog.app_keys.read()
    assert not rows.keys
    assert not rows.app_ids
    assert not rows.removed
    assert await catalog.app_keys.master() is None


async def test_a_catalog_of_a_newer_wavstream_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    with pytest.raises(OperatorError, match="newer wavstream"):
        await Catalog.open(path)


async def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(OperatorError, match=r"catalog\.db cannot be used"):
        await Catalog.open(path)


async def test_a_folder_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"no/catalog\.db cannot be used"):
        await Catalog.open(tmp_path / "no" / "catalog.db")


async def test_two_openings_at_once_of_a_new_file_both_succeed(tmp_path: Path) -> None:
    both = await asyncio.gather(Catalog.open(tmp_path / "c.db"), Catalog.open(tmp_path / "c.db"))
    for each in both:
        await each.database.ping()
        await each.database.close()


async def test_several_processes_write_one_catalog_and_none_of_their_writes_fails(tmp_path: Path) -> None:
    # Of SQLite's locks it makes no difference whether the connections are in one process or in several.
    catalogs = [await Catalog.open(tmp_path / "catalog.db") for _ in range(4)]
    try:

        async def write(worker: int, catalog: Catalog) -> None:
            for turn in range(25):
                rows = [recording(f"{worker}-{turn}-{number}") for number in range(4)]
                await asyncio.gather(*(catalog.recordings.add(row) for row in rows))
                await asyncio.gather(*(catalog.recordings.save(replace(row, status=Status.FAILED)) for row in rows))

        await asyncio.gather(*(write(worker, catalog) for worker, catalog in enumerate(catalogs)))
        for catalog in catalogs:  # each reads what the others have written
            found = [await catalog.recordings.get(f"{worker}-24-3") for worker in range(4)]
            assert [None if row is None else row.status for row in found] == [Status.FAILED] * 4
        assert await catalogs[0].recordings.unfinished() == []
    finally:
        for catalog in catalogs:
            await catalog.database.close()


async def test_an_app_that_another_process_gives_a_webhook_is_told_of_after_a_look(tmp_path: Path) -> None:
    here, there = [await Catalog.open(tmp_path / "catalog.db") for _ in range(2)]
    try:
        changes: list[str] = []
        there.apps.on_change(lambda: changes.append("changed"))
        webhook = WebhookTarget(url="https://shop.example.com/calls")
        await there.apps.add(App("shop", created_at=START, webhook=webhook), key_hash="hash", key_lookup="lookup")
        assert changes == ["changed"]
        assert here.apps.with_webhook == set()
        await here.apps.look_for_webhooks()
        assert here.apps.with_webhook == {"shop"}
    finally:
        for catalog in (here, there):
            await catalog.database.close()
