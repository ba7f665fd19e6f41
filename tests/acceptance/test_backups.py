"""A backup that is made while calls run, and what a server finds that starts on it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import noise
from tests.support.waiting import until
from wavstream.service.backup import make_backup
from wavstream.service.data_folder import DataFolder
from wavstream.service.restore import restore_backup
from wavstream.simulator.caller import Leg

RATE_HZ = 8000
SAID = noise(0.5)


async def begun(client: Recorder, session_id: str) -> tuple[dict[str, Any], Any]:
    """Return a recording of a call that runs, and its socket."""
    recording = await client.start(session_id)
    socket = await client.connect(f"/media/pcm/{session_id}/a?codec=l16&rate={RATE_HZ}")
    await socket.send(SAID.tobytes())
    await client.until_streaming(session_id, 1)
    return recording, socket


async def recorded(client: Recorder, session_id: str) -> dict[str, Any]:
    recording = await client.start(session_id)
    await client.play_at_once(session_id, Leg("a", SAID[:, None], RATE_HZ))
    return await client.until(recording)


async def erase(client: Recorder, recording: dict[str, Any]) -> None:
    assert (await client.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 204


def path_of(recording: dict[str, Any]) -> str:
    """Return its link, without where the server is."""
    return urlsplit(str(recording["url"])).path


def is_said_in(content: bytes) -> bool:
    """Return whether a file begins with what the call said."""
    samples, _ = hear(content)
    return bool((samples[: len(SAID), 0] == SAID).all())


def are_written(data: Path, calls: int) -> bool:
    """Return whether what so many calls have said is in their journals."""
    sizes = [path.stat().st_size for path in (data / "journal").glob("*.wsj")]
    return sum(size > SAID.nbytes for size in sizes) == calls


async def fetched(client: Recorder, *recordings: dict[str, Any]) -> list[bytes]:
    """Return their files, once they are available."""
    return [await client.fetch(await client.until(each)) for each in recordings]


def copy_catalog(data: Path, target: Path) -> None:
    """As the manual of before had it."""
    target.mkdir()
    with closing(sqlite3.connect(data / "catalog.db")) as source, closing(sqlite3.connect(target / "catalog.db")) as to:
        source.backup(to)


def copy_files(data: Path, target: Path) -> None:
    shutil.copytree(data / "recordings", target / "recordings")
    for name in ("master.key", "link-keys.json"):
        shutil.copy2(data / name, target)


async def test_calls_that_end_between_the_two_steps_of_a_copy_by_hand_are_there_after_a_restore(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with recorder(data) as (client, _):
        before = await recorded(client, "before")
        across, socket = await begun(client, "across")
        waits = await client.start("asked-for-before")
        gone = await recorded(client, "erased")
        await asyncio.to_thread(copy_catalog, data, backup)
        await socket.close()
        await client.play_at_once("asked-for-before", Leg("a", SAID[:, None], RATE_HZ))
        between = await recorded(client, "between")
        files = await fetched(client, before, across, waits, between)
        await erase(client, gone)
        await asyncio.to_thread(copy_files, data, backup)

    async with recorder(backup) as (client, _):
        await client.only_recording("between")  # its row is made of the .json
        assert await fetched(client, before, across, waits, between) == files
        assert await client.until(gone, "failed")
        assert (await client.until(across))["end_reason"] == "hangup"

    async with recorder(backup) as (client, _):
        assert (await client.get(across))["status"] == "available"


async def test_a_backup_has_every_file_of_its_rows_whatever_ends_and_is_erased_while_it_is_made(
    tmp_path: Path,
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with recorder(data) as (client, _):
        loop = asyncio.get_running_loop()
        kept, erased_soon = await recorded(client, "kept"), await recorded(client, "erased-soon")
        ends_soon, socket = await begun(client, "ends-soon")
        runs_on, open_socket = await begun(client, "runs-on")
        late: list[dict[str, Any]] = []

        async def meanwhile(what: str) -> None:
            if what == "catalog" and not late:  # the files are there, the rows are copied next
                await erase(client, erased_soon)
                await socket.close()
                late.extend([await client.until(ends_soon), await recorded(client, "erased-later")])
            elif what == "files" and len(late) == 2:  # its row is in the copy, its file is next, or has just been put
                late.append(await client.until(late[1], "available"))
                await erase(client, late[1])

        def wait_for(work: Awaitable[None]) -> None:
            asyncio.run_coroutine_threadsafe(work, loop).result(30)  # type: ignore[arg-type]

        made = await asyncio.to_thread(
            make_backup, DataFolder(data), backup, on_progress=lambda what, _done: wait_for(meanwhile(what))
        )
        await open_socket.close()
        await client.until(runs_on)
        files = await fetched(client, kept, ends_soon)

    assert (made.unfinished, made.journals, made.lacking) == (1, 1, ())
    assert len(late) == 3
    assert {path.stat().st_mode & 0o777 for path in backup.rglob("*") if path.is_file()} == {0o600}
    assert {path.name for path in backup.iterdir()} == {
        "backup.json", "catalog.db", "journal", "recordings", "master.key", "link-keys.json"
    }  # fmt: skip
    assert {path.stem for path in backup.rglob("*.wav")} == {kept["id"], ends_soon["id"]}

    await asyncio.to_thread(restore_backup, backup, DataFolder(tmp_path / "restored"))
    async with recorder(tmp_path / "restored", reconnect_wait_s=0.1) as (client, _):
        assert await fetched(client, kept, ends_soon) == files
        assert path_of(await client.get(kept)) == path_of(kept)
        ran = await client.until(runs_on)
        assert (ran["end_reason"], ran["duration_ms"] >= 500) == ("recovered", True)
        assert is_said_in(await client.fetch(ran))
        assert (await client.http.get(f"/v1/recordings/{erased_soon['id']}")).json()["status"] == "deleted"


async def test_calls_that_run_while_a_backup_is_made_are_all_there_after_a_restore(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with recorder(data) as (client, _):
        before = [await recorded(client, f"before-{number}") for number in range(3)]
        running = [await begun(client, f"runs-{number}") for number in range(6)]
        await until(lambda: are_written(data, 6))

        async def end_some() -> list[dict[str, Any]]:
            for recording, socket in running[:3]:
                await socket.close()
                await client.until(recording)
            return [await recorded(client, f"meanwhile-{number}") for number in range(3)]

        made, meanwhile = await asyncio.gather(asyncio.to_thread(make_backup, DataFolder(data), backup), end_some())
        known = [*before, *(recording for recording, _ in running[:3])]
        files = {each["id"]: await client.fetch(await client.until(each)) for each in (*known, *meanwhile)}
        for _, socket in running[3:]:
            await socket.close()

    assert made.lacking == ()
    await asyncio.to_thread(restore_backup, backup, DataFolder(tmp_path / "restored"))
    async with recorder(tmp_path / "restored", reconnect_wait_s=0.1) as (client, _):
        for each in before:
            assert await client.fetch(await client.until(each)) == files[each["id"]]
        for recording, _ in running:
            done = await client.until(recording)
            content = await client.fetch(done)
            assert content == files.get(recording["id"]) or done["end_reason"] == "recovered"
            assert is_said_in(content)
        for each in meanwhile:
            answer = await client.http.get(f"/v1/recordings/{each['id']}")
            assert answer.status_code == 404 or await client.fetch(await client.until(each)) == files[each["id"]]


async def test_a_recording_that_was_erased_is_said_in_no_journal_of_a_backup(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    async with recorder(data) as (client, _):
        recording, socket = await begun(client, "erased")
        loop = asyncio.get_running_loop()

        async def erase_it() -> None:
            await socket.close()
            await client.until(recording)
            await erase(client, recording)

        def meanwhile(what: str, _done: int) -> None:
            if what == "catalog" and not erased:
                erased.append(True)
                asyncio.run_coroutine_threadsafe(erase_it(), loop).result(30)

        erased: list[bool] = []
        await asyncio.to_thread(make_backup, DataFolder(data), backup, on_progress=meanwhile)

    assert erased
    assert {path.name for path in backup.rglob("*") if path.is_file()} == {
        "backup.json", "catalog.db", "master.key", "link-keys.json"
    }  # fmt: skip
