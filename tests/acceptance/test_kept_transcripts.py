"""How long what was said is kept: under a hold, until retention is over, and wherever in a cluster it is erased."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_transcripts import (
    asking,
    copies,
    engine,
    over,
    recorded,
    said_by_callee,
    shop,
    transcript,
)
from tests.support.hearing import HEARD, Hearing
from tests.support.nodes import cluster
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, Wall, recorder
from tests.support.waiting import until
from tests.support.weed import Weed

DONE, FAILED = "recording.transcribed", "recording.transcription_failed"


async def test_a_hold_keeps_what_was_said_against_every_wish_and_its_end_lets_go(tmp_path: Path) -> None:
    said = iter(("good morning", "god mourning", "good evening"))

    async def answer(_request: Received) -> Answer:
        return Answer(body=json.dumps({"text": heard}).encode())

    heard = next(said)
    async with Receiver(answer) as receiver:
        settings = engine("http", url=receiver.url, allow_http=True, allow_localhost=True)
        async with recorder(tmp_path, **settings) as (client, _):
            recording = await recorded(client)
            work = await over(client, recording)
            made = await transcript(client, recording)
            path = f"/v1/recordings/{recording['id']}"
            hold = {"by": "legal", "reason": "case 4711"}
            assert (await client.http.post(f"{path}/hold", json=hold)).status_code == 200
            heard = next(said)

            refused = [
                await client.http.delete(path),
                await client.http.delete(f"/v2/recording_transcriptions/{work['id']}"),
                await client.http.post(f"{path}/transcription"),
            ]

            assert [each.status_code // 100 for each in refused] == [4, 4, 4]
            assert "hold" in refused[2].json()["detail"]
            assert await transcript(client, recording) == made
            assert (await over(client, recording)) == work
            await until(lambda: [json.loads(each) for each in copies(tmp_path)] == [made])

            assert (await client.http.delete(f"{path}/hold")).status_code == 200
            assert (await client.http.post(f"{path}/transcription")).status_code == 202
            assert (await over(client, recording))["status"] == "done"
            assert (await transcript(client, recording))["segments"][0]["text"] == heard
            assert (await client.http.delete(path)).status_code == 204
            assert (await client.http.get("/v1/transcripts?q=mourning")).json()["data"] == []


async def test_once_its_time_is_over_nobody_finds_what_was_said_be_it_swept_or_not(tmp_path: Path) -> None:
    wall = Wall()
    async with Hearing("zanzibarquux morning") as hearing:
        async with recorder(tmp_path, wall=wall, **hearing.settings()) as (client, _):
            recording = await recorded(client)
            assert (await over(client, recording))["status"] == "done"
            await until(lambda: copies(tmp_path))
            assert len((await client.http.get("/v1/transcripts?q=zanzibarquux")).json()["data"]) == 1
            wall.ahead = timedelta(hours=25)  # the next sweep is minutes away
            assert (await client.http.get(f"/v1/recordings/{recording['id']}/transcript")).status_code in (404, 410)
            assert (await client.http.get("/v1/transcripts?q=zanzibarquux")).json()["data"] == []
            assert (await client.http.get("/v2/recording_transcriptions")).json()["data"] == []
        assert b"zanzibarquux" in await asyncio.to_thread(content, tmp_path)
        sweeps = {"retention": {"sweep_interval_s": 0.05}}
        async with recorder(tmp_path, wall=wall, **sweeps, **hearing.settings()) as (client, _):
            # The catalog's file is rid of it by the sweep that removes the files.
            await until(lambda: b"zanzibarquux" not in content(tmp_path))


def content(folder: Path) -> bytes:
    """Return what is in all files of a folder from which files go meanwhile."""
    read = bytearray()
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                read += Path(at, name).read_bytes()
    return bytes(read)


async def test_each_outcome_of_each_wish_is_told_once_over_failures_kills_and_what_is_erased_meanwhile(
    tmp_path: Path,
) -> None:
    heard, asked = Answer(400, body=b"no"), asyncio.Event()
    waits = False

    async def answer(request: Received) -> Answer:
        if not request.line.startswith("POST /asr"):
            return Answer()
        asked.set()
        while waits:
            await asyncio.sleep(0.05)
        return heard

    async def asked_for(client: Recorder) -> str:
        asked.clear()
        ids = [(await client.http.post(f"{path}/transcription")).json()["id"] for _ in range(3)]
        await asyncio.wait_for(asked.wait(), 60)
        ids.append((await client.http.post(f"{path}/transcription")).json()["id"])
        assert len({*ids}) == 1
        return str(ids[0])

    async with (
        Receiver(answer) as receiver,
        asking(tmp_path, receiver) as server,
    ):
        client = await server.start()
        key = await shop(client, receiver, [DONE, FAILED])
        recording = await client.start("call-1")
        recording = await said_by_callee(client, recording)
        path = f"/v1/recordings/{recording['id']}"

        waits = True
        failed = await asked_for(client)
        waits = False
        assert (await over(client, recording))["status"] == "failed"
        heard, waits = Answer(body=b'{"text": "good morning"}'), True
        killed = await asked_for(client)
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        waits = False
        client = await server.start()
        client.http.headers.update(key)
        assert (await over(client, recording))["id"] == killed

        waits = True
        erased = await asked_for(client)
        assert (await client.http.delete(f"/v2/recording_transcriptions/{erased}")).status_code == 200
        assert (await client.http.get(f"{path}/transcript")).status_code == 404
        again = await asked_for(client)  # at once: the program of the one before has been ended
        waits = False
        assert (await over(client, recording))["id"] == again
        assert len((await transcript(client, recording))["segments"]) == 2
        await until(lambda: [each for each in receiver.requests if again in each.body.decode(errors="replace")])
        await server.end(signal.SIGTERM)  # what is to be told more is told by now, or by the next start
        await client.http.aclose()
        client = await server.start()
        await client.http.aclose()

    told = [each.message for each in receiver.requests if each.line.startswith("POST /hook")]
    assert [(each["event"], each["transcription"]["id"]) for each in told] == [
        (FAILED, failed),
        (DONE, killed),
        (DONE, again),
    ]


async def test_a_copy_that_the_disk_does_not_take_leaves_nothing_in_the_spool_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Hearing() as hearing, recorder(tmp_path, **hearing.settings()) as (client, service):
        transcriber = service.transcriber
        assert transcriber is not None
        monkeypatch.setattr(transcriber._storage, "publish_transcript", full)
        recording = await recorded(client)
        assert (await over(client, recording))["status"] == "done"
        await until(lambda: transcriber.running == 0)
        left = [path.name for path in (tmp_path / "spool").rglob("*") if path.suffix == ".words"]
    assert left == []


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def files_in(weed: Weed, recording: dict[str, Any]) -> list[str]:
    return [each for each in weed.objects() if recording["id"] in each]


async def until_none(look: Callable[[], list[str]]) -> None:
    """Wait until there are none any more."""
    await until(lambda: not look())


def words_in(weed: Weed, recording: dict[str, Any]) -> list[str]:
    return [each for each in weed.objects() if recording["id"] in each and each.endswith(".words")]


async def test_any_node_has_a_transcript_made_and_erased_wherever_its_file_is(tmp_path: Path, weed: Weed) -> None:
    asked = list[Received]()

    async def answer(request: Received) -> Answer:
        asked.append(request)
        return Answer(body=json.dumps({"text": HEARD}).encode())

    async with Receiver(answer) as receiver:
        settings: dict[str, Any] = {
            "transcription__engine": "http",
            "transcription__nice": 0,
            "transcription__url": receiver.url,
            "transcription__allow_http": True,
            "transcription__allow_localhost": True,
        }
        async with cluster(tmp_path, weed, "a", "b", **settings) as (nodes, _):
            for name, other in (("a", "b"), ("b", "a")):
                client, others = nodes[name], nodes[other]
                weed.freeze()  # the file stays on the disk of the node that made it
                try:
                    recording = await recorded(client, f"call-{name}")
                    path = f"/v1/recordings/{recording['id']}/transcription"
                    assert (await others.http.post(path)).status_code == 202
                    for _ in range(3):
                        await asyncio.sleep(1.0)
                        work = (await client.http.get(path)).json()
                        assert (work["attempts"], work["error"]) == (0, None)
                finally:
                    weed.thaw()
                work = await over(others, recording)
                assert (work["status"], work["attempts"]) == ("done", 0), work
                assert await transcript(client, recording) == await transcript(others, recording)
                await until(functools.partial(words_in, weed, recording))
                erased = await others.http.delete(f"/v2/recording_transcriptions/{work['id']}")
                assert erased.status_code == 200, erased.text
                for each in (client, others):
                    assert (await each.http.get(path)).status_code == 404
                    assert (await each.http.get("/v1/transcripts?q=good")).json()["data"] == []
                await until_none(functools.partial(words_in, weed, recording))
                assert (await others.http.post(path)).status_code == 202
                assert (await over(client, recording))["status"] == "done"
                assert (await others.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 204
                await until_none(functools.partial(files_in, weed, recording))
                for each in (client, others):
                    assert (await each.http.get("/v1/transcripts?q=good")).json()["data"] == []
