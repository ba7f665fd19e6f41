"""A server goes on with what the version before it left when it was killed, and answers as that one did.

What it makes of a journal differs where the timeline was mended since. In the call that ran, nothing was sent for 62 ms
when the recording started, which the version before took for a delay and so placed the first second 62 ms early: before
its pause that is all that is different.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
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
MOVED = 493
"""Samples by which the version before placed the first second of the call that ran too early: 62 ms."""
PAUSED_FROM = 8046
"""The sample at which the pause of that call began."""
MOVED_FIELDS = ("audio_sha256", "legs", "integrity")
KILLED_AT = datetime.fromisoformat(max(each["created_at"] for each in KNOWN["recordings"].values())) + timedelta(
    seconds=20
)


def moved_back(audio: bytes) -> bytes:
    """Return the audio of the call that ran, with what was said before its pause where the version before placed it."""
    samples = np.frombuffer(audio, "<i2").reshape(-1, 2)
    said = samples[MOVED:PAUSED_FROM]
    return np.concatenate((said, np.zeros((MOVED, 2), "<i2"), samples[PAUSED_FROM:])).tobytes()


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


def told(answer: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.loads(answer["body"])
    return list(body["data"]) if "data" in body else [body]


def kept(document: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a recording that is erased."""
    personal = {"session_id", "file_name", "url", "from", "to", "direction", "vendor_ids", "legs", "integrity"}
    return {name: value for name, value in document.items() if name not in personal}


async def test_the_apis_answer_byte_for_byte_as_the_version_before(tmp_path: Path) -> None:
    asked = expected("answers.json")

    async with brought_back(tmp_path, reconnect_wait_s=600) as service:
        given = await answers(f"http://127.0.0.1:{service.settings.port}", asked)

    assert len(given) > 100
    for question, answer in zip(asked, given, strict=True):
        if question["path"] == "/openapi.json":  # what it describes has grown; nothing of it may have gone
            assert json.loads(answer["body"])["paths"].keys() >= json.loads(question["answer"]["body"])["paths"].keys()
            continue
        before = question["answer"]
        if question["path"].startswith("/media/"):  # it says now that it is there, and wants an upgrade
            assert (before["status"], answer["status"]) == (404, 426)
            continue
        if question["path"] == "/v1/stream-tokens":  # a token names its key now, and so is longer
            for each in (answer, before):
                each["headers"].pop("content-length", None)
        if '"status":"deleted"' in before["body"]:  # what was personal in it has gone since
            assert answer["status"] == before["status"]
            assert [kept(each) for each in told(answer)] == [kept(each) for each in told(before)]
            assert all((each["from"], each["metadata"], each["legs"]) == ("", {}, []) for each in told(answer))
            continue
        if before["status"] == 401 or '"status":"absent"' in before["body"]:
            answer, before = without_words(answer), without_words(before)
        assert answer == before, f"{question['method']} {question['path']}"


def without_words(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what has more words now: a wrong key, and a recording whose stream had not come."""
    body = [{**each, "detail": "", "error": ""} for each in told(answer)]
    headers = {name: value for name, value in answer["headers"].items() if name != "content-length"}
    return {**answer, "body": body, "headers": headers}


async def test_recordings_that_ran_become_the_files_that_the_version_before_makes_of_them(tmp_path: Path) -> None:
    changing = ("ended_at", "expires_at")  # when this server started

    async with brought_back(tmp_path, reconnect_wait_s=0) as service:
        client = Recorder(f"http://127.0.0.1:{service.settings.port}", key=KEY)
        made = {id_: await client.until({"id": id_}, "available") for id_ in (KNOWN["running"], KNOWN["paused"])}
        await client.http.aclose()

    for id_, before in expected("recovered.json").items():
        same = {*before} - {*changing} - {*(MOVED_FIELDS if id_ == KNOWN["running"] else ())}
        assert {name: without_younger(made[id_][name]) for name in same} == {name: before[name] for name in same}
    assert_moved(without_younger(made[KNOWN["running"]]), expected("recovered.json")[KNOWN["running"]])


def assert_moved(made: dict[str, Any], before: dict[str, Any]) -> None:
    """Assert that the first second of the call that ran is later, and that nothing else of it is different."""
    integrity, legs = made["integrity"], made["legs"]
    # What was said in the last 17 ms before the pause lies in it now; of either leg.
    assert integrity.pop("paused_ms") == before["integrity"]["paused_ms"] + 33
    assert [(gap["leg"], gap["cause"]) for gap in integrity.pop("gaps")] == [("b", "reconnect"), ("a", "stall")]
    assert integrity.items() <= before["integrity"].items()
    assert [leg.pop("joined_ms") for leg in legs] == [22, 22]
    assert all(leg.items() <= old.items() for leg, old in zip(legs, before["legs"], strict=True))


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
    audio = output.read_bytes()[WAV_HEADER_BYTES:]
    if state == "running":
        audio = moved_back(audio)
    assert hashlib.sha256(audio).hexdigest() == wanted["audio_sha256"]


async def test_webhooks_that_waited_are_delivered_as_the_version_before_does_and_name_the_recording(
    tmp_path: Path,
) -> None:
    wanted = expected("deliveries.json")

    async with Receiver() as receiver, brought_back(tmp_path, reconnect_wait_s=600, webhooks_to=receiver.url):
        got = delivered(await receiver.wait_for(len(wanted)))

    # Byte for byte, but for the field that has come since.
    added = re.compile(r',"recording_id":"[0-9a-f]{32}"')
    assert [len(added.findall(each["body"])) for each in got] == [
        2 if '"event":"recording.' in each["body"] else 0 for each in wanted
    ]
    assert [{**each, "body": added.sub("", each["body"])} for each in got] == wanted
