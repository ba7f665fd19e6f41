"""Every kind of bad input gets its documented answer, and nothing that was recorded is lost by it."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import struct
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.listening import beeps, find_beeps
from tests.support.processes import run
from tests.support.recorder import Recorder, Wall, close_code, recorder
from tests.support.waiting import WAIT_S
from wavstream.access.keys import KeyDigests
from wavstream.model.app import App
from wavstream.settings import Limits

RATE_HZ = 8000
TONE_HZ = 700.0
TONE = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.3).tobytes()


async def refused(client: Recorder, path: str, **headers: str) -> InvalidStatus:
    """Return the refusal of a handshake."""
    connecting = client.connect(path)
    connecting.additional_headers = headers
    with pytest.raises(InvalidStatus) as refusal:
        await connecting
    return refusal.value


@pytest.mark.parametrize("path", ["/media/morse/call-77/a", "/elsewhere", "/media/pcm/a/b/c"])
async def test_an_unknown_dialect_or_path_is_404_before_the_upgrade(tmp_path: Path, path: str) -> None:
    async with recorder(tmp_path) as (client, _):
        refusal = await refused(client, path)
    assert refusal.response.status_code == 404
    assert refusal.response.headers["content-type"] == "application/problem+json"


async def test_no_key_or_a_wrong_one_is_401_before_the_upgrade(tmp_path: Path) -> None:
    async with recorder(tmp_path, api_key="right-key-of-the-default-app") as (client, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert (await refused(client, "/media/pcm/call-77/a", **headers)).response.status_code == 401
        assert (await client.http.get("/v1/recordings")).status_code == 401
        async with client.connect("/media/pcm/call-77/a?token=right-key-of-the-default-app&app=default"):
            pass


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ("not json", 1007, "text"),
        ('["a list"]', 1007, "text"),
        ('{"event":"dtmf","digit":"55"}', 1007, "digit"),
        (b"\0\0\0", 1007, "payload"),
        (bytes(1024 * 1024 + 2), 1009, ""),
    ],
    ids=["text that is not JSON", "JSON of the wrong shape", "a wrong field", "half a sample", "over 1 MiB"],
)
async def test_a_bad_message_closes_its_own_stream_and_the_other_leg_goes_on(
    tmp_path: Path, message: str | bytes, code: int, field: str
) -> None:
    async with recorder(tmp_path, reconnect_wait_s=0.2) as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a") as bad, client.connect("/media/pcm/call-77/b") as good:
            await bad.send(TONE)
            await good.send(TONE)
            await client.until_streaming("call-77", 2)
            await bad.send(message)
            closed, reason = await close_code(bad)
            assert closed == code
            assert field in (reason or "")
            await good.send(TONE)
            await client.until_received("call-77", 2_000)
        samples, rate_hz = await client.listen(recording)
    assert len(find_beeps(samples[:, 0], rate_hz, TONE_HZ)) == 1
    assert len(find_beeps(samples[:, 1], rate_hz, TONE_HZ)) == 2


async def test_an_unknown_event_is_ignored_and_counted(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        await socket.send('{"event":"weather"}')
        await socket.send(TONE)
        await client.until_streaming("call-77", 1)
        metrics = (await client.http.get("/metrics")).text
    assert 'wavstream_ignored_messages_total{reason="unknown_event"} 1.0' in metrics


@pytest.mark.parametrize(
    ("query", "field"),
    [("codec=opus", "codec"), ("rate=4000", "rate"), ("channels=3", "channels"), ("clock=wall", "clock")],
)
async def test_a_bad_stream_parameter_closes_with_a_reason_that_names_it(
    tmp_path: Path, query: str, field: str
) -> None:
    async with recorder(tmp_path) as (client, _), client.connect(f"/media/pcm/call-77/a?{query}") as socket:
        code, reason = await close_code(socket)
    assert code == 1008
    assert field in (reason or "")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\x04abcd", 1002),
        (b"\xc2\x84\0\0\0\0abcd", 1002),
        (b"\x83\x84\0\0\0\0abcd", 1002),
        (b"\x82\xff" + struct.pack(">Q", 1 << 40) + bytes(4), 1009),
    ],
    ids=["unmasked", "a reserved bit", "a reserved opcode", "a length of a terabyte"],
)
async def test_a_broken_frame_is_answered_with_the_code_of_rfc_6455(tmp_path: Path, frame: bytes, code: int) -> None:
    async with recorder(tmp_path) as (client, _), asyncio.timeout(WAIT_S):
        host, port = client.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /media/pcm/call-77/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(frame)
        answer = await reader.readexactly(4)
        writer.close()
        await writer.wait_closed()
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code


async def test_a_start_with_bad_options_names_every_field_and_starts_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        bad: dict[str, object] = {"session_id": "", "format": "ogg", "channels": "quad", "sample_rate": "8000", "x": 1}
        bad["retention_hours"] = 0
        answer = await client.http.post("/v1/recordings", json=bad)
        listed = (await client.http.get("/v1/recordings")).json()["data"]
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["pointer"] for error in answer.json()["errors"]} == {f"/{name}" for name in bad}
    assert listed == []


async def test_a_command_that_does_not_fit_the_state_is_409_with_the_state(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        await socket.send(TONE)
        await client.until_streaming("call-77", 1)
        recording = await client.start("call-77")
        path = f"/v1/recordings/{recording['id']}"
        answers: dict[str, list[tuple[int, str | None]]] = {}
        for action in ("resume", "pause", "pause", "resume", "stop", "stop", "pause"):
            answer = await client.http.post(f"{path}/{action}")
            answers.setdefault(action, []).append((answer.status_code, answer.json().get("state")))
    assert answers == {
        "resume": [(409, "ongoing"), (200, None)],
        "pause": [(200, None), (409, "paused"), (409, "absent")],
        "stop": [(200, None), (409, "absent")],
    }


async def test_a_start_with_an_idempotency_key_used_before_gives_the_first_answer_again(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        starts = [
            client.http.post("/v1/recordings", json={"session_id": "call-77"}, headers={"Idempotency-Key": "once"})
            for _ in range(3)
        ]
        answers = await asyncio.gather(*starts)
        listed = (await client.http.get("/v1/recordings")).json()["data"]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert {answer.json()["id"] for answer in answers} == {listed[0]["id"]}
    assert len(listed) == 1


async def test_links_answer_416_403_and_after_expiry_404_with_an_empty_body(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, wall=wall) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77", retention_hours=1)
        await socket.send(TONE)
        await client.until_received("call-77", 1_000)
        early = await client.http.get(recording["url"])
        assert (early.status_code, "retry-after" in early.headers) == (404, True)
        done = await client.act(recording, "stop")
        whole = await client.fetch(done)
        part = await client.http.get(done["url"], headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20])
        outside = await client.http.get(done["url"], headers={"Range": f"bytes={len(whole)}-"})
        assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{len(whole)}")
        forged = done["url"].replace(done["url"].split("/")[5], "x" * 40)
        assert (await client.http.get(forged)).status_code == 403
        redirect = await client.http.get(f"/v1/recordings/{done['id']}.wav")
        assert redirect.status_code == 307
        signed = redirect.headers["location"]
        assert (await client.http.get(signed)).content == whole
        wall.ahead = timedelta(seconds=3_590)
        assert (await client.http.get(done["url"])).status_code == 200
        assert (await client.http.get(signed)).status_code == 403
        wall.ahead = timedelta(seconds=3_601)
        for link in (done["url"], signed):
            gone = await client.http.get(link)
            assert (gone.status_code, gone.content) == (404, b"")


async def test_another_apps_recording_or_session_is_404_on_every_route(tmp_path: Path) -> None:
    wall = Wall()
    async with recorder(tmp_path, api_key="key-of-the-default-app", wall=wall) as (client, service):
        mine = Recorder(client.base_url, key="key-of-the-default-app")
        other = Recorder(client.base_url, key="key-of-the-other-app")
        key = "key-of-the-other-app"
        secrets = KeyDigests(service.master).kept(key)
        assert await service.catalog.apps.add(App("other", created_at=wall()), **secrets)
        recording = await mine.start("call-77")
        path = f"/v1/recordings/{recording['id']}"
        unknown = await other.http.get("/v1/recordings/" + "0" * 32)
        for method, route in [
            ("GET", path), ("DELETE", path), ("POST", f"{path}/stop"), ("POST", f"{path}/pause"),
            ("POST", f"{path}/resume"), ("GET", f"{path}.wav"), ("GET", "/v1/sessions/call-77"),
        ]:  # fmt: skip
            answer = await other.http.request(method, route)
            assert answer.status_code == 404, route
            if route == path and method == "GET":
                assert answer.json() == unknown.json()
        assert (await other.http.get("/v1/recordings")).json()["data"] == []
        assert (await other.http.get("/v1/sessions")).json()["data"] == []
        for each in (mine, other):
            await each.http.aclose()


def serve_fails(**environment: str) -> str:
    """Return what `wavstream serve` prints when it cannot start; it must end by itself with exit code 2."""
    code, said = run("serve", environment={"WAVSTREAM_PORT": "0", **environment})
    assert code == 2
    return said.strip()


def test_a_server_that_cannot_start_says_in_one_line_what_to_do(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    # This one as a shell starts it, with all imports before it.
    ended = subprocess.run(
        [sys.executable, "-m", "wavstream", "serve"],
        env={**os.environ, "WAVSTREAM_DATA_DIR": str(in_the_way)}, capture_output=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    said = ended.stderr.decode().strip()
    assert ended.returncode == 2
    assert "WAVSTREAM_DATA_DIR" in said
    assert len(said.splitlines()) == 1
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        said = serve_fails(WAVSTREAM_DATA_DIR=str(tmp_path), WAVSTREAM_PORT=str(taken.getsockname()[1]))
    assert "is taken" in said
    assert len(said.splitlines()) == 1
    said = serve_fails(WAVSTREAM_DATA_DIR=str(tmp_path), WAVSTREAM_HOLD_S="soon")
    assert "WAVSTREAM_HOLD_S" in said
    assert len(said.splitlines()) == 1
    said = serve_fails(WAVSTREAM_DATA_DIR=str(tmp_path), WAVSTREAM_HOST="0.0.0.0")
    assert "wavstream apps add" in said


async def test_a_second_server_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    async with recorder(tmp_path):
        said = await asyncio.to_thread(serve_fails, WAVSTREAM_DATA_DIR=str(tmp_path))
    assert "another wavstream uses the data folder" in said


async def test_a_full_disk_refuses_new_recordings_and_says_so(tmp_path: Path) -> None:
    async with recorder(tmp_path, limits=Limits(min_free_bytes=1 << 60)) as (client, _):
        answer = await client.http.post("/v1/recordings", json={"session_id": "call-77"})
    assert answer.status_code in (429, 503)
    assert "retry-after" in answer.headers
    assert "min_free_bytes" in answer.json()["detail"]
