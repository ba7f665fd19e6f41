"""``wavstream-health`` says by its exit code how a server is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from wavstream.cli import health
from wavstream.service.server import running
from wavstream.settings import Settings

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
