"""``wavstream-health`` says by its exit code how a server is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from wavstream.cli import health
from wavstream.errors import OperatorError
from wavstream.service.server import running
from wavstream.settings import Settings, load

Check = Callable[..., tuple[int, str]]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    async with running(Settings(port=0, data_dir=tmp_path)) as (service, _):
        yield service.settings.port


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(*words: str, port: int | str = "") -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["wavstream-health", *words])
        monkeypatch.setenv("WAVSTREAM_PORT", str(port))
        with pytest.raises(SystemExit) as end:
            health.main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


async def test_a_server_that_is_alive_and_ready_is_well(port: int, check: Check) -> None:
    assert await asyncio.to_thread(check, port=port) == (0, "")
    assert await asyncio.to_thread(check, "--ready", f"http://localhost:{port}") == (0, "")


@pytest.mark.parametrize("kind", ["unix socket", "IPv6", "file"])
async def test_a_server_is_asked_where_its_settings_put_it(
    kind: str, tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.sock"
    host = {"unix socket": f"unix:{path}", "IPv6": "::1,127.0.0.2", "file": "127.0.0.2"}[kind]
    settings = Settings(port=0, data_dir=tmp_path / "data", host=host, api_key=SecretStr("wsk_of_the_operator"))
    async with running(settings) as (service, _):
        port = service.settings.port
        if kind == "file":
            config = tmp_path / "wavstream.toml"
            config.write_text(f'host = ["{host}"]\nport = {port}\n')
            assert await asyncio.to_thread(check, "--config", str(config)) == (0, "")
            return
        monkeypatch.setenv("wavstream_host", f" {host}\n")
        assert await asyncio.to_thread(check, port=f" {port} ") == (0, "")
    assert (await asyncio.to_thread(check, port=port))[0] == 1


@pytest.mark.parametrize(
    ("environment", "file", "url"),
    [
        ({}, {}, "http://127.0.0.1:8080"),
        ({"WAVSTREAM_PORT": ""}, {"port": 9000}, "http://127.0.0.1:9000"),
        ({"wavstream_Port": " 09001\n"}, {"port": 9000}, "http://127.0.0.1:9001"),
        ({"WAVSTREAM_PORT": "tcp://10.0.0.1:9000"}, {}, "http://127.0.0.1:8080"),
        ({"WAVSTREAM_HOST": "0.0.0.0"}, {"host": "10.0.0.5"}, "http://127.0.0.1:8080"),
        ({"WAVSTREAM_HOST": "::,0.0.0.0"}, {}, "http://[::1]:8080"),
        ({"WAVSTREAM_HOST": " 10.0.0.5 , 127.0.0.1"}, {}, "http://10.0.0.5:8080"),
        ({"WAVSTREAM_HOST": "[::1]"}, {}, "http://[::1]:8080"),
        ({"WAVSTREAM_HOST": "unix:/run/w.sock,127.0.0.1", "WAVSTREAM_PORT": "0"}, {}, "unix:/run/w.sock"),
        ({}, {"host": ["rec.lan", "::1"], "port": "9000"}, "http://rec.lan:9000"),
    ],
)
def test_host_and_port_are_read_as_the_server_reads_them(
    environment: dict[str, str],
    file: dict[str, Any],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert health.server_url(environment, file) == url
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "wavstream.toml"
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in file.items()))
    settings = load(config)
    assert url in (settings.base_url, settings.hosts[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("WAVSTREAM_PORT", each) for each in ("http", "80x80", "1_000", "65536", "-1", "8080.0", "'8080'", "0")),
        *(("WAVSTREAM_HOST", each) for each in ("a b", "127.0.0.1,localhost", '"127.0.0.1"', "unix:run")),
    ],
)
def test_what_names_no_server_is_said(name: str, value: str, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_HOST", value if name == "WAVSTREAM_HOST" else "")
    code, why = check(port=value if name == "WAVSTREAM_PORT" else "")

    assert code == 1
    assert why.startswith(f"wavstream-health: {name}")
    assert why.count("\n") == 1
    monkeypatch.setenv(name, value)
    if value != "0":
        with pytest.raises(OperatorError, match=name):
            load()


def test_the_check_imports_little() -> None:
    command = "import sys, wavstream.cli.health; print([each for each in ('pydantic', 'typer') if each in sys.modules])"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout == "[]\n"


async def test_one_that_cannot_take_calls_says_why(check: Check) -> None:
    body = b'{"ready": false, "reasons": ["The disk is full.", "The catalog is locked."]}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        assert asked.startswith(b"GET /readyz HTTP/1.1")
        writer.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, why = await asyncio.to_thread(check, "--ready", port=port)

    assert code == 1
    assert why == "wavstream-health: The disk is full. The catalog is locked.\n"


def test_a_server_that_is_not_there_is_not_well(unused_tcp_port: int, check: Check) -> None:
    code, why = check(port=unused_tcp_port)

    assert code == 1
    assert "does not answer" in why


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1:http", "http://a..b:80"])
def test_what_is_no_address_is_said(url: str, check: Check) -> None:
    code, why = check(url)

    assert code == 1
    assert url in why
