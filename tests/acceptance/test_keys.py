"""Apps and keys that a command line changes beside a running server, and what ends and goes on within a second."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from rich.console import Console
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.recorder import Recorder, Wall, recorder
from tests.support.traces import content_of, files_below
from tests.support.waiting import WAIT_S, until
from wavstream.cli.apps import add_app, add_key, remove_app, revoke_key, rotate_key
from wavstream.cli.secrets import rotate_links
from wavstream.service.service import Service
from wavstream.settings import Settings

HALF_A_SECOND = bytes(8_000)
SOON_S = 1.0
"""Within which a server notices; measured loosely, since a machine under load is late itself."""


class Tenant:
    """Whoever runs the server, with the command line, and callers with keys."""

    def __init__(self, base_url: str, service: Service, data_dir: Path) -> None:
        self.base_url = base_url
        self.service = service
        self._settings = Settings(data_dir=data_dir)
        self._console = Console(record=True, width=500, file=io.StringIO())

    async def run(self, command: Coroutine[Any, Any, None]) -> str:
        """Run a command beside the server, on a thread and a loop of its own; return the last line that it prints."""
        await asyncio.to_thread(asyncio.run, command)
        return self._console.export_text().splitlines()[-1]

    async def add(self, name: str = "shop") -> str:
        return await self.run(add_app(name, None, (), self._settings, self._console))

    async def rotate(self, name: str = "shop") -> str:
        return await self.run(rotate_key(name, self._settings, self._console))

    async def add_key(self, key_name: str, *, expires_hours: float | None = None) -> str:
        return await self.run(add_key("shop", key_name, expires_hours, self._settings, self._console))

    async def revoke(self, key_name: str) -> None:
        await self.run(revoke_key("shop", key_name, self._settings, self._console))

    async def remove(self, name: str = "shop") -> None:
        await self.run(remove_app(name, self._settings, self._console))

    async def rotate_links(self) -> None:
        await self.run(rotate_links(self._settings, self._console))

    @asynccontextmanager
    async def caller(self, key: str | None) -> AsyncIterator[Recorder]:
        client = Recorder(self.base_url, key=key)
        yield client
        await client.http.aclose()

    async def status(self, key: str | None, **headers: str) -> int:
        async with self.caller(key) as client:
            return (await client.http.get("/v1/sessions", headers=headers)).status_code


@asynccontextmanager
async def server(data_dir: Path, **settings: object) -> AsyncIterator[Tenant]:
    async with recorder(data_dir, wall=Wall(), **settings) as (client, service):
        yield Tenant(client.base_url, service, data_dir)


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so: twice the time between two looks, and what the machine takes."""
    begun = time.monotonic()
    await until(condition)
    assert time.monotonic() - begun < SOON_S + WAIT_S / 2


async def answer_to_upgrade(url: str) -> int:
    """Return 101, or the status of the refusal."""
    try:
        async with connect(url):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_a_key_opens_at_once_and_a_second_one_takes_over_without_a_gap(tmp_path: Path) -> None:
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        first = await tenant.add()
        assert await tenant.status(first) == 200
        second = await tenant.add_key("second", expires_hours=48)
        assert [await tenant.status(key) for key in (first, second)] == [200, 200]
        await tenant.revoke("main")
        await soon(lambda: _is(tenant.status(first), 401))
        assert await tenant.status(second) == 200
        third = await tenant.rotate()
        assert [await tenant.status(key) for key in (second, third)] == [200, 200]


async def _is(answer: Awaitable[int], status: int) -> bool:
    return await answer == status


async def test_what_a_key_opened_ends_with_it_but_not_the_call_nor_its_recording(tmp_path: Path) -> None:
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        key, other = await tenant.add(), await tenant.add_key("other")
        base = tenant.base_url.replace("http", "ws", 1)
        async with tenant.caller(key) as mine, tenant.caller(other) as others:
            token, others_token = [
                (await each.http.post("/v1/stream-tokens", json={"session_id": None})).json()["token"]
                for each in (mine, others)
            ]
            async with connect(f"{base}/media/pcm/call-77/a?token={token}&record=1") as socket:
                await socket.send(HALF_A_SECOND)
                await others.until_received("call-77", 500)
                recording = await others.only_recording("call-77")
                listeners = [
                    await asyncio.create_task(_listen(client, f"/v1/recordings/{recording['id']}/live.wav"))
                    for client in (mine, others)
                ]
                await tenant.revoke("main")
                await asyncio.wait_for(listeners[0].ended.wait(), WAIT_S)
                assert await answer_to_upgrade(f"{base}/media/pcm/call-78?token={token}") == 401
                assert await answer_to_upgrade(f"{base}/media/pcm/call-78?token={others_token}") == 101
                await socket.send(HALF_A_SECOND)
                await others.until_received("call-77", 1_000)
                assert not listeners[1].ended.is_set()
            samples, _ = await others.listen(recording)
            assert len(samples) >= 8_000
            for each in listeners:
                await each.stop()


class Listening:
    """One who listens live, until it is ended."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def run(self, client: Recorder, path: str) -> None:
        try:
            async with client.http.stream("GET", path) as answer:
                assert answer.status_code == 200
                async for _ in answer.aiter_raw():
                    self.begun.set()
        except httpx.RemoteProtocolError:
            pass  # cut off before its end, as it has no other
        self.ended.set()

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def _listen(client: Recorder, path: str) -> Listening:
    listening = Listening()
    listening.task = asyncio.create_task(listening.run(client, path))
    await asyncio.wait_for(listening.begun.wait(), WAIT_S)
    return listening


async def test_an_app_under_a_name_that_was_used_before_inherits_nothing(tmp_path: Path) -> None:
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        key = await tenant.add()
        async with tenant.caller(key) as before:
            async with before.connect(f"/media/pcm/call-77/a?token={key}&record=1") as socket:
                await socket.send(HALF_A_SECOND)
                await before.until_received("call-77", 500)
            recording = await before.until(await before.only_recording("call-77"))
            assert (await before.http.get(recording["url"])).status_code == 200
            # One that still runs when its app is removed, and ends under the new one.
            async with before.connect(f"/media/pcm/call-78/a?token={key}&record=1") as socket:
                await socket.send(HALF_A_SECOND)
                await before.until_received("call-78", 500)
                running = await before.only_recording("call-78")
                await tenant.remove()
                again = await tenant.add()
                async with tenant.caller(again) as after:
                    assert (await after.http.get("/v1/recordings")).json()["data"] == []
                    assert (await after.http.get("/v1/sessions")).json()["data"] == []
                    for each in (recording, running):
                        for method in ("GET", "DELETE"):
                            answer = await after.http.request(method, f"/v1/recordings/{each['id']}")
                            assert answer.status_code == 404
                    assert (await after.http.get(recording["url"])).status_code == 404
                    async with after.connect(f"/media/pcm/call-78/a?token={again}&record=1") as own:
                        await own.send(HALF_A_SECOND)
                        await after.until_received("call-78", 500)
                    own_recording = await after.until(await after.only_recording("call-78"))
                    assert own_recording["app_id"] == "shop"
                    listed = (await after.http.get("/v1/recordings")).json()["data"]
                    assert [each["id"] for each in listed] == [own_recording["id"]]
        kept = {each: await tenant.service.catalog.recordings.get(each) for each in (recording["id"], running["id"])}
        assert {row.app_id for row in kept.values() if row is not None} == {"shop"}
        kept_files = [content_of(path) for path in files_below(tmp_path / "recordings") if path.suffix == ".json"]
        sidecars = {json.loads(each)["app_id"] for each in kept_files if each}
        assert sidecars >= {"shop", "shop.2"}


async def test_rotated_links_open_nothing_and_the_api_gives_new_ones(tmp_path: Path) -> None:
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        key = await tenant.add()
        async with tenant.caller(key) as client:
            async with client.connect(f"/media/pcm/call-77/a?token={key}&record=1") as socket:
                await socket.send(HALF_A_SECOND)
                await client.until_received("call-77", 500)
            recording = await client.until(await client.only_recording("call-77"))
            signed = (await client.http.get(f"/v1/recordings/{recording['id']}.wav")).headers["location"]
            whole = await client.fetch(recording)

            await tenant.rotate_links()

            for link in (recording["url"], signed):
                await soon(lambda link=link: _is(_status(client, link), 403))  # type: ignore[misc]
            fresh = await client.get(recording)
            assert fresh["url"] != recording["url"]
            assert await client.fetch(fresh) == whole


async def _status(client: Recorder, link: str) -> int:
    return (await client.http.get(link)).status_code


async def test_the_keyless_start_ends_with_the_first_app_for_good(tmp_path: Path) -> None:
    async with server(tmp_path) as tenant:
        assert await tenant.status(None) == 200
        wrong = {"Host": "rebound.example"}, {"Origin": "http://page.example"}, {"Via": "1.1 proxy"}
        assert [await tenant.status(None, **headers) for headers in wrong] == [401] * 3
        key = await tenant.add()
        await soon(lambda: _is(tenant.status(None), 401))
        assert await tenant.status(key) == 200
        await tenant.remove()
        await soon(lambda: _is(tenant.status(key), 401))
        assert await tenant.status(None) == 401
    async with server(tmp_path) as tenant:
        assert await tenant.status(None) == 401


async def test_a_foreign_page_opens_no_media_socket_on_a_server_without_keys(tmp_path: Path) -> None:
    async with server(tmp_path) as tenant:
        url = tenant.base_url.replace("http", "ws", 1) + "/media/pcm/call-77/a"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, origin="http://page.example"):  # type: ignore[arg-type]
                pass
        assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers={"X-Forwarded-For": "203.0.113.9"}):
                pass
        assert refused.value.response.status_code == 401
        async with connect(url), connect(url, origin=tenant.base_url):  # type: ignore[arg-type]
            pass
    async with server(tmp_path, allowed_origins=("http://page.example",)) as tenant:
        url = tenant.base_url.replace("http", "ws", 1) + "/media/pcm/call-77/a"
        async with connect(url, origin="http://page.example"):  # type: ignore[arg-type]
            pass


async def test_right_keys_are_answered_while_wrong_ones_are_tried_right_after_a_start(tmp_path: Path) -> None:
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        key = await tenant.add()
    async with server(tmp_path, api_key=SecretStr("key-of-the-app-default")) as tenant:
        wrong = [await tenant.status(f"wsk_{number}") for number in range(21)]
        assert wrong == [401] * 20 + [429]
        assert await tenant.status(key) == 200
        async with tenant.caller(key) as right, tenant.caller(None) as stranger:
            tries = [
                stranger.http.get("/v1/sessions", headers={"Authorization": f"Bearer wsk_{number}"})
                for number in range(160)
            ]
            answers = await asyncio.gather(*tries, *(right.http.get("/v1/sessions") for _ in range(40)))
        assert {answer.status_code for answer in answers[:160]} == {429}
        assert {answer.status_code for answer in answers[160:]} == {200}
