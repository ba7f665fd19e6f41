"""A server of several workers: each records the calls that are its own, and one that ends takes no other with it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from tests.support.kills import Noted, Watch, heard_of
from tests.support.processes import start
from tests.support.receiver import Receiver
from tests.support.recorder import Recorder, ServerProcess, hear
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say, speak
from tests.support.waiting import until
from wavstream.workers.boundary import owner_of


def sessions_of(worker: int, count: int, how_many: int = 1) -> list[str]:
    """So many sessions that a worker of so many has."""
    names = (f"call-{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if owner_of(name, count) == worker), how_many))


def children_of(process_id: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii").split())]


def workers_of(server: ServerProcess) -> list[int]:
    """Return the processes of its workers."""
    return children_of(server.pid)


def is_there(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def all_gone(processes: Iterable[int]) -> None:
    await until(lambda: not any(map(is_there, processes)))


async def started(server: ServerProcess) -> tuple[Recorder, dict[int, int]]:
    """Start it; the process of each worker."""
    client = await server.start()
    ready = [each for each in server.said if each["event"] == "worker_ready"]
    return client, {each["worker"]: each["pid"] for each in ready}


async def successor(server: ServerProcess, known: Iterable[int]) -> int:
    """Wait for the process that is started in the place of one that is gone."""
    known = set(known)
    return (await until(lambda: [each for each in workers_of(server) if each not in known]))[0]


async def connected(client: Recorder, path: str) -> ClientConnection:
    """Open a media socket as a media server that tries again and again does."""
    while True:
        with suppress(OSError, TimeoutError, WebSocketException, EOFError):
            return await client.connect(path)
        await asyncio.sleep(0.05)


async def record(
    client: Recorder, session_id: str, voices: dict[str, NDArray[np.int16]], *, query: str = ""
) -> dict[str, Any]:
    """Record a call at once, to its end."""
    recording = await client.start(session_id)
    sockets = {leg: await client.connect(f"/media/pcm/{session_id}/{leg}{query}") for leg in voices}
    await asyncio.gather(*(say(sockets[leg], voice) for leg, voice in voices.items()))
    await client.until_received(session_id, len(voices["a"]) * 1000 // RATE_HZ, legs=len(voices))
    await client.act(recording, "stop")
    for socket in sockets.values():
        await socket.close()
    return await client.until(recording)


async def test_calls_of_all_workers_are_recorded_whole(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, workers=2) as server:
        client, workers = await started(server)
        assert sorted(workers) == [0, 1]
        names = [*sessions_of(0, 2, 3), *sessions_of(1, 2, 3)]
        voices = {name: {leg: noise(2.0, seed=hash((name, leg)) % 1000) for leg in "ab"} for name in names}
        made = await asyncio.gather(*(record(client, name, voices[name]) for name in names))
        for name, done in zip(names, made, strict=True):
            samples, _ = hear(await client.fetch(done))
            assert done["integrity"]["lost_ms"] == 0
            for channel, leg in enumerate("ab"):
                assert heard_of(samples[:, channel], voices[name][leg]) == len(voices[name][leg])
        listed = await client.http.get("/v1/recordings")
        assert {each["id"] for each in listed.json()["data"]} == {each["id"] for each in made}
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
        assert [line for line in server.last_words if '"server_stopped"' in line]
    assert not list((tmp_path / "journal").iterdir())
    assert not [each for each in (tmp_path / "spool").rglob("*") if each.is_file()]


async def test_an_app_is_told_once_of_each_call_whichever_worker_records_it(tmp_path: Path) -> None:
    admin_key = "of-the-administrators"
    settings = {"webhooks__allow_http": True, "webhooks__allow_localhost": True, "admin_api_key": admin_key}
    key = "wsk_of_the_app_shop"
    voice = noise(0.5, seed=1)
    async with Receiver() as receiver, ServerProcess(tmp_path, workers=2, **settings) as server:
        client, workers = await started(server)
        names = [*sessions_of(0, 2, 2), *sessions_of(1, 2, 2)]
        app = {"webhook_url": receiver.url, "api_key": key, "events": ["recording.completed"]}
        admin = {"X-Admin-API-Key": admin_key}
        assert (await client.http.post("/admin/apps/shop", json=app, headers=admin)).status_code == 200
        client.http.headers["Authorization"] = f"Bearer {key}"
        for name in names:
            await record(client, name, {"a": voice}, query=f"?token={key}")
        await receiver.wait_for(len(names))
        # One that is killed before it has noted an answer sends that again: at least once is what is promised then.
        with closing(sqlite3.connect(tmp_path / "catalog.db")) as catalog:
            pending = "SELECT count(*) FROM outbox WHERE state = 'pending'"
            await until(lambda: catalog.execute(pending).fetchone() == (0,))
        os.kill(workers[0], signal.SIGKILL)  # it delivers them
        await successor(server, workers.values())
        names += sessions_of(1, 2, 3)[2:]
        await record(client, names[-1], {"a": voice}, query=f"?token={key}")
        told = await receiver.wait_for(len(names))
        assert sorted(each.message["session_uuid"] for each in told) == sorted(names)
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("killed", [0, 1])
async def test_the_calls_of_a_killed_worker_lose_a_quarter_of_a_second_and_go_on_and_the_others_nothing(
    tmp_path: Path, killed: int
) -> None:
    (mine,), (other,) = sessions_of(killed, 2), sessions_of(1 - killed, 2)
    before, after, all_along = noise(2.0, seed=1), noise(1.5, seed=2), noise(6.0, seed=3)
    async with ServerProcess(tmp_path, workers=2) as server:
        client, workers = await started(server)
        recordings = {name: await client.start(name) for name in (mine, other)}
        sockets = {name: await client.connect(f"/media/pcm/{name}/a") for name in (mine, other)}
        talking = asyncio.create_task(speak(sockets[other], all_along))
        watch = Watch(client, mine)
        noted = Noted(sockets[mine])
        await speak(noted, before)
        await watch.stop()
        killed_s = asyncio.get_running_loop().time()
        os.kill(workers[killed], signal.SIGKILL)
        safe = watch.safe(killed_s, {"a": noted})["a"]
        sockets[mine].transport.abort()
        again = await connected(client, f"/media/pcm/{mine}/a")
        await successor(server, workers.values())
        await speak(again, after)
        await client.until_received(mine, len(after) * 1000 // RATE_HZ)
        await talking
        done = {}
        for name in (mine, other):
            assert (await client.get(recordings[name]))["status"] == "ongoing"
            await client.act(recordings[name], "stop")
            done[name] = await client.until(recordings[name])
        samples, _ = hear(await client.fetch(done[mine]))
        whole, _ = hear(await client.fetch(done[other]))
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    assert heard_of(samples[:, 0], before) >= safe > 0
    assert heard_of(samples[:, 0], after) == len(after)
    assert done[mine]["end_reason"] == "stopped"
    assert heard_of(whole[:, 0], all_along) == len(all_along)
    assert done[other]["integrity"]["gaps"] == []


async def test_a_worker_that_hangs_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    (mine,), (other,) = sessions_of(1, 2), sessions_of(0, 2)
    voice = noise(0.5, seed=1)
    async with ServerProcess(tmp_path, workers=2, workers_hang_s=2) as server:
        client, workers = await started(server)
        recordings = {name: await client.start(name) for name in (mine, other)}
        sockets = {name: await client.connect(f"/media/pcm/{name}/a") for name in (mine, other)}
        await asyncio.gather(*(say(socket, voice) for socket in sockets.values()))
        for name in (mine, other):
            await client.until_received(name, 500)
        await asyncio.sleep(0.5)  # what was said is in the journal within a quarter of a second
        os.kill(workers[1], signal.SIGSTOP)
        await successor(server, workers.values())
        assert workers[0] in workers_of(server)
        await sockets[mine].wait_closed()
        again = await connected(client, f"/media/pcm/{mine}/a")
        await asyncio.gather(speak(again, voice), speak(sockets[other], voice))
        await client.until_received(other, 1000)
        await client.until_received(mine, 500)
        for name, recording in recordings.items():
            await client.act(recording, "stop")
            samples, _ = hear(await client.fetch(await client.until(recording)))
            assert np.count_nonzero(samples[:, 0]) == 2 * np.count_nonzero(voice), name
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0


async def test_a_worker_that_is_killed_again_and_again_comes_back_each_time(tmp_path: Path) -> None:
    (mine,), (other,) = sessions_of(1, 2), sessions_of(0, 2)
    voice = noise(0.5, seed=1)
    async with ServerProcess(tmp_path, workers=2) as server:
        client, workers = await started(server)
        recording = await client.start(mine)
        (socket,) = [await client.connect(f"/media/pcm/{mine}/a")]
        await say(socket, voice)
        await client.until_received(mine, 500)
        await asyncio.sleep(0.5)
        known, last = set(workers.values()), workers[1]
        for _ in range(3):  # the second and the third while it is starting
            os.kill(last, signal.SIGKILL)
            last = await successor(server, known)
            known.add(last)
        assert (await record(client, other, {"a": voice}))["status"] == "available"
        again = await connected(client, f"/media/pcm/{mine}/a")
        await speak(again, voice)
        await client.until_received(mine, 500)
        await client.act(recording, "stop")
        samples, _ = hear(await client.fetch(await client.until(recording)))
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    assert np.count_nonzero(samples[:, 0]) == 2 * np.count_nonzero(voice)


@pytest.mark.parametrize("missing", ["catalog.db", "master.key"])
async def test_a_worker_that_is_started_again_makes_no_second_catalog_and_no_other_key(
    tmp_path: Path, missing: str
) -> None:
    (mine,), key = sessions_of(1, 2), "wsk_of_the_only_app"
    file, aside = tmp_path / missing, tmp_path.with_name(f"{tmp_path.name}.aside")
    async with ServerProcess(tmp_path, workers=2, api_key=key) as server:
        keyless, workers = await started(server)
        await keyless.http.aclose()
        client = Recorder(keyless.base_url, key=key)
        file.rename(aside)
        os.kill(workers[1], signal.SIGKILL)

        async def was_refused() -> bool:  # the first end is that of the one that was killed
            text = (await client.http.get("/metrics")).text
            (ends,) = re.findall(r'^wavstream_worker_restarts_total{worker="1"} (\S+)', text, re.MULTILINE)
            return float(ends) >= 2

        await until(was_refused)
        assert not file.exists()
        assert (await client.http.get("/v1/sessions")).status_code == 200  # the key is known as before
        if missing == "master.key":
            aside.rename(file)
            done = await record(client, mine, {"a": noise(0.5, seed=1)}, query=f"?token={key}")
            assert done["status"] == "available"
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    died = [json.loads(line) for line in server.last_words if '"worker_died"' in line]
    assert "was removed" in died[1]["error"]


async def test_more_workers_than_cores_record_too_and_the_log_says_so(tmp_path: Path) -> None:
    count = len(os.sched_getaffinity(0)) + 1
    async with ServerProcess(tmp_path, workers=count) as server:
        client, workers = await started(server)
        assert len(workers) == count
        assert [each for each in server.said if each["event"] == "more_workers_than_cores"]
        voice = noise(0.5, seed=1)
        for worker in range(count):
            (name,) = sessions_of(worker, count)
            done = await record(client, name, {"a": voice})
            samples, _ = hear(await client.fetch(done))
            assert heard_of(samples[:, 0], voice) == len(voice)
        await client.http.aclose()


async def test_calls_that_ran_with_three_workers_go_on_with_two_and_with_one(tmp_path: Path) -> None:
    names = [sessions_of(worker, 3)[0] for worker in range(3)]
    voice = noise(0.5, seed=1)
    recordings: dict[str, dict[str, Any]] = {}
    for turn, count in enumerate((3, 2, 1)):
        async with ServerProcess(tmp_path, workers=count) as server:
            client, workers = await started(server)
            assert len(workers) == (count if count > 1 else 0)
            if not recordings:
                recordings = {name: await client.start(name) for name in names}
            sockets = {name: await client.connect(f"/media/pcm/{name}/a") for name in names}
            await asyncio.gather(*(speak(socket, voice) for socket in sockets.values()))
            for name in names:
                await client.until_received(name, 500)
                assert (await client.get(recordings[name]))["status"] == "ongoing"
            await asyncio.sleep(0.5)  # what was said is in the journal within a quarter of a second
            if count > 1:
                running = workers_of(server)
                await server.end(signal.SIGKILL)
                for each in running:
                    with suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)
                await all_gone(running)
            else:
                for recording in recordings.values():
                    await client.act(recording, "stop")
                    samples, _ = hear(await client.fetch(await client.until(recording)))
                    assert np.count_nonzero(samples[:, 0]) == (turn + 1) * np.count_nonzero(voice)
                assert await server.end(signal.SIGTERM) == 0
            for socket in sockets.values():
                socket.transport.abort()
            await client.http.aclose()
    assert not list((tmp_path / "journal").iterdir())


async def test_workers_end_in_good_order_when_their_supervisor_is_killed_and_the_next_start_works(
    tmp_path: Path,
) -> None:
    voice = noise(0.5, seed=1)
    names = [sessions_of(worker, 2)[0] for worker in range(2)]
    async with ServerProcess(tmp_path, workers=2) as server:
        client, workers = await started(server)
        recordings = {name: await client.start(name) for name in names}
        sockets = [await client.connect(f"/media/pcm/{name}/a") for name in names]
        for name, socket in zip(names, sockets, strict=True):
            await say(socket, voice)
            await client.until_received(name, 500)
        server.kill_at_once()
        await all_gone(workers.values())
        for socket in sockets:
            await socket.wait_closed()
            assert socket.close_code == 1012  # as on SIGTERM: the journals are written
        await client.http.aclose()
        client = await server.start()
        for name in names:
            await client.act(recordings[name], "stop")
            samples, _ = hear(await client.fetch(await client.until(recordings[name])))
            assert heard_of(samples[:, 0], voice) == len(voice)
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_of_several_workers_that_is_told_to_go_goes_and_its_calls_go_on_at_the_next_start(
    tmp_path: Path, number: signal.Signals
) -> None:
    voice = noise(0.5, seed=1)
    names = [sessions_of(worker, 2)[0] for worker in range(2)]
    async with ServerProcess(tmp_path, workers=2) as server:
        client = await server.start()
        recordings = {name: await client.start(name) for name in names}
        for name in names:
            await say(await client.connect(f"/media/pcm/{name}/a"), voice)
            await client.until_received(name, 500)
        workers = workers_of(server)
        assert await server.end(number) == 0
        assert not any(map(is_there, workers))
        assert not [line for line in server.last_words if '"error"' in line]
        await client.http.aclose()
        client = await server.start()
        for name in names:
            assert (await client.get(recordings[name]))["status"] == "ongoing"
            await client.act(recordings[name], "stop")
            samples, _ = hear(await client.fetch(await client.until(recordings[name])))
            assert heard_of(samples[:, 0], voice) == len(voice)
        await client.http.aclose()


async def test_a_start_that_a_worker_refuses_ends_with_its_reason(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, workers=2, api_key="wst_0123456789abcdef0123456789abcdef") as server:
        code, said = await server.fail()
    assert code == 2
    assert "WAVSTREAM_API_KEY begins with wst_" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to go", "its worker killed"])
async def test_a_start_that_is_broken_off_ends_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("CREATE TABLE mine (id)")
    other.execute("BEGIN EXCLUSIVE")  # worker 0, which migrates, waits for this
    environment = {"WAVSTREAM_DATA_DIR": str(tmp_path), "WAVSTREAM_HTTP__SHUTDOWN_TIMEOUT_S": "1"}
    process = await start("wavstream", "serve", "--port", "0", "--workers", "2", environment=environment)
    said = asyncio.create_task(process.stderr.read())
    await until((tmp_path / "link-keys.json").exists)  # made in the step before
    (worker,) = children_of(process.pid)
    if number is signal.SIGTERM:
        process.send_signal(number)
    else:
        os.kill(worker, number)
    words = (await said).decode()
    assert await process.wait() == (0 if number is signal.SIGTERM else 1)
    assert ("worker 0 ended during the start (signal 9)" in words) is (number is signal.SIGKILL)
    assert "Traceback" not in words
    assert not is_there(worker)
    other.close()


async def test_a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, workers=2) as server, ServerProcess(tmp_path, workers=2) as second:
        client = await server.start()
        code, said = await second.fail()
        assert (code, "another wavstream uses the data folder" in said) == (2, True)
        assert (await client.http.get("/readyz")).status_code == 200
        await client.http.aclose()


async def test_one_worker_is_one_process(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, workers=1) as server:
        client = await server.start()
        assert workers_of(server) == []
        assert not [each for each in server.said if "worker" in each]
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
