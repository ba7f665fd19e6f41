"""What concerns all workers of a server, on two real ones: limits, lists, metrics, readiness, removals."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection

from tests.support.recorder import Recorder, ServerProcess, close_code
from tests.support.slow_download import rest_of
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from wavstream.workers.boundary import owner_of

SAID = noise(0.5, seed=5)


def sessions_of(worker: int, how_many: int) -> list[str]:
    """So many sessions that this one of two workers has."""
    names = (f"call-{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if owner_of(name, 2) == worker), how_many))


@asynccontextmanager
async def two_workers(folder: Path, **settings: object) -> AsyncIterator[tuple[ServerProcess, Recorder]]:
    async with ServerProcess(folder, workers=2, http__shutdown_timeout_s=1, **settings) as server:
        client = await server.start()
        yield server, client
        await client.http.aclose()
        await server.end(signal.SIGTERM)


async def each_worker(client: Recorder, stack: AsyncExitStack) -> list[httpx.AsyncClient]:
    """Return a client for each worker, whose connection that one has accepted."""
    found: dict[str, httpx.AsyncClient] = {}
    async with asyncio.timeout(WAIT_S):
        while len(found) < 2:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=client.base_url, timeout=WAIT_S))
            before = await metrics(client)
            await http.get("/healthz")
            after = await metrics(client)
            for worker in "01":
                name = f'worker_http_requests{{"route": "/healthz", "worker": "{worker}"}}'
                if after.get(name, 0) > before.get(name, 0):
                    found.setdefault(worker, http)
    return [found["0"], found["1"]]


async def metrics(client: Recorder | httpx.AsyncClient) -> dict[str, float]:
    """Return the series of ours, by name and the labels that tell them apart here."""
    http = client.http if isinstance(client, Recorder) else client
    found: dict[str, float] = {}
    for family in text_string_to_metric_families((await http.get("/metrics")).text):
        for sample in family.samples:
            labels = {key: text for key, text in sorted(sample.labels.items()) if key in ("quota", "route", "worker")}
            name = family.name.removeprefix("wavstream_") + (str(labels).replace("'", '"') if labels else "")
            found[name] = found.get(name, 0) + sample.value
    return found


async def streaming(stack: AsyncExitStack, client: Recorder, session_id: str, leg: str = "a") -> ClientConnection:
    socket = await stack.enter_async_context(client.connect(f"/media/pcm/{session_id}/{leg}"))
    await say(socket, SAID)
    return socket


async def test_quotas_and_limits_are_those_of_the_machine_whichever_worker_has_the_call(tmp_path: Path) -> None:
    limits = {"quotas__sessions": 4, "quotas__streams": 5, "quotas__recordings": 3}
    async with two_workers(tmp_path, **limits) as (_, client), AsyncExitStack() as stack:
        names = [name for pair in zip(sessions_of(0, 2), sessions_of(1, 2), strict=True) for name in pair]
        for name in names:
            await streaming(stack, client, name)
            await client.until_streaming(name, 1)
        for worker in range(2):
            refused = await client.http.post("/v1/sessions", json={"session_id": sessions_of(worker, 3)[2]})
            assert (refused.status_code, "quotas.sessions is 4" in refused.text) == (429, True)

        await streaming(stack, client, names[0], "b")
        for name in names[:2]:  # of both workers
            socket = await stack.enter_async_context(client.connect(f"/media/pcm/{name}/c"))
            await say(socket, SAID)
            assert await close_code(socket) == (1013, "the app is at its quota: quotas.streams is 5")

        recordings = [await client.start(name) for name in names[:3]]
        for name in names[:2]:
            refused = await client.http.post("/v1/recordings", json={"session_id": name})
            assert (refused.status_code, "quotas.recordings is 3" in refused.text) == (429, True)
        await client.act(recordings[0], "stop")
        await client.start(names[3])
        told = await metrics(client)
        assert [told[f'quota_refusals{{"quota": "{quota}"}}'] for quota in ("sessions", "streams", "recordings")] == [
            2
        ] * 3
        assert (told["sessions"], told["open_sockets"], told["recordings_running"]) == (4, 5, 3)


async def test_wrong_keys_of_an_address_are_counted_by_all_workers_together(tmp_path: Path) -> None:
    async with two_workers(tmp_path, api_key="of-the-only-app-there-is") as (_, client):
        answers = []
        for number in range(30):
            async with httpx.AsyncClient(base_url=client.base_url, timeout=WAIT_S) as http:  # each connects anew
                headers = {"Authorization": f"Bearer wrong-{number}"}
                answers.append((await http.get("/v1/sessions", headers=headers)).status_code)
        assert answers == [401] * 20 + [429] * 10
        right = {"Authorization": "Bearer of-the-only-app-there-is"}
        assert (await client.http.get("/v1/sessions", headers=right)).status_code == 200


async def test_each_worker_gives_the_same_lists_metrics_and_readiness_and_says_which_one_is_away(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path) as (server, client), AsyncExitStack() as stack:
        both = await each_worker(client, stack)
        names = [*sessions_of(0, 3), *sessions_of(1, 3)]
        for name in names:
            await streaming(stack, client, name)
            await client.until_received(name, len(SAID) * 1000 // RATE_HZ)
        recordings = [(await client.start(name))["id"] for name in names]
        for http in both:
            listed, cursor = list[str](), ""
            while True:
                page = (await http.get(f"/v1/sessions?limit=2{cursor}")).json()
                listed += [each["session_id"] for each in page["data"]]
                if "next_cursor" not in page:
                    break
                cursor = f"&cursor={page['next_cursor']}"
            assert listed == names
            rows = (await http.get("/v1/recordings")).json()["data"]
            assert {each["id"]: each["status"] for each in rows} == dict.fromkeys(recordings, "ongoing")
            told = await metrics(http)
            assert (told["sessions"], told["recordings_running"], told["streams_opened"]) == (6, 6, 6)
            assert [told[f'worker_sessions{{"worker": "{worker}"}}'] for worker in "01"] == [3, 3]
            assert (await http.get("/readyz")).json() == {"ready": True, "reasons": []}

        frozen = next(each["pid"] for each in server.said if each["event"] == "worker_ready" and each["worker"] == 1)
        os.kill(frozen, signal.SIGSTOP)
        page = (await both[0].get("/v1/sessions")).json()
        assert ([each["session_id"] for each in page["data"]], page["workers_left_out"]) == (names[:3], [1])
        ready = await both[0].get("/readyz")
        reasons = ["worker 1 does not answer: it is being started"]
        assert (ready.status_code, ready.json()["reasons"]) == (503, reasons)
        assert (await both[0].get("/healthz")).status_code == 200
        told = await metrics(both[0])
        assert [told[f'worker_up{{"worker": "{worker}"}}'] for worker in "01"] == [1, 0]
        assert told["streams_opened"] == 6  # a counter never falls
        os.kill(frozen, signal.SIGKILL)

        async def is_back() -> bool:
            return (await both[0].get("/readyz")).status_code == 200

        await until(is_back)
        told = await metrics(both[0])
        assert (told['worker_restarts{"worker": "1"}'], told["streams_opened"]) == (1, 6)


async def test_sessions_that_are_no_more_than_announced_make_room_for_the_call_of_another_worker(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path, limits__sessions=3) as (_, client), AsyncExitStack() as stack:
        for name in sessions_of(1, 3):
            assert (await client.http.post("/v1/sessions", json={"session_id": name})).status_code == 201
        (call,) = sessions_of(0, 1)

        async def is_let_in() -> bool:
            await streaming(stack, client, call)
            return (await client.http.get(f"/v1/sessions/{call}")).status_code == 200

        await until(is_let_in)
        assert len((await client.http.get("/v1/sessions")).json()["data"]) == 3


async def test_what_a_dead_worker_had_counted_is_free_again(tmp_path: Path) -> None:
    async with two_workers(tmp_path, quotas__streams=2) as (server, client), AsyncExitStack() as stack:
        (gone,), (stays,) = sessions_of(1, 1), sessions_of(0, 1)
        for leg in "ab":
            await streaming(stack, client, gone, leg)
        await client.until_streaming(gone, 2)
        refused = await stack.enter_async_context(client.connect(f"/media/pcm/{stays}/a"))
        await say(refused, SAID)
        assert await close_code(refused) == (1013, "the app is at its quota: quotas.streams is 2")
        ready = [each for each in server.said if each["event"] == "worker_ready"]
        os.kill(next(each["pid"] for each in ready if each["worker"] == 1), signal.SIGKILL)

        async def is_let_in() -> bool:
            await streaming(stack, client, stays)
            async with httpx.AsyncClient(base_url=client.base_url, timeout=WAIT_S) as http:
                session = await http.get(f"/v1/sessions/{stays}")
            return session.status_code == 200 and len(session.json()["streams"]) == 1

        await until(is_let_in)


async def test_a_recording_that_is_erased_ends_for_whoever_fetches_it_from_whichever_worker(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (_, client), AsyncExitStack() as stack:
        (name,) = sessions_of(1, 1)
        recording = await client.start(name)
        await streaming(stack, client, name)
        await client.until_received(name, 500)
        done = await client.act(recording, "stop")
        (file,) = (tmp_path / "recordings").rglob("*.wav")
        await asyncio.to_thread(os.truncate, file, 64 << 20)  # far larger than what the kernel keeps of a download
        all_begun = asyncio.Barrier(8)

        async def erase() -> None:
            if await all_begun.wait() == 0:
                assert (await client.http.delete(f"/v1/recordings/{done['id']}")).status_code == 204

        fetched = await asyncio.gather(*(rest_of(done["url"], erase) for _ in range(8)))
        assert {length for _, length in fetched} == {64 << 20}
        assert all(got < length for got, length in fetched)
        for http in await each_worker(client, stack):
            assert (await http.get(done["url"])).status_code == 404


async def test_an_app_that_one_worker_is_told_of_is_known_to_the_other_and_a_key_that_it_loses_is_not(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path, admin_api_key="of-the-administrators") as (_, client), AsyncExitStack() as stack:
        both = await each_worker(client, stack)
        admin = {"X-Admin-API-Key": "of-the-administrators"}
        own = {"Authorization": "Bearer wsk_of_the_app_shop"}
        made = await both[0].post("/admin/apps/shop", json={"api_key": "wsk_of_the_app_shop"}, headers=admin)
        assert made.status_code == 200, made.text

        async def status(http: httpx.AsyncClient) -> int:
            return (await http.get("/v1/recordings", headers=own)).status_code

        async def is_in() -> bool:
            return [await status(http) for http in both] == [200, 200]

        await until(is_in)
        told: dict[str, Any] = {"recording": {"channels": "mono"}}
        assert (await both[1].post("/admin/apps/shop", json=told, headers=admin)).status_code == 200

        async def is_mono() -> bool:
            names = (sessions_of(worker, 1)[0] for worker in range(2))
            made = [await client.http.post("/v1/recordings", json={"session_id": name}, headers=own) for name in names]
            return all(each.json().get("channels") == "mono" for each in made)

        await until(is_mono)
        assert (await both[1].delete("/admin/apps/shop", headers=admin)).status_code in (200, 204)

        async def is_out() -> bool:
            return [await status(http) for http in both] == [401, 401]

        await until(is_out)
