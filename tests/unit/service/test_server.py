"""The start of a server: its warnings, and the wait for it."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from wavstream.service.server import running, wait_until_ready
from wavstream.settings import Settings

NOTHING_SAID: list[str] = []


@pytest.mark.parametrize(
    ("settings", "links"),
    [
        ({"host": "0.0.0.0"}, ["http://127.0.0.1:{port}"]),
        ({"host": "0.0.0.0", "public_url": "https://rec.example.com"}, NOTHING_SAID),
        ({"host": "::1,0.0.0.0"}, ["http://[::1]:{port}"]),
        ({"host": "127.0.0.1,127.0.0.2"}, NOTHING_SAID),
    ],
)
async def test_a_server_for_other_machines_whose_links_open_on_its_own_alone_warns_of_it(
    tmp_path: Path, settings: dict[str, Any], links: list[str]
) -> None:
    everything = Settings(port=0, data_dir=tmp_path, api_key=SecretStr("key-of-the-default-app"), **settings)
    with capture_logs() as logs:
        async with running(everything) as (service, _):
            port = service.settings.port
    warnings = [entry for entry in logs if entry["event"] == "links_open_locally_only"]
    assert [entry["links"] for entry in warnings] == [each.format(port=port) for each in links]
    assert all("WAVSTREAM_PUBLIC_URL" in entry["to_do"] for entry in warnings)


@pytest.mark.parametrize("becomes_ready", [True, False])
async def test_the_wait_for_a_server_leaves_nothing_behind_whether_it_is_ready_or_ends_first(
    becomes_ready: bool,
) -> None:
    before, ready, end = asyncio.all_tasks(), asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        if becomes_ready:
            ready.set()
            await end.wait()

    serving = asyncio.create_task(serve())
    await wait_until_ready(ready, serving)

    assert asyncio.all_tasks() - before == ({serving} if becomes_ready else set())
    end.set()
    await serving


async def test_a_wait_for_a_server_that_is_cancelled_leaves_nothing_behind() -> None:
    before, started = asyncio.all_tasks(), asyncio.Event()

    async def serve() -> None:
        started.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    waiting = asyncio.create_task(wait_until_ready(asyncio.Event(), serving))
    await started.wait()
    waiting.cancel()
    await asyncio.wait((waiting,))

    assert asyncio.all_tasks() - before == {serving}
    serving.cancel()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps what was freed")
def test_memory_of_a_burst_is_given_back_when_it_is_freed() -> None:
    burst = """
        from pathlib import Path
        from wavstream.service.memory import give_memory_back

        def resident_bytes():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

        give_memory_back()
        before = resident_bytes()
        del_me = b"x" * 30_000_000
        del del_me  # from here on glibc would keep blocks of this size
        del_me, last = b"x" * 20_000_000, b"x" * 100_000
        del del_me
        print(resident_bytes() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(burst)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000_000
