"""What a real server writes with `log.format=json`: each line of both its outputs is an object, whatever it is of."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from tests.support.recorder import Recorder, recorder
from tests.support.tones import tone
from tests.support.waiting import WAIT_S, until

# A server in which everything fails that can, once it is ready: in the loop, in a thread, in a library, at its end.
NOISY = """
import asyncio, logging, sys, threading, warnings
from wavstream.service import server

def fail():
    raise RuntimeError("two\\nlines")

class Unclean:
    def __del__(self):
        fail()

async def forgotten():
    fail()

def make_noise():
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    loop.create_task(forgotten())
    threading.Thread(target=fail).start()
    Unclean()
    warnings.warn("a warning")
    logging.getLogger("asyncio").warning("two\\nlines of %s", "a library")
    logging.getLogger("sqlalchemy.pool").error("%d arguments that do not fit", "no")

def serve_and_fail(settings, serve=server.serve):
    serve(settings)
    fail()

class Noisy(server.Garbage):
    def __enter__(self):
        super().__enter__()
        make_noise()

server.Garbage, server.serve = Noisy, serve_and_fail
from wavstream.cli.main import main
sys.argv[1:] = ["serve", "--port", "0"]
main()
"""


@asynccontextmanager
async def written_by(*command: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[Any]]]:
    """Run Python and yield it with the objects that it has written so far; both outputs are read to their end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "WAVSTREAM_LOG__FORMAT": "json", **environment},
    )
    said: list[Any] = []

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield process, said
        await asyncio.wait_for(reading, WAIT_S)
        await asyncio.wait_for(process.wait(), WAIT_S)
    finally:
        reading.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_each_line_of_a_server_in_which_everything_fails_is_an_object(tmp_path: Path) -> None:
    environment = {"WAVSTREAM_DATA_DIR": str(tmp_path), "WAVSTREAM_API_KEY": "the-key-of-the-default-app"}
    async with written_by("-c", NOISY, **environment) as (process, said):
        (ready,) = await until(lambda: [line["url"] for line in said if line["event"] == "server_ready"])
        url = urlsplit(ready)
        for sent in (b"\x16\x03\x01 what is no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: nothing\r\n\r\n"):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(sent)
            await reader.read(100)
            writer.close()
        client = Recorder(ready, key="a-key-that-is-wrong")
        assert (await client.http.get("/v1/recordings")).status_code == 401
        with suppress(InvalidStatus):
            async with client.connect("/media/nosuch/call-77/a"):
                pass
        await client.http.aclose()
        await until(lambda: {"loop_exception", "connection_refused"} <= {line["event"] for line in said})
        process.send_signal(signal.SIGTERM)
    events = {line["event"] for line in said}
    assert events >= {
        "connection_refused", "key_refused", "library_line", "loop_exception", "media_handshake_refused",
        "server_stopped", "thread_exception", "uncaught_exception", "unraisable_exception",
    }  # fmt: skip
    assert {line["logger"] for line in said if line["event"] == "library_line"} >= {
        "asyncio", "py.warnings", "sqlalchemy.pool",
    }  # fmt: skip
    assert all({"event", "level", "timestamp"} <= set(line) for line in said)
    (refused,) = [line for line in said if line["event"] == "media_handshake_refused"]
    assert (refused["address"], refused["status"]) == ("127.0.0.1", 404)
    assert "a-key-that-is-wrong" not in str(said)


async def test_why_a_server_does_not_start_is_an_object_too(tmp_path: Path) -> None:
    settings = tmp_path / "wrong.toml"
    settings.write_text('[log]\nformat = "json"\n[recording]\nformat = "ogg"\n')
    for arguments, environment in (
        (("--port", "0"), {"WAVSTREAM_TWILIO__APP": "nosuch"}),
        (
            ("--config", str(settings)),
            {"WAVSTREAM_LOG__FORMAT": "", "WAVSTREAM_QUOTAS__APPS": "{", "WAVSTREAM_LOG__LEVEL": "loud"},
        ),
        (("--prot", "0", f"--config={settings}"), {"WAVSTREAM_LOG__FORMAT": ""}),
    ):
        environment = {"WAVSTREAM_DATA_DIR": str(tmp_path / "data"), **environment}
        async with written_by("-m", "wavstream", "serve", *arguments, **environment) as (process, said):
            pass
        assert process.returncode == 2
        assert [(line["event"], line["level"]) for line in said if line["level"] == "error"] == [
            ("command_refused", "error")
        ]


async def test_a_call_leaves_a_line_for_each_thing_that_happens_to_it(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with recorder(tmp_path, start_wait_s=60.0) as (client, _):
            recording = await client.start("call-77")
            async with client.connect("/media/pcm/call-77/a") as socket:
                await socket.send(tone(440.0, 0.3).tobytes())
                await client.until_received("call-77", 100)
                await client.act(recording, "pause")
                await client.act(recording, "resume")
                await client.act(recording, "stop")
            for range_ in ("bytes=0-99", "bytes=100-199"):
                part = await client.http.get(recording["url"], headers={"Range": range_})
                assert part.status_code == 206
            await until(lambda: "session_over" in [line["event"] for line in logs])
            assert (await client.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 204
    ours = [line for line in logs if line["log_level"] == "info"]
    assert [line["event"] for line in ours] == [
        "session_opened", "recording_accepted", "recording_started", "recording_paused", "recording_resumed",
        "recording_ended", "recording_published", "session_over", "recording_erased", "recording_fetched",
    ]  # fmt: skip
    assert {line["app_id"] for line in ours} == {"default"}
    assert {line.get("session_id", "call-77") for line in ours} == {"call-77"}
    assert {line.get("recording_id", recording["id"]) for line in ours} == {recording["id"]}
    by_event = {line["event"]: line for line in ours}
    assert (by_event["recording_ended"]["reason"], by_event["recording_ended"]["lost_ms"]) == ("stopped", 0)
    assert (by_event["recording_fetched"]["requests"], by_event["recording_fetched"]["sent_bytes"]) == (2, 200)
    assert by_event["recording_paused"]["by"] == "api"
