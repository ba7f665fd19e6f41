"""Finished files go to a bucket, by a real server that speaks S3: whole, once, whatever is killed in between."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sqlite3
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from tests.support.postgres import BOTH, catalog_settings, on_postgres
from tests.support.processes import start
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, ServerProcess, recorder
from tests.support.speech import noise
from tests.support.talking import say
from tests.support.waiting import WAIT_S, until
from tests.support.weed import READ_ONLY_KEY, Weed, running_weed
from wavstream.settings import WebhookSettings
from wavstream.storage.object_keys import sidecar_key
from wavstream.storage.probe import MARKER

pytestmark = pytest.mark.xdist_group("weed")
HEADER_BYTES = 80
"""Of a WAV file of ours."""


def settings_of(weed: Weed, prefix: str, **more: Any) -> dict[str, Any]:
    """Return the settings of a server in a process of its own that uploads there."""
    storage = weed.settings(prefix, timeout_s=5) | more
    return {f"storage__{name}": each for name, each in storage.items()} | {"reconnect_wait_s": 0}


async def call(client: Recorder, session_id: str, *, length_s: float = 1.0, seed: int = 1) -> dict[str, Any]:
    """Record a call; return its recording when that is available."""
    recording = await client.start(session_id)
    async with client.connect(f"/media/pcm/{session_id}/a") as socket:
        await say(socket, noise(length_s, seed=seed))
        await client.until_received(session_id, int(length_s * 1000) - 20)
    return await client.until(recording)


def rows(data_dir: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(data_dir / "catalog.db", timeout=30) as catalog:
        catalog.row_factory = sqlite3.Row
        found = catalog.execute("SELECT id, status, object_key, receipt_json, stored_json FROM recordings")
        return [dict(row) for row in found]


def waiting(data_dir: Path) -> int:
    with sqlite3.connect(data_dir / "catalog.db", timeout=30) as catalog:
        return int(catalog.execute("SELECT count(*) FROM uploads").fetchone()[0])


def left_here(data_dir: Path) -> list[str]:
    # Not by rglob, which fails where a folder goes meanwhile.
    return [name for _, _, names in os.walk(data_dir / "recordings") for name in names]


async def until_all_stored(data_dir: Path, count: int) -> None:
    """Return when so many recordings are in the store, and nothing of them is here."""

    def is_done() -> bool:
        found = rows(data_dir)
        stored = sum(row["stored_json"] is not None for row in found)
        return stored == len(found) == count and waiting(data_dir) == 0 and not left_here(data_dir)

    await until(lambda: asyncio.to_thread(is_done))


def check_agrees(weed: Weed, prefix: str, data_dir: Path) -> None:
    """Check that each row has one object with its audio, and each object a row."""
    found = {row["object_key"]: row for row in rows(data_dir)}
    objects = {key.removeprefix(f"{prefix}/") for key in weed.objects(prefix)} - {MARKER}
    beside = {f"{key}{suffix}" for key in found for suffix in (".json", ".waveform")}
    assert objects - beside == set(found)
    for key, row in found.items():
        receipt = msgspec.json.decode(row["receipt_json"])
        content = weed.read(f"{prefix}/{key}")
        assert len(content) == receipt["size_bytes"]
        assert hashlib.sha256(content[HEADER_BYTES:]).hexdigest() == receipt["audio_sha256"]


async def test_a_call_becomes_an_object_with_its_sidecar_and_leaves_the_machine(weed: Weed, tmp_path: Path) -> None:
    async with recorder(tmp_path, storage=weed.settings("one"), reconnect_wait_s=0) as (client, _):
        done = await call(client, "call-77")
        await until_all_stored(tmp_path, 1)
        ready = (await client.http.get("/readyz")).json()
        metrics = (await client.http.get("/metrics")).text
    check_agrees(weed, "one", tmp_path)
    (row,) = rows(tmp_path)
    key = f"one/{row['object_key']}"
    assert msgspec.json.decode(weed.read(sidecar_key(key)))["id"] == done["id"]
    told = {name.lower(): text for name, text in weed.attributes(key).items()}
    assert told["content-type"] == "audio/wav"
    assert told["session"] == "call-77"
    assert told["sha256"] == done["audio_sha256"]
    assert ready["ready"] is True
    assert ready["uploads"]["waiting"] == 0
    assert 'wavstream_uploads_total{outcome="first"} 1.0' in metrics


async def test_without_a_store_files_stay_here_and_nothing_of_one_is_shown(tmp_path: Path) -> None:
    async with recorder(tmp_path, reconnect_wait_s=0) as (client, _):
        await call(client, "call-1")
        assert "uploads" not in (await client.http.get("/readyz")).json()
    assert len(left_here(tmp_path)) == 3
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_a_server_that_is_killed_at_any_moment_of_its_uploads_ends_with_one_object_each(
    weed: Weed, tmp_path: Path, seed: int
) -> None:
    chance, prefix, calls = random.Random(seed), f"killed{seed}", 0
    async with ServerProcess(tmp_path, **settings_of(weed, prefix)) as server:
        for _ in range(4):
            client = await server.start()
            made = [call(client, f"call-{calls + number}", seed=calls + number) for number in range(3)]
            await asyncio.gather(*made)
            calls += 3
            await asyncio.sleep(chance.choice((0, 0.005, 0.02, 0.06)))
            await server.end(signal.SIGKILL)
            await client.http.aclose()
        client = await server.start()
        await until_all_stored(tmp_path, calls)
        await client.http.aclose()
    check_agrees(weed, prefix, tmp_path)


async def test_a_server_that_is_killed_between_the_parts_of_a_file_uploads_it_anew(weed: Weed, tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, **settings_of(weed, "parts", timeout_s=60)) as server:
        client = await server.start()
        await call(client, "call-1", length_s=1)
        await until_all_stored(tmp_path, 1)
        weed.freeze()  # the next upload is under way until the server is killed
        try:
            await call(client, "call-2", length_s=1, seed=2)
            await until(lambda: asyncio.to_thread(is_noted, tmp_path))
            await server.end(signal.SIGKILL)
        finally:
            weed.thaw()
        await client.http.aclose()
        client = await server.start()
        await until_all_stored(tmp_path, 2)
        await client.http.aclose()
    check_agrees(weed, "parts", tmp_path)


def is_noted(data_dir: Path) -> bool:
    with sqlite3.connect(data_dir / "catalog.db", timeout=30) as catalog:
        return bool(catalog.execute("SELECT 1 FROM uploads WHERE tried_json != '[]'").fetchone())


async def test_calls_go_on_while_the_store_is_killed_frozen_and_started_again(tmp_path: Path) -> None:
    with running_weed(tmp_path / "weed") as weed:
        data_dir = tmp_path / "data"
        async with ServerProcess(data_dir, **settings_of(weed, "calls")) as server:
            client = await server.start()

            async def record() -> None:
                for number in range(12):
                    made = [call(client, f"call-{number}-{each}", length_s=0.5, seed=number) for each in range(2)]
                    for done in await asyncio.gather(*made):
                        # Where it lies already, it is not read by this test: what serves files from stores is another.
                        assert done["status"] == "available"

            calls = asyncio.create_task(record())
            for turn in range(3):
                await asyncio.sleep(0.5)
                if turn == 1:
                    await asyncio.to_thread(weed.freeze)
                    await asyncio.sleep(3)
                    await asyncio.to_thread(weed.thaw)
                else:
                    await asyncio.to_thread(weed.kill)
                    await asyncio.sleep(1)
                    await asyncio.to_thread(weed.start)
            await calls
            await until_all_stored(data_dir, 24)
            await client.http.aclose()
        check_agrees(weed, "calls", data_dir)


async def test_while_the_store_is_away_recordings_are_made_served_and_told_of(tmp_path: Path) -> None:
    with running_weed(tmp_path / "weed") as weed:
        data_dir = tmp_path / "data"
        weed.kill()
        async with ServerProcess(data_dir, **settings_of(weed, "away")) as server:
            client = await server.start()
            assert any(each["event"] == "store_away" for each in server.said)
            done = await call(client, "call-1")
            assert len(await client.fetch(done)) == done["size_bytes"]

            async def is_told() -> bool:
                answer = await client.http.get("/readyz")
                uploads = answer.json()["uploads"]
                return answer.status_code == 200 and uploads["waiting"] == 1 and uploads["error"] is not None

            await until(is_told)
            await server.end(signal.SIGTERM)
            await client.http.aclose()
            client = await server.start()
            await call(client, "call-2", seed=2)
            await asyncio.to_thread(weed.start)
            await until_all_stored(data_dir, 2)
            await client.http.aclose()
        check_agrees(weed, "away", data_dir)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"storage__access_key_id": READ_ONLY_KEY}, "s3:PutObject"),
        ({"storage__access_key_id": "NOBODY"}, "access key"),
        ({"storage__secret_access_key": "wrong"}, "secret"),
        ({"storage__url": "https://bucket"}, "must be s3://"),
        ({"storage__credentials_file": "/nowhere/store.json"}, "/nowhere/store.json"),
    ],
    ids=["may not write", "unknown key", "wrong secret", "no store", "no credentials file"],
)
async def test_a_store_that_will_never_take_files_refuses_the_start_in_one_line(
    weed: Weed, tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    async with ServerProcess(tmp_path, **{**settings_of(weed, "refused"), **wrong}) as server:
        code, words = await server.fail()
    assert code == 2
    (line,) = [each for each in words.splitlines() if '"command_refused"' in each]
    assert said in line


async def test_a_bucket_of_another_installation_refuses_the_start_and_says_what_to_do(
    weed: Weed, tmp_path: Path
) -> None:
    async with ServerProcess(tmp_path / "first", **settings_of(weed, "owned")) as server:
        client = await server.start()
        await client.http.aclose()
    async with ServerProcess(tmp_path / "second", **settings_of(weed, "owned")) as server:
        code, words = await server.fail()
        assert code == 2
        assert "another installation" in words
        assert MARKER in words
    async with ServerProcess(tmp_path / "second", **settings_of(weed, "owned-by-two")) as server:
        client = await server.start()
        await client.http.aclose()


@pytest.mark.parametrize("database", BOTH)
async def test_a_check_of_a_start_says_what_the_store_is_and_leaves_it_to_whoever_starts(
    weed: Weed, tmp_path: Path, database: str
) -> None:
    prefix = f"checked-{database}"
    with on_postgres() if database == "postgresql" else nullcontext():
        data = tmp_path / "data"
        environment = weed.environment(prefix) | {"WAVSTREAM_DATA_DIR": str(data)}
        if (catalog := catalog_settings(data).get("catalog")) is not None:
            environment["WAVSTREAM_CATALOG__URL"] = catalog["url"]
        before = await checked(environment)
        objects = weed.objects(prefix)
        async with ServerProcess(data, **settings_of(weed, prefix)) as server:
            client = await server.start()
            await client.http.aclose()
        after = await checked(environment)
        environment.pop("WAVSTREAM_CATALOG__URL", None)
        other = await checked(environment | {"WAVSTREAM_DATA_DIR": str(tmp_path / "other")})

    assert (before, objects) == ((0, ""), {})
    assert after == (0, "")
    assert other[0] == 2
    assert "another installation" in other[1]


async def checked(environment: dict[str, str]) -> tuple[int, str]:
    """Return the exit code of a check of a start, and what it said is wrong."""
    process = await start("wavstream", "serve", "--check", "--port", "0", environment=environment)
    said = (await asyncio.wait_for(process.stderr.read(), WAIT_S)).decode()
    return await process.wait(), said


async def test_a_program_is_run_for_each_file_that_the_store_has(weed: Weed, tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$WAVSTREAM_RECORDING_ID $WAVSTREAM_STORE $WAVSTREAM_SIZE $1" >> {told}\n')
    program.chmod(0o755)
    data_dir = tmp_path / "data"
    settings = settings_of(weed, "program", on_stored=f"{program} 'two words'")
    async with ServerProcess(data_dir, **settings) as server:
        client = await server.start()
        done = await call(client, "call-1")
        await until(lambda: told.exists() and told.read_text().endswith("\n"))
        await client.http.aclose()
    assert told.read_text() == f"{done['id']} s3://{weed.bucket}/program {done['size_bytes']} two words\n"


async def test_several_workers_upload_what_any_of_them_publishes(weed: Weed, tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, workers=2, **settings_of(weed, "workers")) as server:
        client = await server.start()
        await asyncio.gather(*(call(client, f"call-{number}", seed=number) for number in range(6)))
        await until_all_stored(tmp_path, 6)
        assert (await client.http.get("/readyz")).json()["uploads"]["waiting"] == 0
        await client.http.aclose()
    check_agrees(weed, "workers", tmp_path)


ADMIN_KEY, APP_KEY = "key-of-the-administrators", "the-key-of-the-shop-app"
ARCHIVE = "https://archive.example.com/calls"
EVENTS = ["recording.completed", "recording.stored"]


async def told_of_a_call(data_dir: Path, receiver: Receiver, storage: dict[str, Any]) -> list[dict[str, Any]]:
    """Record a call of an app whose links are the store's; return what it was told."""
    settings: dict[str, Any] = {
        "admin_api_key": SecretStr(ADMIN_KEY),
        "webhooks": WebhookSettings(allow_http=True, allow_localhost=True),
        "recording_base_url": ARCHIVE,
        "reconnect_wait_s": 0,
        "storage": storage,
    }
    async with recorder(data_dir, **settings) as (client, _):
        body = {"webhook_url": receiver.url, "api_key": APP_KEY, "rate_limit": 0, "events": EVENTS}
        answer = await client.http.post("/admin/apps/shop", json=body, headers={"X-Admin-API-Key": ADMIN_KEY})
        assert answer.status_code == 200, answer.text
        client.http.headers["Authorization"] = f"Bearer {APP_KEY}"
        recording = await client.start("call-1")
        async with client.connect(f"/media/pcm/call-1/a?token={APP_KEY}") as socket:
            await say(socket, noise(1.0, seed=1))
            await client.until_received("call-1", 980)
        await client.until(recording)
        return [each.message for each in await receiver.wait_for(2)]


async def test_where_links_lead_to_the_store_they_are_told_once_the_file_is_there(weed: Weed, tmp_path: Path) -> None:
    there: list[bool] = []

    async def look(request: Received) -> Answer:
        key = request.message["recording_url"].removeprefix(f"{ARCHIVE}/")
        there.append(f"linked/{key}" in await asyncio.to_thread(weed.objects, "linked"))
        return Answer()

    async with Receiver(look) as receiver:
        completed, stored = await told_of_a_call(tmp_path, receiver, weed.settings("linked"))

    assert there == [True, True]
    (row,) = rows(tmp_path)
    assert [completed["event"], stored["event"]] == EVENTS
    assert completed["recording_url"] == stored["recording_url"] == f"{ARCHIVE}/{row['object_key']}"
    assert (stored["store"], stored["key"]) == (f"s3://{weed.bucket}/linked", row["object_key"])


async def test_what_went_to_the_second_store_has_a_link_of_our_own(weed: Weed, tmp_path: Path) -> None:
    storage = weed.settings("first", endpoint="http://127.0.0.1:9") | {
        "backup_url": f"s3://{weed.bucket}/second",
        "backup_endpoint": weed.endpoint,
        "backup_after_s": 0,
    }
    async with Receiver() as receiver:
        completed, stored = await told_of_a_call(tmp_path, receiver, storage)
    assert stored["store"] == f"s3://{weed.bucket}/second"
    assert "/files/" in completed["recording_url"]
    assert not completed["recording_url"].startswith(ARCHIVE)
    check_agrees(weed, "second", tmp_path)
