"""A server that is told to go goes: in each moment of its start, as process 1 too, and with downloads under way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.support.listening import beeps
from tests.support.recorder import ServerProcess
from tests.support.waiting import WAIT_S, until

RATE_HZ = 48_000
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


def _as_in_a_terminal() -> None:
    # Who runs the tests in the background of a script has SIGINT ignored, and a process inherits that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def serve(
    data_dir: Path, *options: str, before: tuple[str, ...] = (), python: tuple[str, ...] = ()
) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "WAVSTREAM_DATA_DIR": str(data_dir),
        "WAVSTREAM_PORT": "0",
        "WAVSTREAM_LOG__FORMAT": "json",
        "WAVSTREAM_HTTP__SHUTDOWN_TIMEOUT_S": "1",
    }
    return await asyncio.create_subprocess_exec(
        *before, sys.executable, *python, "-m", "wavstream", "serve", *options,
        stderr=asyncio.subprocess.PIPE, env=environment, preexec_fn=_as_in_a_terminal,
    )  # fmt: skip


async def said(process: asyncio.subprocess.Process, words: str) -> None:
    """Wait until the process has written a line with these words."""
    assert process.stderr is not None
    async with asyncio.timeout(WAIT_S):
        while words not in (line := (await process.stderr.readline()).decode()):
            assert line, f"it ended before it said {words}"


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    _, err = await asyncio.wait_for(process.communicate(), WAIT_S)
    return process.returncode, err.decode()


@SIGNALS
async def test_a_signal_while_modules_are_imported_ends_it_without_a_word(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = await serve(tmp_path, python=("-X", "importtime"))
    await said(process, "rich")
    process.send_signal(number)
    code, words = await ended(process)
    assert (code, [line for line in words.splitlines() if not line.startswith("import time:")]) == (-number, [])


async def test_a_signal_before_the_port_is_bound_ends_it(tmp_path: Path) -> None:
    config = tmp_path / "wavstream.toml"
    os.mkfifo(config)
    process = await serve(tmp_path, "--config", str(config))
    with await asyncio.to_thread(config.open, "w"):  # it reads its settings now, and waits for more of them
        process.send_signal(signal.SIGTERM)
        assert (await ended(process))[0] == -signal.SIGTERM


@SIGNALS
async def test_a_signal_while_the_catalog_is_migrated_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("CREATE TABLE mine (id)")
    other.execute("BEGIN EXCLUSIVE")  # whoever migrates waits for this
    process = await serve(tmp_path)
    await until((tmp_path / "link-keys.json").exists)  # made in the step before
    process.send_signal(number)
    code, err = await ended(process)
    assert code == 0, err
    assert "Traceback" not in err
    other.close()


async def test_a_signal_during_recovery_ends_it_and_the_next_start_recovers(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, reconnect_wait_s=0) as server:
        client = await server.start()
        recording = await client.start("call-77")
        media = await client.connect("/media/pcm/call-77/a")
        await media.send(beeps(1.0, rate_hz=8000, frequency_hz=700.0).tobytes())
        await until(lambda: sum(each.stat().st_size for each in (tmp_path / "journal").iterdir()) > 16_000)
        await server.end(signal.SIGKILL)
        media.transport.abort()
        await client.http.aclose()
        client = await server.start()
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0  # recovery runs, or has just run
        client = await server.start()
        assert (await client.until(recording))["duration_ms"] > 900
        await client.http.aclose()


@pytest.mark.parametrize("moment", ["import", "migration", "ready"])
async def test_as_process_1_it_ends_at_each_of_these_moments_too(tmp_path: Path, moment: str) -> None:
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs unshare, and to be root")
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    if moment == "migration":
        other.execute("CREATE TABLE mine (id)")
        other.execute("BEGIN EXCLUSIVE")
    unshare = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    python = ("-X", "importtime") if moment == "import" else ()
    process = await serve(tmp_path, before=unshare, python=python)
    try:
        match moment:
            case "import":
                await said(process, "rich")
            case "migration":
                await until((tmp_path / "link-keys.json").exists)
            case _:
                await said(process, "server_ready")
        children = await asyncio.to_thread(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text)
        os.kill(int(children), signal.SIGTERM)
        code, err = await ended(process)
    finally:
        if process.returncode is None:
            process.kill()
        other.close()
    assert code == (143 if moment == "import" else 0), err


async def test_a_slow_download_keeps_a_server_that_stops_for_so_long_and_no_longer(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, http__shutdown_timeout_s=1, reconnect_wait_s=0) as server:
        client = await server.start()
        recording = await client.start("call-77")
        async with client.connect(f"/media/pcm/call-77/a?rate={RATE_HZ}") as media:
            second = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=700.0).tobytes()
            for _ in range(90):
                await media.send(second)
        file = await client.until(recording, "available", "recovered")
        address = client.http.base_url
        with socket.socket() as slow, socket.create_connection((address.host, address.port)) as late:
            late.sendall(b"POST /v1/recordings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect((address.host, address.port))
            path = file["url"].removeprefix(str(address).rstrip("/"))
            slow.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n\r\n".encode())
            assert slow.recv(12) == b"HTTP/1.1 200"
            assert await server.end(signal.SIGTERM) == 0
            late.settimeout(WAIT_S)
            assert late.recv(12) == b"HTTP/1.1 503"
        said = [json.loads(line) for line in server.last_words]
        cut_off = [each for each in said if each["event"] == "requests_cut_off"]
        assert [(each["count"], each["timeout_s"]) for each in cut_off] == [(2, 1)]
        assert {each["level"] for each in said} <= {"info", "warning"}
        assert not [each for each in said if each["event"] == "library_line"]
        await client.http.aclose()
