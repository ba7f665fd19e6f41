"""The journal's disk takes no write for a while, and reports no error either."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import noise
from tests.support.talking import speak
from tests.support.waiting import until
from wavstream.service.service import Service


class HangingDisk:
    """Writes of journals, which do not return while the gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def put_under(self, service: Service) -> None:
        write_at = service._writer._write_at

        def wait_and_write(fd: int, content: memoryview, offset: int) -> int:
            self.gate.wait()
            return write_at(fd, content, offset)

        service._writer._write_at = wait_and_write


@pytest.fixture
def disk() -> Iterator[HangingDisk]:
    hanging = HangingDisk()
    yield hanging
    hanging.gate.set()


async def readiness_is(client: Recorder, status: int) -> list[str]:
    """Wait for this answer of readiness; return its reasons."""

    async def look() -> list[list[str]]:
        answer = await client.http.get("/readyz")
        return [answer.json().get("reasons", [])] if answer.status_code == status else []

    (reasons,) = await until(look)
    return reasons


async def test_a_disk_that_hangs_turns_readiness_red_and_begins_no_recording_until_it_writes_again(
    disk: HangingDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.journal.writer.HANGS_S", 0.2)
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as socket:
        disk.put_under(service)
        running = await client.start("call-77")
        await readiness_is(client, 200)
        disk.gate.clear()
        await speak(socket, noise(0.5, seed=1))
        (reason,) = await readiness_is(client, 503)
        refused = await client.http.post("/v1/recordings", json={"session_id": "call-77"})
        failing = "wavstream_journal_failing 1.0" in (await client.http.get("/metrics")).text
        disk.gate.set()
        await readiness_is(client, 200)
        well = "wavstream_journal_failing 0.0" in (await client.http.get("/metrics")).text
        listed = (await client.http.get("/v1/recordings")).json()["data"]
        await client.until_received("call-77", 500)
        done = await client.act(running, "stop")

    assert "has not taken a write for" in reason
    assert refused.status_code == 503
    assert failing
    assert well
    assert [each["id"] for each in listed] == [running["id"]]
    assert done["status"] == "available"


@pytest.mark.parametrize("file_format", ["wav", "mp3"])
async def test_a_start_that_was_taken_back_leaves_no_file(
    disk: HangingDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    monkeypatch.setattr("wavstream.recorder.recording.JOURNALED_S", 0.3)
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as socket:
        disk.put_under(service)
        await speak(socket, noise(0.2, seed=1))
        await client.until_received("call-77", 200)
        disk.gate.clear()
        starting = client.http.post("/v1/recordings", json={"session_id": "call-77", "format": file_format})
        answer, _ = await asyncio.gather(starting, speak(socket, noise(0.5, seed=2)))
        await speak(socket, noise(0.5, seed=3))
        await client.until_received("call-77", 1200)
        disk.gate.set()
        taken_back = await client.until(await client.only_recording("call-77"), "absent", "available", "failed")
        word = noise(0.5, seed=4)
        monkeypatch.undo()
        second = await client.start("call-77")
        await speak(socket, word)
        await client.until_received("call-77", 1700)
        samples, _ = hear(await client.fetch(await client.act(second, "stop")))

    assert answer.status_code == 503
    assert taken_back["status"] == "absent"
    assert taken_back["id"] != second["id"]
    assert word[-160:].tobytes() in samples[:, 0].tobytes()
    assert len(list((tmp_path / "recordings").rglob(f"*.{file_format}"))) == (file_format == "wav")
