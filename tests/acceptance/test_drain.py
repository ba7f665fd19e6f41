"""A server that is drained ends nothing that has begun, begins nothing new, and is left when it has no more to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.kills import heard_of
from tests.support.processes import Process, start
from tests.support.recorder import Recorder, ServerProcess, hear
from tests.support.speech import noise
from tests.support.talking import say
from tests.support.waiting import until

WORKERS = pytest.mark.parametrize("workers", [1, 2])


async def drain(data_dir: Path, *words: str) -> Process:
    return await start("wavstream", "drain", *words, environment={"WAVSTREAM_DATA_DIR": str(data_dir)})


async def readiness(client: Recorder) -> dict[str, Any]:
    return (await client.http.get("/readyz")).json()  # type: ignore[no-any-return]


async def is_draining(client: Recorder) -> bool:
    """Return whether all workers do: what one says alone begins with its name."""
    return any(reason.startswith("the server is being drained") for reason in (await readiness(client))["reasons"])


async def refuses_streams(client: Recorder, session_id: str) -> str | None:
    with pytest.raises(InvalidStatus) as refused:
        async with client.connect(f"/media/pcm/{session_id}/a"):
            pass
    assert refused.value.response.status_code == 503
    return refused.value.response.headers.get("Retry-After")


@WORKERS
async def test_a_call_that_runs_is_recorded_to_its_end_and_new_ones_are_refused(tmp_path: Path, workers: int) -> None:
    first, second = noise(1.0, seed=1), noise(1.0, seed=2)
    async with ServerProcess(tmp_path, workers=workers) as server:
        client = await server.start()
        recording = await client.start("call-1")
        socket = await client.connect("/media/pcm/call-1/a")
        await say(socket, first)
        await client.until_received("call-1", 1000)
        command = await drain(tmp_path, "--wait", "60", "--stop")
        await until(lambda: is_draining(client))

        for name in ("call-2", "call-3", "call-4"):  # whichever worker would have it
            assert int(await refuses_streams(client, name) or 0) > 0
            asked = await client.http.post("/v1/recordings", json={"session_id": name})
            assert (asked.status_code, int(asked.headers["Retry-After"]) > 0) == (503, True)
        another = await client.start("call-1")  # of a call that has begun
        leg = await client.connect("/media/pcm/call-1/b")
        await say(socket, second)
        await say(leg, second)
        await client.until_received("call-1", 1000, legs=2)
        await client.act(another, "stop")
        done = await client.act(recording, "stop")
        file = await client.fetch(await client.until(done))
        await leg.close()
        await socket.close()

        assert await command.wait() == 0
        await client.http.aclose()
        assert not list((tmp_path / "journal").iterdir())
        again = await server.start()  # and the start after it takes calls
        assert (await readiness(again))["ready"]
        await again.http.aclose()
    samples, _ = hear(file)
    assert heard_of(samples[:, 0], first) == len(first)
    assert heard_of(samples[:, 0], second) == len(second)


async def test_a_call_that_outlasts_the_wait_goes_on_and_the_drain_is_taken_back(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await client.start("call-1")
        socket = await client.connect("/media/pcm/call-1/a")
        await say(socket, noise(0.5, seed=1))
        await client.until_received("call-1", 500)

        command = await drain(tmp_path, "--wait", "1.5", "--stop")
        said = (await command.stderr.read()).decode()
        assert await command.wait() == 1
        assert "1 session, 0 unfinished files after 1.5 s" in said
        assert "--undo" in said
        assert (await client.get(recording))["status"] == "ongoing"
        await refuses_streams(client, "call-2")

        command = await drain(tmp_path, "--undo")
        assert await command.wait() == 0
        assert (await readiness(client))["ready"]
        async with client.connect("/media/pcm/call-2/a"):
            pass
        await socket.close()
        await client.http.aclose()


async def test_where_no_server_is_there_is_nothing_to_drain(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for folder in (tmp_path / "data", tmp_path / "none"):
        command = await drain(folder)
        said = (await command.stderr.read()).decode()
        assert await command.wait() == 2
        assert str(folder) in said
    assert not (tmp_path / "data" / "drain").exists()
    assert not (tmp_path / "none").exists()
