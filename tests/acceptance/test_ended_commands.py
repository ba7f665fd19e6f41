"""Commands that are ended by a signal: a load takes back what it began."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.recorder import Recorder, recorder
from tests.support.waiting import until


async def recordings(client: Recorder) -> list[str]:
    answer = await client.http.get("/v1/recordings")
    return [each["status"] for each in answer.json()["data"]]


async def test_a_load_that_is_ended_leaves_no_recording_and_says_so(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        command = ("load", "--legs", "2", "--duration", "60", "--url", client.base_url)
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wavstream", *command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        await until(lambda: recordings(client))
        load.send_signal(signal.SIGTERM)
        assert load.stderr is not None
        said = (await load.stderr.read()).decode()
        code = await load.wait()
        left = await recordings(client)

    assert (code, left) == (1, [])
    assert said == "wavstream load: interrupted; what it recorded is removed\n"
