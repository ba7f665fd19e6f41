"""Strangers at the port of a real server: what each may hold is bounded, and calls go on beside them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.support.listening import beeps, find_beeps
from tests.support.media_plane import PATIENCE_S, RawPeer, client_frame, upgrade
from tests.support.recorder import Recorder, ServerProcess, close_code, recorder
from tests.support.waiting import until
from wavstream.api.registry import FACADES
from wavstream.service.deadlines import Refusal
from wavstream.service.server import running
from wavstream.settings import HttpSettings, Settings
from wavstream.settings.tables import MediaSettings

RATE_HZ = 8000
TONE_HZ = 700.0
TONE = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.3).tobytes()
KEY = "right-key-of-the-default-app"


@asynccontextmanager
async def stranger(client: Recorder, sent: bytes = b"") -> AsyncIterator[RawPeer]:
    """Yield a peer without a key that has sent this."""
    address = urlsplit(client.base_url)
    peer = RawPeer(*await asyncio.open_connection(address.hostname, address.port))
    peer.send(sent)
    try:
        yield peer
    finally:
        peer.writer.transport.abort()


async def metric(client: Recorder, name: str) -> float:
    """Return a sample of /metrics by its name and labels."""
    lines = (await client.http.get("/metrics")).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 40_000,
        upgrade("/media/pcm/s/a", extra="X: " + "a" * 33_000 + "\r\n"),
        upgrade("/media/pcm/s/a", extra="X: y\r\n" * 100),
    ],
    ids=["a request", "an upgrade", "an upgrade of many lines"],
)
async def test_a_head_that_is_too_large_is_431_and_counted(tmp_path: Path, sent: bytes) -> None:
    async with recorder(tmp_path, api_key=KEY) as (client, _), stranger(client, sent) as peer:
        status, headers, _ = await peer.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert await metric(client, 'wavstream_refused_connections_total{reason="head_too_large"}') == 1


async def test_a_call_is_recorded_whole_while_strangers_hold_what_they_can(tmp_path: Path) -> None:
    http = HttpSettings(connections=100, waiting_per_address=80, head_timeout_s=2.0)
    async with recorder(tmp_path, api_key=KEY, http=http) as (client, service):
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        address = urlsplit(client.base_url)
        with ExitStack() as strangers:

            async def come(number: int) -> None:
                for _ in range(number):
                    each = strangers.enter_context(socket.socket())
                    each.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(each, (address.hostname, address.port))
                    each.send(b"GET /media/pcm HTTP/1.1\r\nX: ")

            await come(120)
            recording = await client.start("call-77")
            async with client.connect(f"/media/pcm/call-77/a?token={KEY}") as leg:
                await leg.send(TONE[: len(TONE) // 2])
                await come(120)
                await leg.send(TONE[len(TONE) // 2 :])
                await client.until_received("call-77", 1_000)
            samples, rate_hz = await client.listen(recording)  # it was hung up
        assert len(find_beeps(samples[:, 0], rate_hz=rate_hz, frequency_hz=TONE_HZ)) == 1
        assert len(samples) == RATE_HZ
        assert service.front.refused[Refusal.GAVE_WAY] >= 100
        assert service.front.refused[Refusal.FULL] == 0
        await until(lambda: service.front.connections.waiting < 10)


async def test_more_streams_from_one_address_than_may_wait_are_all_let_in(tmp_path: Path) -> None:
    http = HttpSettings(waiting_per_address=20)
    async with recorder(tmp_path, http=http) as (client, service), asyncio.TaskGroup() as group:
        enough = asyncio.Event()

        async def stream(number: int) -> None:
            async with client.connect(f"/media/pcm/call-{number}/a?rate=8000") as leg:
                await leg.send(TONE[:320])
                await enough.wait()

        for number in range(60):
            group.create_task(stream(number))
            await until(lambda n=number: service.endpoint.counters.streams_opened > n - 15)  # type: ignore[misc]
        await until(lambda: service.endpoint.counters.streams_opened == 60)
        assert not service.front.refused
        enough.set()


async def test_what_comes_in_one_piece_with_an_upgrade_is_not_lost_and_http_1_0_has_none(tmp_path: Path) -> None:
    head = upgrade("/media/pcm/call-77/a?rate=8000")
    async with recorder(tmp_path) as (client, _):
        async with stranger(client, head + client_frame(2, TONE)) as leg:
            assert (await leg.head()).startswith("HTTP/1.1 101")
            await client.until_received("call-77", 1_000)
        async with stranger(client, head.replace(b"HTTP/1.1", b"HTTP/1.0")) as old:
            assert (await old.answer())[0] == 426


async def test_a_listener_to_a_call_that_is_paused_stays(tmp_path: Path) -> None:
    http = HttpSettings(head_timeout_s=0.2, body_timeout_s=0.2, write_timeout_s=0.2)
    async with recorder(tmp_path, http=http) as (client, service):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a?rate=8000") as leg:
            await leg.send(TONE)
            await client.until_received("call-77", 1_000)
            await client.act(recording, "pause")
            request = f"GET /v1/recordings/{recording['id']}/live.wav HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            async with stranger(client, request) as listener:
                assert (await listener.head()).startswith("HTTP/1.1 200")
                await until(lambda: service.live.listeners == 1)
                await asyncio.sleep(0.8)
                assert service.live.listeners == 1
                await client.act(recording, "resume")
                await leg.send(TONE)
                await client.act(recording, "stop")
                async with asyncio.timeout(PATIENCE_S):
                    await listener.reader.readuntil(b"0\r\n\r\n")
        assert not service.front.refused


async def test_downloads_that_nobody_reads_are_cut_off_and_their_files_are_closed(tmp_path: Path) -> None:
    http = HttpSettings(write_timeout_s=0.3)
    async with recorder(tmp_path, http=http, media=MediaSettings(bytes_per_second=100_000_000)) as (client, service):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a?rate=48000&channels=2") as leg:
            for _ in range(20):
                await leg.send(bytes(960_000))
            await client.until_received("call-77", 100_000)
        done = await client.until(recording)  # it was hung up
        path = urlsplit(done["url"]).path

        def open_files() -> int:
            folder = Path("/proc/self/fd")
            return sum(1 for each in folder.iterdir() if os.path.realpath(each).endswith(".wav"))

        async with stranger(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as reader:
            reader.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: open_files() == 1)
            await until(lambda: service.front.refused[Refusal.WRITE_TIMEOUT] == 1)
            await until(lambda: open_files() == 0)


BODIES = {
    "objects": '{"a":' * 10_000,
    "lists": "[" * 60_000,
    **{f"{depth} levels": '{"a":' * depth + "1" + "}" * depth for depth in (100, 400, 900, 990, 3000)},
}


async def test_deep_json_in_a_body_is_a_mistake_of_the_caller_in_every_api(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(port=0, data_dir=tmp_path, api_key=SecretStr(KEY), admin_api_key=SecretStr(KEY))
    async with running(settings) as (service, _), Recorder(service.settings.base_url, key=KEY).http as http:
        with capture_logs() as logs:
            for method, path in await posting(http):
                for case, body in BODIES.items():
                    answer = await http.request(
                        method, path, content=body, headers={"Content-Type": "application/json"}
                    )
                    assert answer.status_code < 500, (method, path, case, answer.text)
        assert [entry for entry in logs if entry["log_level"] == "error"] == []
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def posting(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Return every method and address that takes a body, of every API."""
    found = set()
    for name in ("openapi.json", "openapi/gateway.json", *(f"openapi/{facade.name}.json" for facade in FACADES)):
        document = (await http.get(f"/{name}")).json()
        server = urlsplit((document.get("servers") or [{"url": ""}])[0]["url"]).path
        for path, methods in document["paths"].items():
            address = f"{server.rstrip('/')}{path.replace('{', '').replace('}', '')}"
            found |= {(method.upper(), address) for method in methods if method in ("post", "put", "patch")}
    assert len(found) > 15
    return sorted(found)


async def test_a_stream_that_is_too_fast_is_closed_and_keeps_what_it_sent_before(tmp_path: Path) -> None:
    async with recorder(tmp_path, media=MediaSettings(bytes_per_second=64_000)) as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a?rate=8000") as leg:
            await leg.send(TONE)
            await client.until_received("call-77", 1_000)
            for _ in range(50):
                await leg.send(TONE)
            code, reason = await close_code(leg)
        assert (code, (reason or "").partition(":")[0]) == (1008, "media.bytes_per_second")
        await client.act(recording, "stop")
        samples, rate_hz = await client.listen(recording)
        assert find_beeps(samples[:RATE_HZ, 0], rate_hz=rate_hz, frequency_hz=TONE_HZ)


async def test_a_call_is_recorded_while_strangers_take_the_descriptors_and_the_server_stops_in_good_order(
    tmp_path: Path,
) -> None:
    async with ServerProcess(tmp_path, http__descriptors_kept=100) as server:
        client = await server.start()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (300, 300))
        address = urlsplit(client.base_url)
        with ExitStack() as strangers:
            for _ in range(500):
                each = strangers.enter_context(socket.create_connection((address.hostname, address.port), PATIENCE_S))
                each.sendall(b"GET / HTTP/1.1\r\nX: ")
            recordings = [await client.start(f"call-{number}") for number in range(5)]
            for number in range(5):
                async with client.connect(f"/media/pcm/call-{number}/a?rate=8000") as leg:
                    await leg.send(TONE)
                    await client.until_received(f"call-{number}", 1_000)
            for recording in recordings:
                samples, rate_hz = await client.listen(recording)
                assert len(find_beeps(samples[:, 0], rate_hz=rate_hz, frequency_hz=TONE_HZ)) == 1
            assert await metric(client, 'wavstream_refused_connections_total{reason="gave_way"}') > 100
            assert 100 < await metric(client, "wavstream_connections") < 250
            assert await server.end(signal.SIGTERM) == 0
        await client.http.aclose()


async def test_a_media_address_without_an_upgrade_says_what_a_proxy_must_pass_on(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        answer = await client.http.get("/media/pcm/call-77/a")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert "proxy" in answer.json()["detail"]
