"""What was erased is nowhere any more: not in any byte of any file of the data folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.postgres import on_both
from tests.support.recorder import Recorder, ServerProcess, Wall, recorder
from tests.support.slow_download import rest_of
from tests.support.speech import noise
from tests.support.traces import files_with
from tests.support.waiting import until
from wavstream.service.service import Service
from wavstream.simulator.caller import Leg

RATE_HZ = 8000
SAID = noise(2.0, seed=4711)
CALL = "call-of-jane-doe-77"
WORDS = ("jane-doe", "+4930123456", "case-of-jane", "retry-of-jane", "amFuZS1kb2U=")
"""In the session's id, the leg's name, the file's name; in a fact of the call; in metadata; as idempotency key; as
client state."""


def traces(folder: Path) -> list[str]:
    return files_with(folder, SAID, WORDS)


async def recorded(client: Recorder, session_id: str = CALL, **options: object) -> dict[str, Any]:
    """Return a recording of a call that is over, with its file."""
    body = {
        "session_id": session_id,
        "file_name": "talk-with-jane-doe",
        "metadata": {"about": "case-of-jane"},
        "client_state": "amFuZS1kb2U=",
        **options,
    }
    answer = await client.http.post("/v1/recordings", json=body, headers={"Idempotency-Key": "retry-of-jane"})
    assert answer.status_code == 201, answer.text
    leg = Leg("leg-of-jane-doe", SAID[:, None], RATE_HZ, query={"from": "+4930123456"})
    await client.play_at_once(session_id, leg)
    return await client.until(answer.json())


async def erase(client: Recorder, recording: dict[str, Any]) -> None:
    answer = await client.http.delete(f"/v1/recordings/{recording['id']}")
    assert answer.status_code == 204, answer.text


async def has_copy(client: Recorder, recording: dict[str, Any]) -> None:
    """Have the recording in the other format too."""
    answer = await client.http.get(f"/v1/recordings/{recording['id']}.mp3", follow_redirects=True)
    assert answer.status_code == 200


async def test_a_kill_right_after_the_answer_leaves_nothing_of_what_was_erased(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await recorded(client)
        await has_copy(client, recording)
        before = traces(tmp_path)

        await erase(client, recording)
        await server.end(signal.SIGKILL)
        after_the_kill = traces(tmp_path)
        await client.http.aclose()
        client = await server.start()
        row = await client.get(recording)
        await client.http.aclose()
        await server.end(signal.SIGTERM)

    kept = ("id", "app_id", "size_bytes", "audio_sha256", "created_at", "ended_at", "end_reason")
    assert {name.rsplit(".", 1)[-1] for name in before} >= {"wav", "json", "db-wal"}
    assert after_the_kill == traces(tmp_path) == []
    assert (row["status"], {name: row[name] for name in kept}) == ("deleted", {name: recording[name] for name in kept})


@pytest.mark.parametrize("umask", ["000", "077"])
async def test_whatever_the_umask_nothing_is_open_to_other_users(tmp_path: Path, umask: str) -> None:
    before = os.umask(int(umask, 8))  # the server has it from this process
    try:
        async with ServerProcess(tmp_path / "data") as server:
            client = await server.start()
            recording = await recorded(client)
            await has_copy(client, recording)
            async with client.connect("/media/pcm/other/a?record=1") as call:
                await call.send(SAID.tobytes())
                await client.until_received("other", 2_000)
                await until(lambda: any((tmp_path / "data" / "journal").iterdir()))  # it was read, and is written soon
                found = {}
                for place, folders, names in os.walk(tmp_path):
                    for path in (Path(place, name) for name in (*folders, *names)):
                        with suppress(FileNotFoundError):  # removed meanwhile
                            found[path] = path.stat().st_mode & 0o777
            await client.http.aclose()
            await server.end(signal.SIGTERM)
    finally:
        os.umask(before)
    kinds = {path.name.rsplit(".", 1)[-1].rsplit("-", 1)[-1] for path in found}
    assert {path.name: mode for path, mode in found.items() if mode not in (0o600, 0o700)} == {}
    assert kinds >= {"wav", "json", "copy", "db", "wal", "shm", "wsj", "key", "lock", "journal", "spool"}


@on_both
async def test_retention_erases_as_a_request_does(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall, retention={"sweep_interval_s": 0.05}) as (client, service):
        recording = await recorded(client)
        assert traces(tmp_path)
        wall.ahead = timedelta(hours=25)
        await client.until(recording, "expired")
        await until(lambda: not traces(tmp_path))
        row = await service.catalog.recordings.get(recording["id"])
    assert row is not None
    assert row.receipt is not None
    assert row.receipt.size_bytes == recording["size_bytes"]


async def test_what_another_recording_of_the_call_needs_of_the_journal_goes_when_that_one_ends(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        other = await client.start(CALL, channels="mono")
        async with client.connect(f"/media/pcm/{CALL}/leg-of-jane-doe") as call:
            recording = await client.start(CALL, metadata={"about": "case-of-jane"})
            await call.send(SAID.tobytes())
            await client.until_received(CALL, 2_000)
            await client.act(recording, "stop")
            await erase(client, await client.until(recording))
            left = traces(tmp_path)
            await client.act(other, "stop")
        await erase(client, await client.until(other))
        await until(lambda: not traces(tmp_path))
    assert any(name.endswith(".wsj") for name in left)
    assert not any(recording["id"] in name for name in left)


async def test_a_crash_between_the_answer_and_the_end_of_the_other_brings_nothing_back(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, reconnect_wait_s=0) as server:
        client = await server.start()
        other = await client.start(CALL, channels="mono")
        call = await client.connect(f"/media/pcm/{CALL}/a")
        recording = await client.start(CALL)
        await call.send(SAID.tobytes())
        await client.until_received(CALL, 2_000)
        await client.act(recording, "stop")
        await erase(client, await client.until(recording))
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        client = await server.start()
        await client.until(other)
        assert (await client.get(recording))["status"] == "deleted"
        await erase(client, other)
        await client.http.aclose()
        await server.end(signal.SIGTERM)
    assert traces(tmp_path) == []


@on_both
@pytest.mark.parametrize("what", ["everything", "the sidecar alone"])
async def test_files_that_come_back_from_a_backup_are_removed_again(tmp_path: Path, what: str) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with recorder(data) as (client, _):
        recording = await recorded(client)
        await has_copy(client, recording)
        shutil.copytree(data / "recordings", backup)
        await erase(client, recording)
    for file in [path for path in backup.rglob("*") if path.is_file()]:
        if what == "everything" or file.suffix == ".json":
            target = data / "recordings" / file.relative_to(backup)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    assert traces(data)

    async with recorder(data) as (client, _):
        await until(lambda: not traces(data))
        assert (await client.get(recording))["status"] == "deleted"


async def with_a_long_file(client: Recorder, service: Service) -> dict[str, Any]:
    """Return a recording whose file is far larger than what the kernel keeps of a download."""
    recording = await recorded(client)
    row = await service.catalog.recordings.get(recording["id"])
    assert row is not None
    await asyncio.to_thread(os.truncate, service.folder.recordings / row.object_key, 64 << 20)
    return recording


async def test_a_download_that_runs_ends_when_the_recording_is_erased(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, service):
        recording = await with_a_long_file(client, service)
        got, length = await rest_of(recording["url"], lambda: erase(client, recording))
        assert (await client.http.get(recording["url"])).status_code == 404
    assert length == 64 << 20
    assert got < length


async def test_a_file_that_cannot_be_removed_is_said_and_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recorder(tmp_path) as (client, service):
        recording = await recorded(client)
        row = await service.catalog.recordings.get(recording["id"])
        assert row is not None
        unlink, refused = Path.unlink, [True]

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if refused and path.name.startswith(recording["id"]):
                raise OSError(30, "Read-only file system")
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        answer = await client.http.delete(f"/v1/recordings/{recording['id']}")
        link = await client.http.get(recording["url"])
        refused.clear()
        again = await client.http.delete(f"/v1/recordings/{recording['id']}")
        third = await client.http.delete(f"/v1/recordings/{recording['id']}")
    assert (answer.status_code, link.status_code, again.status_code, third.status_code) == (503, 404, 204, 404)
    assert traces(tmp_path) == []


async def test_a_damaged_journal_that_was_set_aside_goes_with_the_last_recording_of_its_call(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, reconnect_wait_s=0) as server:
        client = await server.start()
        recording, other = await client.start(CALL), await client.start(CALL, channels="mono")
        call = await client.connect(f"/media/pcm/{CALL}/leg-of-jane-doe")
        for part in np.split(SAID, 2):  # a batch each
            await call.send(part.tobytes())
            await until(partial(files_with, tmp_path / "journal", part[-320:]))
        await server.end(signal.SIGKILL)
        await call.close()
        await client.http.aclose()
        (journal,) = (tmp_path / "journal").glob("*.wsj")
        content = bytearray(journal.read_bytes())
        content[len(content) // 4] ^= 1
        journal.write_bytes(content)
        client = await server.start()
        finished = [await client.until(each) for each in (recording, other)]
        aside = tmp_path / "journal" / "set-aside"
        await until(lambda: aside.is_dir() and any(aside.iterdir()))

        await erase(client, finished[0])
        left = traces(tmp_path)
        await erase(client, finished[1])
        await client.http.aclose()
        await server.end(signal.SIGTERM)
    assert any(name.endswith(".wsj") for name in left)
    assert traces(tmp_path) == []
    assert list(aside.iterdir()) == []
