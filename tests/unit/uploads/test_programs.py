"""The operator's program is run for each uploaded file, at least once, apart from everything else."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.faulty_database import FaultyDatabase
from tests.support.recordings import START, a_recording
from tests.support.waiting import until
from wavstream.catalog.catalog import Catalog
from wavstream.model.recording import Receipt, Recording, Status, StoredObject
from wavstream.uploads.program import ProgramFailed, environment_of, run
from wavstream.uploads.programs import AT_ONCE, TRIES, Programs

URL = "https://rec.example.com/f.wav"
STORED = StoredObject("s3://first", START)


def a_stored_recording(name: str = "1", *, session_id: str = "call-77") -> Recording:
    receipt = Receipt(8000, 1, 80_000, "9f" * 32, 160_080)
    recording = a_recording(name * 32, status=Status.AVAILABLE, session_id=session_id)
    return replace(recording, receipt=receipt, stored=STORED)


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


# ---- one run ---------------------------------------------------------------------------------------------------------


def test_a_program_is_told_of_the_file_and_none_of_our_settings() -> None:
    ours = {"PATH": "/bin", "WAVSTREAM_API_KEY": "a secret", "AWS_PROFILE": "calls"}

    told = environment_of(a_stored_recording(session_id="a\0b\ud800"), url=URL, ours=ours)

    assert told["WAVSTREAM_RECORDING_ID"] == "1" * 32
    assert told["WAVSTREAM_APP"] == "default"
    assert told["WAVSTREAM_SESSION"] == "ab?"
    assert told["WAVSTREAM_URL"] == URL
    assert told["WAVSTREAM_STORE"] == "s3://first"
    assert told["WAVSTREAM_KEY"] == f"default/{'1' * 32}.wav"
    assert told["WAVSTREAM_SHA256"] == "9f" * 32
    assert told["WAVSTREAM_SIZE"] == "160080"
    assert told["WAVSTREAM_DURATION_MS"] == "10000"
    assert (told["PATH"], told["AWS_PROFILE"]) == ("/bin", "calls")
    assert "WAVSTREAM_API_KEY" not in told


def test_arguments_are_no_words_of_a_shell(tmp_path: Path) -> None:
    program = script("import sys; open(sys.argv[1], 'w').write(sys.argv[2])")
    run([*program, str(tmp_path / "said"), "$HOME; `ls` *"], {}, timeout_s=60)
    assert (tmp_path / "said").read_text() == "$HOME; `ls` *"


def test_what_a_program_wrote_to_standard_error_says_why_it_failed() -> None:
    with pytest.raises(ProgramFailed, match="ended with 3: no such customer"):
        run(script("import sys; sys.stderr.write('no such customer'); sys.exit(3)"), {}, timeout_s=60)


def test_a_server_with_a_thousand_open_sockets_hears_its_program() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_400), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
    try:
        with pytest.raises(ProgramFailed, match="ended with 3: no such customer"):
            run(script("import sys; sys.stderr.write('no such customer'); sys.exit(3)"), {}, timeout_s=60)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_program_that_is_not_there_has_failed() -> None:
    with pytest.raises(ProgramFailed, match="/nowhere/program cannot be run"):
        run(["/nowhere/program"], {}, timeout_s=60)


def test_of_what_a_program_writes_without_end_only_the_end_is_kept() -> None:
    with pytest.raises(ProgramFailed) as failed:
        run(script("import sys; sys.stderr.write('x' * 5_000_000 + 'last'); sys.exit(1)"), {}, timeout_s=60)
    assert len(str(failed.value)) < 3_000
    assert str(failed.value).endswith("last")


def test_a_program_that_is_late_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    parent = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    is_stopping = Event()

    with pytest.raises(ProgramFailed, match="had not ended"):
        run(script(parent), {}, timeout_s=3, is_stopping=is_stopping)

    give_up_s = time.monotonic() + 30
    while is_alive(int(child.read_text())):
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process_id}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_child_that_goes_on_behind_a_program_that_ended_holds_nothing_up() -> None:
    parent = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])"
    run(script(parent), {}, timeout_s=60)


# ---- all of them -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(catalog: Catalog, command: list[str]) -> AsyncIterator[Programs]:
    began_s = time.monotonic()

    def now() -> datetime:
        return START + timedelta(seconds=time.monotonic() - began_s)

    programs = Programs(
        catalog=catalog, command=command, timeout_s=60, url_of=lambda _: URL, now=now, first_wait_s=0.001
    )
    programs.start()
    try:
        yield programs
    finally:
        await programs.stop()


async def store(catalog: Catalog, name: str = "1") -> Recording:
    """Have a recording's file in a store, as the uploader notes it."""
    recording = a_stored_recording(name)
    await catalog.recordings.add(replace(recording, stored=None))
    assert await catalog.uploads.finish(recording.id, STORED, runs_program=True)
    return recording


async def test_each_file_is_told_once_and_forgotten(catalog: Catalog, tmp_path: Path) -> None:
    recordings = [await store(catalog, name) for name in "123"]
    text = f"import os; open({str(tmp_path)!r} + '/' + os.environ['WAVSTREAM_RECORDING_ID'], 'a').write('x')"
    async with running(catalog, script(text)) as programs:
        await until(lambda: programs.counts.succeeded == 3)
        await until(catalog_is_empty(catalog))
    assert said_in(tmp_path) == {each.id: "x" for each in recordings}


def said_in(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir() if len(each.name) == 32}


def catalog_is_empty(catalog: Catalog) -> Callable[[], Coroutine[Any, Any, bool]]:
    async def is_empty() -> bool:
        return await catalog.stored_runs.count() == 0

    return is_empty


async def test_a_program_that_fails_is_given_up_after_so_many_tries(catalog: Catalog) -> None:
    await store(catalog)
    async with running(catalog, ["/nowhere/program"]) as programs:
        await until(lambda: programs.counts.given_up == 1)
        assert programs.counts.failed == TRIES
        await until(catalog_is_empty(catalog))


async def test_a_program_that_was_broken_off_with_the_server_is_run_again(catalog: Catalog, tmp_path: Path) -> None:
    await store(catalog)
    slow = script(f"import time; open({str(tmp_path / 'began')!r}, 'a').write('x'); time.sleep(600)")
    async with running(catalog, slow) as programs:
        await until(lambda: (tmp_path / "began").exists())
    assert programs.counts.failed == 0, "it did not fail"
    async with running(catalog, script("pass")) as programs:
        await until(lambda: programs.counts.succeeded == 1)


async def test_so_many_run_at_once(catalog: Catalog, tmp_path: Path) -> None:
    for name in "12345":
        await store(catalog, name)
    text = (
        f"import os, time; p = {str(tmp_path)!r} + '/run' + str(os.getpid()); open(p, 'w').close()\n"
        f"n = len([f for f in os.listdir({str(tmp_path)!r}) if f.startswith('run')])\n"
        f"open({str(tmp_path / 'most')!r}, 'a').write(str(n)); time.sleep(0.1); os.remove(p)"
    )
    async with running(catalog, script(text)) as programs:
        await until(lambda: programs.counts.succeeded == 5)
    most = await asyncio.to_thread((tmp_path / "most").read_text)
    assert max(map(int, most)) <= AT_ONCE


async def test_of_a_recording_that_was_erased_meanwhile_nothing_is_told(catalog: Catalog, tmp_path: Path) -> None:
    recording = await store(catalog)
    await catalog.erasures.begin([recording], Status.DELETED, by="app", now=START)
    async with running(catalog, script(f"open({str(tmp_path / 'told')!r}, 'w')")) as programs:
        await until(catalog_is_empty(catalog))
        assert programs.counts.succeeded == 0
    assert not (tmp_path / "told").exists()


async def test_a_catalog_that_fails_for_a_while_is_a_pause(
    catalog: Catalog, database: FaultyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavstream.uploads.programs._CATALOG_WAIT_S", 0.01)
    await store(catalog)
    database.faults |= {"StoredRuns.due": 2, "StoredRuns.forget": 2}
    async with running(catalog, script("pass")):
        await until(catalog_is_empty(catalog))
