"""How long a recording can be fetched, on a real server whose wall clock is put forward."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from structlog.testing import capture_logs

from tests.support.listening import beeps
from tests.support.postgres import BOTH
from tests.support.recorder import Recorder, ServerProcess, Wall, close_code, recorder
from tests.support.traces import content_of, files_below
from tests.support.waiting import until
from wavstream.service.service import Service
from wavstream.simulator.caller import Leg

DATABASES = BOTH

RATE_HZ = 8000
HOLD = {"by": "legal", "reason": "case 4711"}


def leg() -> Leg:
    return Leg("a", beeps(1.0, rate_hz=RATE_HZ, frequency_hz=600.0, offset_s=0.3)[:, None], RATE_HZ)


async def recorded(client: Recorder, session_id: str = "call-77", **options: object) -> dict[str, Any]:
    """Return a recording of a call that is over, with its file."""
    recording = await client.start(session_id, **options)
    await client.play_at_once(session_id, leg())
    return await client.until(recording)


async def ask_everywhere(client: Recorder, recording: dict[str, Any], signed: list[str]) -> list[httpx.Response]:
    """Every way to the file: its own link, whole, in part and by HEAD; both routes by extension; signed links."""
    link = recording["url"]
    routes = [f"/v1/recordings/{recording['id']}.{ext}" for ext in ("wav", "mp3")]
    return [
        await client.http.get(link),
        await client.http.get(link, headers={"Range": "bytes=0-99"}),
        await client.http.head(link),
        *[await client.http.request(method, route) for route in routes for method in ("GET", "HEAD")],
        *[await client.http.get(each) for each in signed],
    ]


async def until_reconciled(service: Service) -> None:
    await until(lambda: service.recovery.reconciled)


def is_bare_404(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.content, "location" in answer.headers) == (404, b"", False)


def files_of_recordings(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder / "recordings") for name in names]  # while folders are deleted


async def test_after_its_hours_every_way_to_a_recording_is_a_bare_404(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall, links={"ttl_s": 604_800}) as (client, _):
        recording = await recorded(client)
        signed = [
            (await client.http.get(f"/v1/recordings/{recording['id']}.{ext}")).headers["location"]
            for ext in ("wav", "mp3")
        ]
        wall.ahead = timedelta(hours=23, minutes=59)
        before = await ask_everywhere(client, recording, signed)
        wall.ahead = timedelta(hours=24)
        after = await ask_everywhere(client, recording, signed)

    assert [answer.status_code for answer in before] == [200, 206, 200, 307, 307, 307, 307, 200, 200]
    assert [is_bare_404(answer) for answer in after] == [True] * len(after)


async def test_every_answer_says_for_how_long_a_recording_is_kept(tmp_path: Path) -> None:
    async with recorder(tmp_path, retention={"hours": 30}) as (client, _):
        answers = [
            await client.start("call-77"),
            await client.start("call-77", retention_hours=None),
            await client.start("call-77", retention_hours=5),
            await recorded(client, "call-78"),
        ]
    kept = datetime.fromisoformat(answers[-1]["expires_at"]) - datetime.fromisoformat(answers[-1]["ended_at"])
    assert ([answer["retention_hours"] for answer in answers], kept) == ([30, 30, 5, 30], timedelta(hours=30))


async def test_a_held_recording_is_fetched_beyond_its_hours_and_a_restart_until_it_is_released(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall, retention={"sweep_interval_s": 0.05}) as (client, _):
        recording = await client.start("call-77")
        held = await client.http.post(f"/v1/recordings/{recording['id']}/hold", json=HOLD)
        await client.play_at_once("call-77", leg())
        await client.until(recording)
        assert held.json()["hold"].items() >= HOLD.items()
    wall.ahead = timedelta(hours=25)
    async with recorder(tmp_path, wall=wall, retention={"sweep_interval_s": 0.05}) as (client, _):
        other = await client.start("call-78", retention_hours=1)
        await client.play_at_once("call-78", leg())
        await client.until(other)
        wall.ahead = timedelta(hours=27)
        await client.until(other, "expired")
        # The sweeper comes by; the held one stays, with its sidecar and its waveform.
        await until(lambda: len(files_of_recordings(tmp_path)) <= 3)
        link = (await client.get(recording))["url"]
        kept = await client.http.get(link)
        erased = await client.http.delete(f"/v1/recordings/{recording['id']}")
        released = await client.http.delete(f"/v1/recordings/{recording['id']}/hold")
        gone = await client.http.get(link)
        await until(lambda: not files_of_recordings(tmp_path))

    assert (kept.status_code, erased.status_code) == (200, 409)
    assert released.json()["status"] == "expired"
    assert is_bare_404(gone)


async def test_a_hold_of_a_running_recording_survives_a_kill(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, reconnect_wait_s=0) as server:
        client = await server.start()
        recording = await client.start("call-77")
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(bytes(16_000))
        journal = tmp_path / "journal"
        await until(lambda: sum(len(content_of(path)) for path in files_below(journal)) >= 16_000)
        await client.http.post(f"/v1/recordings/{recording['id']}/hold", json=HOLD)
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        socket.transport.abort()
        client = await server.start()
        done = await client.until(recording)
        await client.http.aclose()

    assert done["hold"].items() >= HOLD.items()
    sidecar = (tmp_path / "recordings").rglob("*.json")
    assert [HOLD["reason"] in path.read_text("utf-8") for path in sidecar] == [True]


async def test_where_another_store_serves_the_files_the_address_is_its_and_nothing_expires(tmp_path: Path) -> None:
    wall, base = Wall(), "https://archive.example.com/calls"
    settings = {"recording_base_url": base, "retention": {"sweep_interval_s": 0.05}}
    async with recorder(tmp_path, wall=wall, **settings) as (client, _):
        recording = await recorded(client, retention_hours=1)
        wall.ahead = timedelta(days=9999)
        own = await client.http.get(f"/v1/recordings/{recording['id']}.wav", follow_redirects=True)
        after = await client.get(recording)
    object_key = recording["url"].removeprefix(f"{base}/")
    file = tmp_path / "recordings" / object_key
    assert (own.content, after["status"], after["expires_at"]) == (file.read_bytes(), "available", None)

    file.unlink()  # that store has taken it
    with capture_logs() as logs:
        async with recorder(tmp_path, wall=wall, **settings) as (client, service):
            await until_reconciled(service)
            moved = await client.get(recording)
            erased = await client.http.delete(f"/v1/recordings/{recording['id']}")
    assert (moved["status"], moved["url"], erased.status_code) == ("available", recording["url"], 204)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []


async def test_a_call_from_which_nothing_comes_any_more_has_its_file_when_its_stream_is_closed(tmp_path: Path) -> None:
    async with recorder(tmp_path, orphan_after_s=1.0) as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a") as socket:
            await socket.send(bytes(3_200))
            code, reason = await close_code(socket)
            fetched = await client.http.get(recording["url"])
            ended = await client.get(recording)

    assert (code, reason) == (1001, "orphaned: nothing came for too long")
    assert (fetched.status_code, ended["end_reason"]) == (200, "disconnected")
