"""The catalog taken from its file to PostgreSQL and back: each row is the same, and a kill leaves nothing half done."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.support.command_line import CommandLine
from tests.support.postgres import lent_catalog
from tests.support.processes import start
from tests.support.waiting import WAIT_S
from tests.unit.cli.test_verify import RECORDING, recorded
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.copying import copy_rows, make_catalog, reading, writing
from wavstream.catalog.postgres_place import PostgresPlace
from wavstream.catalog.tables import app_keys, idempotency, metadata, outbox, uploads
from wavstream.model.call import CallFacts
from wavstream.model.ids import new_id
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.service.data_folder import DataFolder

MANY = 2500
"""More than a batch."""
STRANGE = "ä\u2028\U0001f600'\"\\ %s {x} $1 ? :name \u007f"


@pytest.fixture
def place() -> Iterator[PostgresPlace]:
    with lent_catalog() as lent:
        yield lent


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def wavstream(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def fill(data_dir: Path) -> None:
    """Make a catalog with something in most tables, strange texts, nulls and large numbers."""
    recorded(data_dir)
    rows = [
        replace(RECORDING, id=new_id(), object_key=f"a/{number}.wav", call=CallFacts(STRANGE * (number % 3), "", "in"))
        for number in range(MANY)
    ]

    async def add() -> None:
        catalog = await Catalog.open(DataFolder(data_dir).catalog)
        await asyncio.gather(*(catalog.recordings.add(each) for each in rows))
        await catalog.recordings.add(replace(rows[0], id=new_id()).erased(Status.DELETED, utc(10**15)))
        await catalog.uploads.installation()
        await catalog.database.close()

    asyncio.run(add())
    big = 2**53 + 1
    with writing(data_dir / "catalog.db") as connection:
        connection.execute(
            insert(outbox),
            [
                {
                    "id": new_id(), "app_id": "shop", "session_id": STRANGE, "sequence": big + number, "kind": "x",
                    "at_us": big, "body_json": '{"a":"\\u0001"}', "state": "pending", "attempts": 0, "begun_us": 1,
                    "line": f"{number % 7}\x1f", "api": "v1",
                }
                for number in range(50)
            ],
        )  # fmt: skip
        connection.execute(
            insert(idempotency).values(app_id="a", key="ß", request_digest="d", recording_id="r", created_us=1)
        )
        connection.execute(
            insert(app_keys).values(
                id="k", app_id="shop", name="main", key_lookup="l", key_hash="h", created_us=1, is_weak=True
            )
        )
        connection.execute(
            insert(uploads).values(recording_id="r", app_id="a", object_key="k", since_us=1, due_us=2, error=STRANGE)
        )


def rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as catalog:
        return {
            table.name: sorted(catalog.execute(f"SELECT {', '.join(table.c.keys())} FROM {table.name}").fetchall())
            for table in metadata.sorted_tables
        }


def test_there_and_back_every_row_is_as_it_was(
    wavstream: CommandLine, data_dir: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data_dir)
    wavstream("apps", "add", "shop-2")
    before = rows(data_dir / "catalog.db")

    there = wavstream("catalog", "move", "--to", place.url)
    assert there.code == 0, there.err
    assert rows(data_dir / "catalog.db") == before
    os.rename(data_dir / "catalog.db", data_dir.with_name("before.db"))
    monkeypatch.setenv("WAVSTREAM_CATALOG__URL", place.url)
    listed = wavstream("apps", "list")
    back = wavstream("catalog", "move", "--to", "local")
    beside = wavstream("catalog", "move", "--to", "sqlite:other.db")

    assert (back.code, beside.code) == (0, 0), back.err
    assert "shop-2" in listed.out
    assert sum(map(len, before.values())) > MANY
    assert rows(data_dir / "catalog.db") == before
    assert rows(data_dir.with_name("other.db")) == before
    assert "set WAVSTREAM_CATALOG__URL" in there.out
    assert "unset WAVSTREAM_CATALOG__URL" in back.out
    assert "a%20secret" not in there.out + there.err + back.out


def test_a_target_that_has_rows_is_left_as_it_is(wavstream: CommandLine, data_dir: Path, place: PostgresPlace) -> None:
    recorded(data_dir)
    assert wavstream("catalog", "move", "--to", place.url).code == 0

    again, same = wavstream("catalog", "move", "--to", place.url), wavstream("catalog", "move", "--to", "local")

    assert (again.code, "is not empty" in again.err) == (2, True)
    assert (same.code, "already" in same.err) == (2, True)


@pytest.mark.parametrize("to", ["mysql://a/b", "sqlite:", "postgresql://h", "nowhere"])
def test_what_is_no_place_is_refused(wavstream: CommandLine, data_dir: Path, to: str) -> None:
    recorded(data_dir)

    assert wavstream("catalog", "move", "--to", to).code == 2


def test_a_server_that_runs_keeps_its_catalog(wavstream: CommandLine, data_dir: Path, place: PostgresPlace) -> None:
    recorded(data_dir)
    folder = DataFolder(data_dir)
    folder.claim()
    try:
        said = wavstream("catalog", "move", "--to", place.url)
    finally:
        folder.release()

    assert (said.code, "another wavstream uses" in said.err) == (2, True)


def test_a_server_elsewhere_that_uses_the_database_keeps_it(
    wavstream: CommandLine, data_dir: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(data_dir)
    monkeypatch.setenv("WAVSTREAM_CATALOG__URL", place.url)
    with place.connect():
        said = wavstream("catalog", "move", "--to", "sqlite:other.db")

    assert (said.code, "other connections of wavstream" in said.err) == (2, True)
    assert not data_dir.with_name("other.db").exists()


def test_a_row_that_does_not_come_over_leaves_the_target_empty(data_dir: Path, place: PostgresPlace) -> None:
    recorded(data_dir)
    make_catalog(place)

    def change(text: str) -> str:
        return text.replace("available", "gone")

    with pytest.raises(Exception, match="is not the same"):  # noqa: SIM117
        with reading(data_dir / "catalog.db") as source, writing(place) as target:
            copy_rows(source, target, held_text=change)

    with reading(place) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recordings").scalar_one() == 0


KILLED = """
import os, signal, sys
from wavstream.catalog import copying
from wavstream.cli.main import main

digest, seen = copying.digest, []

def kill(*given, **named):
    seen.append(1)
    if len(seen) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return digest(*given, **named)

copying.digest = kill
main()
"""


@pytest.mark.parametrize("way", ["there", "back"])
async def test_a_move_that_is_killed_leaves_the_target_empty_and_is_done_again(
    data_dir: Path, place: PostgresPlace, way: str
) -> None:
    await asyncio.to_thread(fill, data_dir)
    before = await asyncio.to_thread(rows, data_dir / "catalog.db")
    environment, to = {}, place.url
    if way == "back":
        assert (await ran("wavstream", "catalog", "move", "--to", place.url))[0] == 0
        environment, to = {"WAVSTREAM_CATALOG__URL": place.url}, "sqlite:back.db"

    killed = await ran(KILLED, "catalog", "move", "--to", to, **environment)
    again = await ran("wavstream", "catalog", "move", "--to", to, **environment)

    assert killed[0] == -9, killed[1]
    assert again[0] == 0, again[1]
    if way == "there":
        back = await ran("wavstream", "catalog", "move", "--to", "sqlite:back.db", WAVSTREAM_CATALOG__URL=place.url)
        assert back[0] == 0, back[1]
    assert await asyncio.to_thread(rows, data_dir.with_name("back.db")) == before


async def ran(*words: str, **environment: str) -> tuple[int, str]:
    process = await start(*words, environment=environment)
    said = await asyncio.wait_for(process.stderr.read(), WAIT_S)
    return await process.wait(), said.decode()


def test_a_backup_of_either_kind_is_restored_into_either(
    wavstream: CommandLine, data_dir: Path, place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data_dir)
    recording: Recording = RECORDING
    with writing(data_dir / "catalog.db") as connection:  # those have no files
        connection.exec_driver_sql(f"DELETE FROM recordings WHERE status = 'available' AND id != '{recording.id}'")
    before = rows(data_dir / "catalog.db")
    assert wavstream("backup", "of-sqlite").code == 0
    os.rename(data_dir, data_dir.with_name("before"))
    monkeypatch.setenv("WAVSTREAM_CATALOG__URL", place.url)

    into_postgres = wavstream("restore", "of-sqlite")
    verified = wavstream("verify", recording.id)
    refused = wavstream("restore", "of-sqlite")
    of_postgres = wavstream("backup", "of-postgres")
    os.rename(data_dir, data_dir.with_name("second"))
    not_empty = wavstream("restore", "of-postgres")
    monkeypatch.delenv("WAVSTREAM_CATALOG__URL")
    back = wavstream("restore", "of-postgres")

    assert into_postgres.code == 0, into_postgres.err
    assert verified.code == 0, verified.err
    assert refused.code == 2
    assert of_postgres.code == 0, of_postgres.err
    assert (not_empty.code, "is not empty" in not_empty.err) == (2, True)
    assert back.code == 0, back.err
    assert not data_dir.with_name("second").joinpath("catalog.db").exists()
    assert rows(data_dir / "catalog.db") == before
