"""What the command line asks a server that runs: recordings listed, shown, fetched and erased."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.command_line import CommandLine, Said
from tests.support.recorder import Recorder, recorder
from tests.support.speech import noise
from wavstream.simulator.caller import Leg

Run = Callable[..., Awaitable[Said]]
SAID = noise(0.5)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return the shell, beside the server that the loop of this test runs."""
    monkeypatch.setenv("COLUMNS", "160")
    line = CommandLine(monkeypatch, capsys)
    with capture_logs():  # the log of that server is not what a command prints
        yield lambda *words: asyncio.to_thread(line, *words)


async def recorded(client: Recorder, session_id: str) -> dict[str, str]:
    recording = await client.start(session_id)
    await client.play_at_once(session_id, Leg("a", SAID[:, None]))
    return await client.until(recording)


async def test_recordings_are_listed_shown_fetched_and_erased(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with recorder(tmp_path / "data") as (client, _):
        at = ("--url", client.base_url)
        first, second = await recorded(client, "call-[red]1"), await recorded(client, "call-2")

        listed, of_one = await run("list", *at), await run("list", "--session", "call-2", "--json", *at)
        newest = await run("list", "--limit", "1", "--json", *at)
        shown = await run("show", first["id"], *at)
        as_json = await run("show", first["id"], "--json", *at)
        got, again = await run("get", first["id"], *at), await run("get", first["id"], *at)
        named = await run("get", first["id"], "mine.mp3", "--format", "mp3", *at)
        erased = await run("erase", first["id"], "--yes", *at)
        left = await run("list", "--status", "available", "--json", *at)
        file = await client.fetch(second)
        await run("get", second["id"], "second.wav", *at)

    rows = [line for line in listed.out.splitlines() if "available" in line]
    assert [("call-2" in row, "call-[red]1" in row) for row in rows] == [(True, False), (False, True)]
    assert {line["id"] for line in map(json.loads, of_one.out.splitlines())} == {second["id"]}
    assert [json.loads(line)["id"] for line in newest.out.splitlines()] == [second["id"]]
    assert (shown.code, f"audio_sha256  {first['audio_sha256']}" in shown.out) == (0, True)
    assert json.loads(as_json.out)["id"] == first["id"]
    assert got.out == f"{first['file_name']}: {first['size_bytes']:,} bytes\n"
    assert (again.code, "--force" in again.err) == (2, True)
    assert named.code == 0
    assert (tmp_path / "mine.mp3").stat().st_size > 1000
    assert (erased.code, erased.out.splitlines()[-1]) == (0, f"recording {first['id']} is erased")
    assert [json.loads(line)["id"] for line in left.out.splitlines()] == [second["id"]]
    assert (tmp_path / "second.wav").read_bytes() == file
    assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []


async def test_a_server_that_refuses_is_quoted_and_one_that_is_not_there_is_said_to_be(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    async with recorder(tmp_path / "data", api_key="right") as (client, _):
        at = ("--url", client.base_url, "--key", "right")
        runs = await run("show", "no-such-recording", *at)
        without_key = await run("list", "--url", client.base_url)
        another_app = await run("list", "--app", "shop", *at)
        own_app = await run("list", "--app", "default", *at)
        no_file = await run("get", "no-such-recording", "file.wav", *at)
        bad = await run("list", "--status", "gone", *at)
        sent = await run("send", Path(__file__).parents[2] / "wavstream/simulator/voices/caller.wav",
                         "--url", client.base_url, "--session", "call-77", "--key", "wrong")  # fmt: skip
    nowhere = await run("list", "--url", "http://127.0.0.1:1")

    assert (runs.code, runs.err.startswith("wavstream: GET /v1/recordings/no-such-recording: 404: ")) == (1, True)
    assert (without_key.code, "WAVSTREAM_API_KEY" in without_key.err) == (1, True)
    assert (another_app.code, own_app.code) == (1, 0)
    assert (no_file.code, (tmp_path / "file.wav").exists()) == (1, False)
    assert (bad.code, "available" in bad.err) == (2, True)
    assert (nowhere.code, "is the server running there" in nowhere.err) == (2, True)
    assert sent.code == 1
    assert "refused with 401: " in sent.err


async def test_an_erasure_is_asked_for_twice(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async with recorder(tmp_path / "data") as (client, _):
        recording = await recorded(client, "call-1")
        monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
        asked = await run("erase", recording["id"], "--url", client.base_url)
        row = await client.get(recording)

    assert asked.code == 1
    assert row["status"] == "available"
