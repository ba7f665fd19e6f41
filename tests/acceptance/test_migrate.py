"""Files moved by the command, on a real store: killed at each stage and run again, and beside a server that records."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import start
from tests.support.recorder import Recorder, recorder
from tests.support.speech import noise
from tests.support.waiting import WAIT_S, until
from tests.support.weed import READ_ONLY_KEY, SECRET, Weed
from wavstream.simulator.caller import Leg

SAID = noise(0.5)
COUNT = 3
HEADER_BYTES = 80
# Ends itself at a stage of the second file.
KILLED = """
import os, signal, sys
from wavstream.catalog.moves import Moves
from wavstream.cli.main import main
from wavstream.service.migration import Migration
from wavstream.storage.local import LocalStorage
from wavstream.storage.object_store import ObjectStore

stage = sys.argv.pop(1)
seen = []

def kills(owner, name, when, wanted=lambda *given: True):
    method = getattr(owner, name)
    def is_now(given):
        if wanted(*given):
            seen.append(name)
        return len(seen) == 2
    def end():
        os.kill(os.getpid(), signal.SIGKILL)
    async def later(*given, **named):
        now = is_now(given)
        if now and when == "before":
            end()
        result = await method(*given, **named)
        if now:
            end()
        return result
    def at_once(*given, **named):
        now = is_now(given)
        if now and when == "before":
            end()
        result = method(*given, **named)
        if now:
            end()
        return result
    setattr(owner, name, at_once if owner is LocalStorage else later)

def is_file(_self, key, *_):
    return not key.endswith((".json", ".waveform", "-installation")) and "probe" not in key

match stage:
    case "noted": kills(Moves, "begin", "after")
    case "beside": kills(ObjectStore, "put", "before", is_file)
    case "put": kills(ObjectStore, "put", "after", is_file)
    case "published": kills(LocalStorage, "publish", "after")
    case "copied": kills(Moves, "finish", "before")
    case "row": kills(Moves, "finish", "after")
    case "former": kills(Migration, "_remove", "before")
    case "former is gone": kills(Moves, "forget", "before")
main()
"""


class Two:
    """Two places in one bucket, and a data folder."""

    def __init__(self, weed: Weed, data: Path) -> None:
        self.weed, self.data = weed, data
        name = uuid.uuid4().hex[:8]
        self.a, self.b = f"{name}-a", f"{name}-b"

    def url(self, prefix: str) -> str:
        return f"s3://{self.weed.bucket}/{prefix}"

    @property
    def settings(self) -> dict[str, Any]:
        return self.weed.settings(self.b, backup_url=self.url(self.a), backup_endpoint=self.weed.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        more = {"backup_url": self.url(self.a), "backup_endpoint": self.weed.endpoint}
        return self.weed.environment(self.b, **more) | {"WAVSTREAM_DATA_DIR": str(self.data)}

    async def run(self, *words: str, killed_at: str | None = None, **more: str) -> tuple[int, str]:
        """Run a command to its end; its exit code, and what it said on standard error."""
        program = ("wavstream",) if killed_at is None else (KILLED, killed_at)
        process = await start(*program, *words, environment=self.environment | more)
        said = await asyncio.wait_for(process.stderr.read(), WAIT_S)
        return await process.wait(), said.decode()

    async def migrate(self, to: str, *words: str, killed_at: str | None = None, **more: str) -> tuple[int, str]:
        return await self.run("storage", "migrate", "--to", to, "--keep", "0", *words, killed_at=killed_at, **more)

    def rows(self) -> dict[str, tuple[str, str | None, str]]:
        """Return object key, place and hash of each recording, by id."""
        with closing(sqlite3.connect(self.data / "catalog.db")) as catalog:
            found = catalog.execute(
                "SELECT id, object_key, stored_json, receipt_json FROM recordings WHERE status = 'available'"
            ).fetchall()
            assert catalog.execute("SELECT count(*) FROM uploads").fetchone() == (0,)
        return {
            each: (key, None if stored is None else json.loads(stored)["url"], json.loads(receipt)["audio_sha256"])
            for each, key, stored, receipt in found
        }

    def files(self, place: str) -> dict[str, bytes]:
        """Return what is in a place, or on this machine: contents by key."""
        if place == "local":
            root = self.data / "recordings"
            return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        objects = self.weed.objects(place)
        return {
            key.removeprefix(f"{place}/"): self.weed.read(key) for key in objects if not key.endswith("-installation")
        }


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with ``COUNT`` recordings, to be copied."""
    data = tmp_path_factory.mktemp("recorded") / "data"

    async def record() -> None:
        async with recorder(data) as (client, _):
            for number in range(COUNT):
                await recorded(client, f"call-{number}")

    asyncio.run(record())
    return data


@pytest.fixture
def two(weed: Weed, recorded_once: Path, tmp_path: Path) -> Two:
    shutil.copytree(recorded_once, tmp_path / "data")
    return Two(weed, tmp_path / "data")


async def recorded(client: Recorder, session_id: str) -> dict[str, Any]:
    recording = await client.start(session_id)
    await client.play_at_once(session_id, Leg("a", SAID[:, None]))
    return await client.until(recording)


def is_audio(content: bytes, sha256: str) -> bool:
    return hashlib.sha256(content[HEADER_BYTES:]).hexdigest() == sha256


STAGES = [
    *(("local", "b", stage) for stage in ("noted", "beside", "put", "copied", "row", "former is gone")),
    *(("a", "b", stage) for stage in ("noted", "beside", "put", "copied", "row", "former", "former is gone")),
    *(("b", "local", stage) for stage in ("noted", "published", "copied", "row", "former", "former is gone")),
]


@pytest.mark.parametrize(("source", "target", "stage"), STAGES)
async def test_a_move_that_is_killed_goes_on_when_it_is_run_again_and_ends_with_each_file_in_one_place(
    two: Two, source: str, target: str, stage: str
) -> None:
    before = two.files("local")
    places = {"local": "local", "a": two.a, "b": two.b}
    arguments = {"local": "local", "a": two.url(two.a), "b": two.url(two.b)}
    if source != "local":
        assert (await two.migrate(arguments[source]))[0] == 0

    killed = await two.migrate(arguments[target], "--parallel", "1", killed_at=stage)
    again = await two.migrate(arguments[target])

    if stage != "former is gone" or source != "local":  # nothing is left to be forgotten there
        assert killed[0] == -9, killed[1]
    assert again[0] == 0, again[1]
    assert two.files(places[target]) == before
    for place in set(places.values()) - {places[target]}:
        assert two.files(place) == {}
    rows = two.rows()
    assert len(rows) == COUNT
    for key, url, sha256 in rows.values():
        assert url == (None if target == "local" else arguments[target])
        assert is_audio(before[key], sha256)


async def test_files_are_moved_beside_a_server_that_records_and_uploads(two: Two) -> None:
    before = two.files("local")
    async with recorder(two.data, storage=two.settings) as (client, _):

        async def calls() -> list[dict[str, Any]]:
            return [await recorded(client, f"meanwhile-{number}") for number in range(8)]

        moved, late = await asyncio.gather(two.migrate(two.url(two.b)), calls())

        async def all_are_there() -> bool:
            return len([key for key in two.files(two.b) if key.endswith(".wav")]) == COUNT + 8

        await until(all_are_there)
        await until(lambda: _is_nothing_queued(two))

    assert moved[0] == 0, moved[1]
    rows, contents = two.rows(), two.files(two.b)
    assert {each["id"] for each in late} < set(rows)
    assert {url for _, url, _ in rows.values()} == {two.url(two.b)}
    for key, _, sha256 in rows.values():
        assert is_audio(contents[key], sha256)
        assert before.get(key, contents[key]) == contents[key]
    assert [key for key in two.files("local") if key.endswith(".wav")] == []


async def _is_nothing_queued(two: Two) -> bool:
    with closing(sqlite3.connect(two.data / "catalog.db")) as catalog:
        return bool(catalog.execute("SELECT count(*) FROM uploads").fetchone() == (0,))


async def test_a_server_that_would_not_read_the_store_keeps_the_files_where_they_are(two: Two) -> None:
    before = two.files("local")
    async with recorder(two.data):
        refused = await two.migrate(two.url(two.b))

    assert refused[0] == 2
    assert f"does not read {two.url(two.b)}" in refused[1]
    assert two.files("local") == before


async def test_a_store_that_refuses_is_named_and_nothing_is_lost(two: Two) -> None:
    before = two.files("local")
    mine = {"WAVSTREAM_STORAGE__ACCESS_KEY_ID": READ_ONLY_KEY, "WAVSTREAM_STORAGE__SECRET_ACCESS_KEY": SECRET}

    refused = await two.migrate(two.url(two.b), **mine)
    unnamed = await two.migrate("s3://another/bucket")
    dry = await two.migrate(two.url(two.b), "--dry-run")

    assert (refused[0], "s3:PutObject" in refused[1]) == (1, True)
    assert (unnamed[0], "set storage.url to it" in unnamed[1]) == (2, True)
    assert dry[0] == 0
    assert two.files("local") == before
    assert two.files(two.b) == {}


async def test_a_check_says_what_a_store_takes_and_whose_it_is(two: Two) -> None:
    mine = {"WAVSTREAM_STORAGE__ACCESS_KEY_ID": READ_ONLY_KEY, "WAVSTREAM_STORAGE__SECRET_ACCESS_KEY": SECRET}

    good = await two.run("storage", "check")
    bad = await two.run("storage", "check", **mine)

    assert good[0] == 0, good[1]
    assert bad[0] == 1
    assert two.files(two.b) == two.files(two.a) == {}


async def test_a_backup_leads_to_what_lies_in_a_store_or_has_it_where_that_is_asked_for(two: Two) -> None:
    before = two.files("local")
    assert (await two.migrate(two.url(two.b)))[0] == 0
    places = {name: two.data.with_name(name) for name in ("rows", "objects")}
    assert (await two.run("backup", str(places["rows"])))[0] == 0
    assert (await two.run("backup", str(places["objects"]), "--with-objects"))[0] == 0
    shutil.rmtree(two.data)

    assert (await two.run("restore", str(places["rows"])))[0] == 0
    assert two.files("local") == {}
    assert {url for _, url, _ in two.rows().values()} == {two.url(two.b)}
    shutil.rmtree(two.data)
    for key in two.weed.objects(two.b):
        two.weed.delete(key)
    restored = await two.run("restore", str(places["objects"]))

    assert restored[0] == 0, restored[1]
    assert two.files("local") == before
    async with recorder(two.data, storage=two.settings):
        await until(lambda: _is_nothing_queued(two))
    assert two.files(two.b) == before
    assert two.files("local") == {}
