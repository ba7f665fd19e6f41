"""What vendors do not wait long for, while 500 other streams run and are recorded.

The figures are the vendors' own limits: Asterisk gives a connection 500 ms from the TCP connect to the 101, AudioHook
gives ``opened`` 5 s. No other speed is asserted, and time in which there was no core for server or client does not
count.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.support.every_dialect import legs_of, rate_of
from tests.support.recorder import Recorder, ServerProcess
from tests.support.truth import real_time
from tests.support.waiting import WAIT_S, until
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import ANSWER_TIMEOUT_S, play_call
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.vendors.registry import PEERS

OTHERS = 500
CONNECT_LIMIT_S = 0.5
"""Asterisk's ``connection_timeout``, as it is unless somebody sets it."""
OPENED_LIMIT_S = 5.0
"""Of AudioHook, and of whatever else waits for an answer to its opening."""
TIMES = 5


@real_time
async def test_vendors_that_do_not_wait_are_answered_in_time_while_500_other_streams_are_recorded(
    tmp_path: Path,
) -> None:
    assert ANSWER_TIMEOUT_S == OPENED_LIMIT_S
    # Whether the machine is too slow for new calls is no matter of this test.
    async with ServerProcess(tmp_path, limits__loop_delay_s=0, limits__fold_delay_s=0) as process:
        client = await process.start()
        async with others(client):
            for _ in range(TIMES):
                for dialect in PEERS:
                    assert await upgrade(client, dialect, process.pid) < CONNECT_LIMIT_S, dialect
            # Where the vendor waits for an answer, its side in the simulator gives up after its limit.
            for dialect in PEERS:
                await play_call(
                    legs_of(dialect, np.zeros(rate_of(dialect) // 5, np.int16), stereo=False),
                    server=ServerAddress.parse(client.base_url),
                    session_id=f"quick-{dialect}",
                    dialect=dialect,
                )
            assert await metric(client, "wavstream_open_sockets") >= OTHERS
        await client.http.aclose()


async def upgrade(client: Recorder, dialect: str, server: int) -> float:
    """Open a stream and return how long that took, in seconds, without the time in which there was no core for it."""
    subprotocol = PEERS[dialect].subprotocol
    before_s, start_s = waited_s(server, os.getpid()), time.monotonic()
    async with connect(
        f"{client.base_url.replace('http', 'ws', 1)}/media/{dialect}/quick/a",
        subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
        open_timeout=WAIT_S,
        compression=None,
        ping_interval=None,
    ):
        return time.monotonic() - start_s - (waited_s(server, os.getpid()) - before_s)


@asynccontextmanager
async def others(client: Recorder) -> AsyncIterator[None]:
    """Have 500 legs stream and be recorded, from another process."""
    server = ServerAddress.parse(client.base_url)
    targets = [
        server.media_path("pcm", f"other-{number // 2}", "ab"[number % 2], {"record": "1"}) for number in range(OTHERS)
    ]
    with contextlib.ExitStack() as stack:
        generator = await asyncio.to_thread(stack.enter_context, Generator(server, Traffic(targets, frames=50_000)))
        await asyncio.to_thread(generator.wait_connected)
        generator.start(time.monotonic() + 0.2)
        await until(lambda: all_stream(client))
        yield


async def all_stream(client: Recorder) -> bool:
    return await metric(client, "wavstream_frames_total") > 5 * OTHERS


async def metric(client: Recorder, name: str) -> float:
    text = (await client.http.get("/metrics")).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))


def waited_s(*processes: int) -> float:
    """Return for how long threads of these processes have waited for a core; 0: it is not known.

    Of all threads: one that has the interpreter's lock and no core keeps the loop waiting too.
    """
    waited_ns = 0
    for process in processes:
        for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                waited_ns += int(file.read_text().split()[1])
    return waited_ns / 1e9
