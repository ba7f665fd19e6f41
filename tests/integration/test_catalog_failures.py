"""The catalog is locked by another program, broken, gone or another one, while the server runs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.support.recorder import hear, recorder
from tests.support.recordings import a_recording
from tests.support.speech import noise
from tests.support.talking import say
from tests.support.waiting import until
from tests.support.wanted import USUAL
from wavstream.catalog.catalog import Catalog
from wavstream.catalog.database import Database
from wavstream.catalog.schema import upgrade
from wavstream.errors import CatalogDamaged, CatalogLocked, DependencyError
from wavstream.model.recording import Status
from wavstream.service.service import Service


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavstream.catalog.schema.BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr("wavstream.recorder.recording.ROW_WAIT_S", 0.1)
    monkeypatch.setattr("wavstream.sessions.commands.STOP_WAIT_S", 0.1)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Callable[[str], object]]:
    """Give SQL to another program that has the catalog open."""
    others: list[sqlite3.Connection] = []

    def execute(sql: str) -> object:
        if not others:
            others.append(sqlite3.connect(tmp_path / "catalog.db", isolation_level=None))
        return others[0].execute(sql)

    yield execute
    for other in others:
        other.close()


async def test_what_is_queued_behind_a_wait_for_the_lock_fails_with_it_and_what_comes_later_tries_again(
    tmp_path: Path, short_waits: None, monkeypatch: pytest.MonkeyPatch, lock: Callable[[str], object]
) -> None:
    catalog = await Catalog.open(tmp_path / "catalog.db", is_wanted=USUAL)
    waits: list[int] = []
    run = catalog.database._writes._run_writes

    def note_and_run(group: list[Any]) -> list[Any]:
        waits.append(len(group))
        return run(group)

    monkeypatch.setattr(catalog.database._writes, "_run_writes", note_and_run)
    lock("BEGIN IMMEDIATE")

    first = asyncio.create_task(catalog.recordings.add(a_recording("r0")))
    await until(lambda: waits)
    behind = [asyncio.create_task(catalog.recordings.add(a_recording(f"r{n}"))) for n in range(1, 5)]
    outcomes = await asyncio.gather(first, *behind, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [CatalogLocked] * 5
    assert waits == [1]
    with pytest.raises(CatalogLocked, match="end it"):
        await catalog.recordings.add(a_recording("r5"))
    lock("ROLLBACK")
    assert await catalog.recordings.add(a_recording("r6"))
    assert await catalog.recordings.get("r6") is not None
    await catalog.database.close()


@pytest.mark.parametrize("way", ["read", "write"])
async def test_the_disk_is_asked_about_a_failure_by_the_thread_that_met_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The event loop would stand still with a disk that hangs."""
    catalog, askers = await Catalog.open(tmp_path / "catalog.db"), list[threading.Thread]()
    statvfs = os.statvfs

    def note_and_ask(path: Path) -> os.statvfs_result:
        askers.append(threading.current_thread())
        return statvfs(path)

    def fail(_: Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr("wavstream.catalog.failures.os.statvfs", note_and_ask)
    with pytest.raises(DependencyError, match="disk I/O error"):
        await getattr(catalog.database, way)(fail)
    await catalog.database.close()
    assert askers
    assert threading.current_thread() not in askers


async def test_every_route_answers_while_the_catalog_is_locked_and_a_command_that_is_safe_is_done(
    tmp_path: Path, short_waits: None, lock: Callable[[str], object]
) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        one, two = await client.start("call-77"), await client.start("call-77")
        await say(socket, noise(1.0, seed=1))
        await client.until_received("call-77", 1000)
        lock("BEGIN IMMEDIATE")

        async def status(method: str, path: str, **more: Any) -> int:
            answer = await client.http.request(method, path, **more)
            if answer.status_code == 503:
                assert "whoever runs the server has to end it" in answer.text
            return answer.status_code

        start = {"json": {"session_id": "call-77"}}
        refused = [
            await status("POST", "/v1/recordings", **start),
            await status("POST", "/v1/recordings", **start, headers={"Idempotency-Key": "k"}),
            await status("POST", f"/v1/recordings/{one['id']}/hold", json={"by": "legal", "reason": "case 1"}),
        ]
        done = [
            await status("POST", f"/v1/recordings/{one['id']}/pause"),
            await status("GET", f"/v1/recordings/{one['id']}"),
            await status("GET", "/v1/recordings"),
            await status("POST", f"/v1/recordings/{two['id']}/stop"),
        ]
        paused = await client.get(one)
        ready = await client.http.get("/readyz")
        lock("ROLLBACK")

        assert refused == [503] * 3
        assert done == [200] * 4
        assert paused["status"] == "paused"
        assert ready.status_code == 503
        assert "another program" in ready.json()["reasons"][0]
        await client.until(two)
        assert (await client.http.get("/readyz")).status_code == 200


def replace_file(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE t (x)")
    other.replace(path)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("harm", "said"),
    [(Path.unlink, "removed"), (replace_file, "replaced"), (overwrite, "no database any more")],
    ids=["removed", "replaced", "overwritten"],
)
async def test_a_catalog_that_is_lost_while_running_turns_readiness_red_and_calls_go_on(
    tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    word = noise(0.5, seed=1)
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77")
        await say(socket, noise(0.5, seed=2))
        await client.until_received("call-77", 500)
        await asyncio.to_thread(harm, tmp_path / "catalog.db")

        ready = await client.http.get("/readyz")
        await say(socket, word)
        await client.until_received("call-77", 1000)
        await until_journaled(service)

        assert ready.status_code == 503
        (reason,) = ready.json()["reasons"]
        assert said in reason
        assert "stop the server" in reason
    # With a new catalog in its place the next start enters the recording again, for who has a key.
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    async with recorder(tmp_path, reconnect_wait_s=0, api_key="secret") as (client, _):
        client.http.headers["Authorization"] = "Bearer secret"
        assert (await client.only_recording("call-77"))["id"] == recording["id"]
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
    file = samples[:, 0].tobytes()
    assert sum(word[at : at + 160].tobytes() in file for at in range(0, len(word), 160)) > 20
    assert done["status"] == Status.AVAILABLE


async def until_journaled(service: Service) -> None:
    """Wait until all that has been received is in the journal's files."""
    (session,) = list(service.sessions)
    assert session.notes.journal is not None
    journal, frames = session.notes.journal, session.streams[0].frames
    await until(lambda: not journal.pending and not journal.queue and session.streams[0].frames == frames)


async def test_a_page_that_is_broken_is_damage_and_named_so(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    upgrade(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    database = Database(path)

    for _ in range(2):
        with pytest.raises(CatalogDamaged):
            await database.ping()

    assert database.damage is not None
    assert "malformed" in database.damage
    await database.close()
