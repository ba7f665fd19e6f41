"""Nodes of a cluster that are drained, ended and started again, one after the other, while calls run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.acceptance.test_take_over import until_copied
from tests.support.nodes import Cluster, cluster, owner_of
from tests.support.processes import entered, start
from tests.support.recorder import hear
from tests.support.small_disk import needs_a_small_disk, small_disk
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from tests.support.weed import Weed

SAID_S = 0.5
WHATEVER_THE_LOAD: dict[str, Any] = {"limits__loop_delay_s": 0, "limits__fold_delay_s": 0}
"""A machine that is busy with other tests is no full node."""


class Caller:
    """A call of one leg, whose media server dials the next node when its stream ends."""

    def __init__(self, nodes: Cluster, number: int) -> None:
        self.session_id = f"call-{number}"
        self.said: list[NDArray[np.int16]] = []
        self.close_codes: list[int | None] = []
        self._nodes = nodes
        self._number = number
        self._socket: ClientConnection | None = None
        self._said_ms = 0

    async def speak(self) -> None:
        """Say something more, over a stream that is open, and return when its node has it."""
        words = noise(SAID_S, seed=100 * self._number + len(self.said))
        socket = await self._connected()
        await say(socket, words)
        self.said.append(words)
        self._said_ms += len(words) * 1000 // RATE_HZ
        client = next(iter(self._nodes.clients.values()))
        await client.until_received(self.session_id, self._said_ms)

    async def hang_up(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def _connected(self) -> ClientConnection:
        if self._socket is not None:
            with suppress(ConnectionClosed, TimeoutError):
                await asyncio.wait_for(await self._socket.ping(), WAIT_S)
                return self._socket
            self.close_codes.append(self._socket.close_code)
        self._said_ms = 0
        names = [*self._nodes.clients]
        async with asyncio.timeout(WAIT_S):
            for dial in range(self._number, 1_000_000):
                client = self._nodes.clients[names[dial % len(names)]]
                with suppress(OSError, TimeoutError, WebSocketException, EOFError):
                    self._socket = await client.connect(f"/media/pcm/{self.session_id}/a")
                    return self._socket
                await asyncio.sleep(0.05)
        raise AssertionError("no node takes it")


async def drain(nodes: Cluster, name: str, *words: str) -> int:
    """Drain a node by the command; the exit code."""
    command = await start("wavstream", "drain", *words, environment=nodes.environment(name))
    return await command.wait()


async def ended(nodes: Cluster, name: str) -> int:
    """Take note of a node that ends by its drain; the exit code."""
    await nodes.clients.pop(name).http.aclose()
    return await nodes.nodes.pop(name).ended()


@pytest.mark.timeout(600)
async def test_a_rolling_restart_under_load_loses_nothing_but_the_time_of_the_reconnects(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, **WHATEVER_THE_LOAD) as (nodes, _):
        callers = [Caller(nodes, number) for number in range(6)]
        # Every node has two of them.
        recordings = [await nodes["abc"[number % 3]].start(each.session_id) for number, each in enumerate(callers)]
        for name in nodes.names:
            await asyncio.gather(*(caller.speak() for caller in callers))
            assert await drain(nodes, name, "--wait", "0", "--stop") == 0
            assert await ended(nodes, name) == 0
            await asyncio.gather(*(caller.speak() for caller in callers))
            await nodes.start(name)
        await asyncio.gather(*(caller.speak() for caller in callers))
        done = []
        for caller, recording in zip(callers, recordings, strict=True):
            await nodes["b"].act(recording, "stop")
            await caller.hang_up()
            done.append(await nodes["c"].until(recording))
        files = [await fetched(nodes, recording) for recording in done]

    for caller, file in zip(callers, files, strict=True):
        samples, _ = hear(file)
        assert len(caller.said) == 7
        assert [has(samples[:, 0], words) for words in caller.said] == [True] * 7
    assert all(caller.close_codes for caller in callers)
    assert {code for caller in callers for code in caller.close_codes} <= {1012, 1006}


@pytest.mark.timeout(600)
async def test_a_node_that_drains_keeps_its_calls_and_has_new_ones_go_to_another(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b", **WHATEVER_THE_LOAD) as (nodes, _):
        old = Caller(nodes, 0)
        await old.speak()
        keeper = await owner_of(nodes, old.session_id)
        other = next(name for name in nodes.names if name != keeper)
        recording = await nodes[keeper].start(old.session_id)
        draining = asyncio.create_task(drain(nodes, keeper, "--wait", "60"))
        await until(lambda: has_stage(nodes, keeper))

        async with nodes[keeper].connect("/media/pcm/new/a") as socket:
            await say(socket, noise(SAID_S, seed=1))
            await nodes[other].until_received("new", 500)
            placed = await nodes[other].http.get("/metrics")
        await old.speak()
        assert (await nodes[other].get(recording))["status"] == "ongoing"
        await nodes[keeper].act(recording, "stop")
        await old.hang_up()
        done = await nodes[other].until(recording)
        assert await draining == 0
        file = await fetched(nodes, done)

    assert 'wavstream_cluster_sessions{where="here"} 1.0' in placed.text
    samples, _ = hear(file)
    # Sent faster than they are said: the first of them lie before the start of the recording.
    assert has(samples[:, 0], old.said[1][1_600:])


async def fetched(nodes: Cluster, recording: dict[str, Any]) -> bytes:
    """Return the file, from any node, or from where that sends one."""
    client = next(iter(nodes.clients.values()))
    answer = await client.http.get(urlsplit(recording["url"]).path, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    return answer.content


def has(channel: NDArray[np.int16], words: NDArray[np.int16]) -> bool:
    """Return whether these words are in a channel, all of them in one piece."""
    return channel.astype("<i2").tobytes().find(words.astype("<i2").tobytes()) >= 0


async def has_stage(nodes: Cluster, name: str) -> bool:
    return "wavstream_drain_stage 1.0" in (await nodes[name].http.get("/metrics")).text


@needs_a_small_disk
@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", ["drain", "SIGTERM", "SIGKILL"])
async def test_a_node_that_goes_on_a_full_disk_leaves_the_next_all_that_was_said(
    tmp_path: Path, weed: Weed, end: str
) -> None:
    (tmp_path / "a").mkdir()
    with small_disk(tmp_path / "a", size_bytes=48 << 20) as disk:
        async with cluster(tmp_path, weed, "a", "b", starts=False, **WHATEVER_THE_LOAD) as (nodes, _):
            nodes.nodes["a"] = node = nodes.made("a", limits__min_free_bytes=1 << 20)
            node.enter = disk.enter
            nodes.clients["a"] = await node.start()
            await nodes.start("b")
            caller = Caller(nodes, 0)
            recording = await nodes["a"].start(caller.session_id)
            await caller.speak()
            disk.fill()
            for _ in range(3):
                await caller.speak()
            await until_copied(nodes["a"])
            if end == "SIGKILL":
                await nodes.kill("a")
            elif end == "SIGTERM":
                assert await nodes.stop("a") == 0
            else:
                words = ("drain", "--wait", "0", "--stop")
                command = await entered(*disk.enter, words=words, environment=nodes.environment("a"))
                assert await command.wait() == 0
                assert await ended(nodes, "a") == 0
            await caller.speak()
            await nodes["b"].act(recording, "stop")
            await caller.hang_up()
            file = await fetched(nodes, await nodes["b"].until(recording))

    samples, _ = hear(file)
    assert [has(samples[:, 0], words) for words in caller.said] == [True] * 5
    assert not any("Traceback" in line or "could not be written" in line for line in node.last_words)
