"""A server listens where it is told to: on both families, on several addresses, on a unix socket."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import unix_connect
from websockets.exceptions import InvalidStatus

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import hear
from wavstream.errors import OperatorError
from wavstream.service.listeners import Listeners
from wavstream.service.server import running
from wavstream.settings import Settings

KEY = "wsk_of_the_operator"
RATE_HZ, TONE_HZ = 8000, 700.0
TONE = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.3).tobytes()


def settings(tmp_path: Path, **given: str | int | tuple[str, ...]) -> Settings:
    return Settings.model_validate({"port": 0, "data_dir": tmp_path / "data", "api_key": SecretStr(KEY), **given})


async def answers(url: str, path: str = "/healthz", **options: object) -> int:
    transport = httpx.AsyncHTTPTransport(uds=str(options["uds"])) if "uds" in options else None
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.get(url + path, headers=options.get("headers"))).status_code  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["::", "0.0.0.0,::", "127.0.0.1,::1", "127.0.0.1,127.0.0.2,::1"])
async def test_both_families_reach_one_port(tmp_path: Path, host: str) -> None:
    async with running(settings(tmp_path, host=host)) as (service, _):
        port = service.settings.port
        for address in ("127.0.0.1", "[::1]", *(["127.0.0.2"] if "127.0.0.2" in host else [])):
            assert await answers(f"http://{address}:{port}") == 200


async def test_a_caller_over_ipv4_is_counted_by_its_own_address_on_a_socket_of_both_families(tmp_path: Path) -> None:
    async with running(settings(tmp_path, host="::")) as (service, _):
        base = f"127.0.0.1:{service.settings.port}"
        for _ in range(20):
            assert await answers(f"http://{base}", "/v1/recordings", headers={"X-API-Key": "wrong"}) == 401
        assert await answers(f"http://{base}", "/v1/recordings", headers={"X-API-Key": "wrong"}) == 429
        other = f"http://[::1]:{service.settings.port}"
        assert await answers(other, "/v1/recordings", headers={"X-API-Key": "wrong"}) == 401


async def test_without_a_key_a_caller_over_ipv4_is_on_this_machine_where_only_loopback_is_listened_on(
    tmp_path: Path,
) -> None:
    async with running(Settings(port=0, data_dir=tmp_path, host="127.0.0.1,::1")) as (service, _):
        for address in ("127.0.0.1", "[::1]"):
            assert await answers(f"http://{address}:{service.settings.port}", "/v1/recordings") == 200


async def test_a_call_over_a_unix_socket_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "wavstream.sock"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(settings(tmp_path, host=f"unix:{path}", unix_mode="0600")))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://rec", headers={"X-API-Key": KEY})
        )
        with pytest.raises(InvalidStatus) as refused:
            await unix_connect(str(path), uri="ws://localhost/media/pcm/call-77/a")
        assert refused.value.response.status_code == 401
        url = f"ws://localhost/media/pcm/call-77/a?token={KEY}&record=1"
        media = await stack.enter_async_context(unix_connect(str(path), uri=url))
        await media.send(TONE)
        await media.close()
        async with asyncio.timeout(20):
            while not (found := (await client.get("/v1/recordings?status=available")).json()["data"]):
                await asyncio.sleep(0.02)
        address = httpx.URL(found[0]["url"])
        samples, rate_hz = hear((await client.get(address.raw_path.decode())).content)
        assert len(find_beeps(samples[:, 0] if samples.ndim > 1 else samples, rate_hz, TONE_HZ)) == 1
    assert not path.exists()


async def test_a_caller_by_a_unix_socket_always_needs_a_key(tmp_path: Path) -> None:
    path = tmp_path / "wavstream.sock"
    no_app = Settings(port=0, data_dir=tmp_path / "data", host=f"127.0.0.1,unix:{path}")
    with pytest.raises(OperatorError, match="no app"):
        async with running(no_app):
            pass
    assert not path.exists()
    async with running(settings(tmp_path, host=f"127.0.0.1,unix:{path}")):
        assert await answers("http://localhost", "/v1/recordings", uds=path) == 401


@pytest.mark.parametrize("trusted", [True, False])
async def test_who_comes_by_a_unix_socket_is_whom_a_trusted_proxy_there_names(tmp_path: Path, trusted: bool) -> None:
    path = tmp_path / "wavstream.sock"
    proxies = ("unix:",) if trusted else ()
    async with running(settings(tmp_path, host=f"unix:{path}", trusted_proxies=proxies)):
        for attempt in range(21):
            headers = {"X-API-Key": "wrong", "X-Forwarded-For": "203.0.113.7"}
            status = await answers("http://rec", "/v1/recordings", uds=path, headers=headers)
            assert status == (401 if attempt < 20 else 429)
        headers["X-Forwarded-For"] = "203.0.113.8"
        status = await answers("http://rec", "/v1/recordings", uds=path, headers=headers)
        assert status == (401 if trusted else 429)


def listening_at(path: Path) -> Listeners:
    return Listeners.open(Settings(host=f"unix:{path}"))


def test_the_socket_of_a_server_that_was_killed_is_removed_and_that_of_another_that_runs_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "wavstream.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    first = listening_at(path)
    with pytest.raises(OperatorError, match="is taken"):
        listening_at(path)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
    path.unlink()
    second = listening_at(path)  # somebody removed the file of the first
    first.close()
    assert path.exists()
    second.close()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OperatorError, match="no socket"):
        listening_at(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="a symbolic link is there"):
        listening_at(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(OperatorError, match="cannot listen"):
        listening_at(tmp_path / "none" / "file")


def test_a_folder_that_is_locked_for_a_moment_is_waited_for_and_for_longer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with monkeypatch.context() as patched:
        patched.setattr("wavstream.service.listeners._LOCK_S", 0.05)
        with pytest.raises(OperatorError, match=r"another program keeps the folder .* locked"):
            listening_at(tmp_path / "w.sock")
    release = threading.Timer(0.05, os.close, (folder,))
    release.start()
    listening_at(tmp_path / "w.sock").close()
    release.join()


def test_what_the_system_says_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError) as refused:
        Listeners.open(Settings(host="192.0.2.1", port=0))
    assert "attempting" not in str(refused.value)
    assert f"({os.strerror(errno.EADDRNOTAVAIL)})" in str(refused.value)


def test_a_name_that_is_the_address_of_another_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: resolve("127.0.0.1", *rest))
    create = socket.create_server
    monkeypatch.setattr(socket, "create_server", lambda at, **rest: create(("127.0.0.1", at[1]), **rest))
    with pytest.raises(OperatorError, match=r"'rec.lan' is 127.0.0.1, which another of the hosts is too"):
        Listeners.open(Settings(host="127.0.0.1,rec.lan", port=0))


async def test_who_may_come_by_a_unix_socket_is_no_other_machine(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="can be reached by way of a proxy and there is no app"):
        async with running(Settings(data_dir=tmp_path / "data", host=f"unix:{tmp_path}/w.sock")):
            pass


def test_where_one_host_cannot_be_had_none_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "wavstream.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OperatorError, match="is taken"):
            Listeners.open(Settings(host=f"unix:{path},127.0.0.2,127.0.0.1", port=port))
        socket.create_server(("127.0.0.2", port)).close()
    assert not path.exists()
