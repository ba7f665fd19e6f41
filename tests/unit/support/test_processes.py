"""A process that is forked is as one that a shell started: its words, environment, folder, signals and exit code."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.processes import run, start

TELL = """
import json, os, sys
umask = os.umask(0)
print(json.dumps([sys.argv[1:], os.environ["TOLD"], os.getcwd(), umask, os.getpid()]), file=sys.stderr)
raise SystemExit(3)
"""
WAIT = """
import sys, time
print("begun", file=sys.stderr, flush=True)
time.sleep(600)
"""


async def test_a_script_has_its_words_the_environment_the_folder_and_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        process = await start(TELL, "one", "two", environment={"TOLD": "so"})
    finally:
        os.umask(before)
    told = json.loads(await process.stderr.readline())
    assert told == [["one", "two"], "so", str(tmp_path), 0o027, process.pid]
    assert await process.wait() == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_is_its_exit_code(number: signal.Signals) -> None:
    process = await start(WAIT)
    assert await process.stderr.readline() == b"begun\n"
    process.send_signal(number)
    assert await process.wait() == -number
    process.send_signal(number)  # nobody else has its id


def test_a_command_says_on_standard_error_what_it_cannot_do() -> None:
    code, said = run("serve", environment={"WAVSTREAM_PORT": "none"})
    assert code == 2
    assert "WAVSTREAM_PORT" in said
