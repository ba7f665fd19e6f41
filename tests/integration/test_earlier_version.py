"""A server goes on with what the version before it left when it was killed, and answers as that one did."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.earlier import KEY, answers, delivered, expected, send_webhooks_to, settings, unpack, without_younger
from tests.support.receiver import Receiver
from tests.support.recorder import Recorder, Wall
from tests.support.waiting import WAIT_S
from wavstream.cli.replay import run_replay
from wavstream.clock import UnixClock
from wavstream.rendering.timeline.clock import Patience
from wavstream.service.server import running
from wavstream.service.service import Service

WAV_HEADER_BYTES = 80
KNOWN = expected("known.json")
KILLED_AT = datetime.fromisoformat(max(each["created_at"] for each in KNOWN["recordings"].values())) + timedelta(
    seconds=20
)


@asynccontextmanager
async def brought_back(
    folder: Path, *, reconnect_wait_s: float, webhooks_to: str | None = None
) -> AsyncIterator[Service]:
    """Yield a server on the data folder, some seconds after the kill, that has read all of it."""
    wall = Wall()
    wall.ahead = KILLED_AT - wall()
    clock = UnixClock(int(KILLED_AT.timestamp() * 1e6))
    data = unpack(folder)
    if webhooks_to is not None:
        send_webhooks_to(webhooks_to, data)
    server = running(settings(data, reconnect_wait_s=reconnect_wait_s), wall=wall, clock=clock)
    async with server as (service, _):
        async with asyncio.timeout(WAIT_S):
            while service.recovery.running:
                await asyncio.sleep(0.01)
        yield service


async def test_the_apis_answer_byte_for_byte_as_the_version_before(tmp_path: Path) -> None:
    asked = expected("answers.json")

    async with brought_back(tmp_path, reconnect_wait_s=600) as service:
        given = await answers(f"http://127.0.0.1:{service.settings.port}", asked)

    assert len(given) > 100
    for question, answer in zip(asked, given, strict=True):
        if question["path"] == "/openapi.json":  # what it describes has grown; nothing of it may have gone
            assert json.loads(answer["body"])["paths"].keys() >= json.loads(question["answer"]["body"])["paths"].keys()
            continue
        assert answer == question["answer"], f"{question['method']} {question['path']}"


async def test_recordings_that_ran_become_the_files_that_the_version_before_makes_of_them(tmp_path: Path) -> None:
    changing = ("ended_at", "expires_at")  # when this server started

    async with brought_back(tmp_path, reconnect_wait_s=0) as service:
        client = Recorder(f"http://127.0.0.1:{service.settings.port}", key=KEY)
        made = {id_: await client.until({"id": id_}, "available") for id_ in (KNOWN["running"], KNOWN["paused"])}
        await client.http.aclose()

    for id_, before in expected("recovered.json").items():
        assert {name: without_younger(made[id_][name]) for name in before if name not in changing} == {
            name: value for name, value in before.items() if name not in changing
        }


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_journal_of_the_version_before_is_replayed(state: str, tmp_path: Path) -> None:
    data = unpack(tmp_path)
    recorded = KNOWN[state]
    for segment in sorted((data / "journal").glob("*-*.wsj")):
        if recorded.encode() in segment.read_bytes():
            break
    output = tmp_path / "replayed.wav"
    wanted = expected("recovered.json")[recorded]

    run_replay(segment, recording_id=recorded, output=output, patience=Patience(), console=Console(quiet=True))

    assert output.stat().st_size == wanted["size_bytes"]
    assert hashlib.sha256(output.read_bytes()[WAV_HEADER_BYTES:]).hexdigest() == wanted["audio_sha256"]


async def test_webhooks_that_waited_are_delivered_byte_for_byte_as_the_version_before_does(tmp_path: Path) -> None:
    wanted = expected("deliveries.json")

    async with Receiver() as receiver, brought_back(tmp_path, reconnect_wait_s=600, webhooks_to=receiver.url):
        got = delivered(await receiver.wait_for(len(wanted)))

    assert got == wanted
