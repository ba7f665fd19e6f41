"""A real server on a disk without any room: it says so, erases, serves, and starts again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.listening import beeps
from tests.support.recorder import Recorder, ServerProcess, hear
from tests.support.small_disk import SmallDisk, needs_a_small_disk, small_disk
from tests.support.waiting import until
from wavstream.simulator.caller import Leg
from wavstream.storage.reserve_file import RESERVE_BYTES

pytestmark = needs_a_small_disk
RATE_HZ = 8000
SIZE_BYTES = 48 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, size_bytes=SIZE_BYTES) as mounted:
        yield mounted


def a_server(disk: SmallDisk) -> ServerProcess:
    server = ServerProcess(disk.folder / "data", limits__min_free_bytes=1 << 20)
    server.enter = disk.enter
    return server


async def recorded(client: Recorder, session_id: str) -> dict[str, Any]:
    """Return a recording of a call that is over, with its file."""
    recording = await client.start(session_id)
    samples = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=600.0, offset_s=0.3)[:, None]
    await client.play_at_once(session_id, Leg("a", samples, RATE_HZ))
    return await client.until(recording)


async def not_ready(client: Recorder) -> list[str]:
    answer = await client.http.get("/readyz")
    return list(answer.json()["reasons"]) if answer.status_code == 503 else []


async def erase(client: Recorder, recording: dict[str, Any]) -> tuple[int, int]:
    """Delete a recording; return the answer, and that of a look at it."""
    deleted = await client.http.delete(f"/v1/recordings/{recording['id']}")
    return deleted.status_code, (await client.http.get(recording["url"])).status_code


def expire(disk: SmallDisk, recording: dict[str, Any]) -> None:
    """Let the hours of a recording be over; the server does not run."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()"
    change = f"UPDATE recordings SET expires_us = 1 WHERE id = '{recording['id']}'"
    subprocess.run([*disk.enter, sys.executable, "-c", script, disk.folder / "data" / "catalog.db", change], check=True)


async def test_on_a_full_disk_the_server_says_so_erases_serves_and_starts_again(disk: SmallDisk) -> None:
    async with a_server(disk) as server:
        client = await server.start()
        deleted, due, kept, later = [await recorded(client, f"call-{number}") for number in range(4)]
        assert await not_ready(client) == []
        disk.fill()
        (reason,) = await until(lambda: not_ready(client))
        erased = [await erase(client, deleted)]
        heard = [hear(await client.fetch(kept))[0].shape]
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0

        disk.empty()
        expire(disk, due)
        disk.fill()
        client = await server.start()
        said = {line["event"] for line in server.said}
        swept = await client.until(due, "expired")
        heard.append(hear(await client.fetch(await client.get(kept)))[0].shape)
        disk.fill()  # what was erased has made room
        erased.append(await erase(client, await client.get(later)))
        disk.empty()
        await until(lambda: (disk.seen / "data" / "reserve").stat().st_size == RESERVE_BYTES)

        async def is_ready() -> bool:
            return await not_ready(client) == []

        await until(is_ready)
        again = await recorded(client, "again")
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0

    assert "the disk is full" in reason
    assert erased == [(204, 404)] * 2
    assert (swept["status"], again["status"]) == ("expired", "available")
    assert heard[0] == heard[1]
    assert "disk_full" in said
    files = {path.name for path in (disk.seen / "data" / "recordings").rglob("*.wav")}
    assert not files & {f"{each['id']}.wav" for each in (deleted, due, later)}


async def test_a_start_that_finds_no_room_and_no_reserve_says_that_the_disk_is_full_and_may_be_tried_again(
    disk: SmallDisk,
) -> None:
    disk.fill()
    code, words = await a_server(disk).fail()
    assert code == 1  # systemd tries again; 2 would be a setting
    assert "the disk is full" in words
