"""``wavstream recover``: what a killed server left is finished without serving."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.journals import call, leave, noise, started
from tests.support.processes import run
from tests.support.sessions import T0_US, a_recording, at
from wavstream.catalog.catalog import Catalog
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.service.data_folder import DataFolder

A_MINUTE_AGO_S = time.time() - T0_US / 1e6 - 60
"""The command reads the real clock, and what is too old is swept away."""


def recording_of_today(session_id: str = "call-77") -> Recording:
    """One that runs, since a minute."""
    asked = replace(a_recording(session_id=session_id), created_at=utc(at(A_MINUTE_AGO_S)))
    return started(asked, at_s=A_MINUTE_AGO_S)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder


def recover(folder: DataFolder, command: str = "recover") -> tuple[int, str]:
    """Run the command in a process of its own; its exit code, and the last line it said on standard error."""
    code, said = run(command, environment={"WAVSTREAM_DATA_DIR": str(folder.root)})
    return code, (said.splitlines() or [""])[-1]


def in_catalog(folder: DataFolder, *added: Recording) -> dict[str, Recording]:
    """Enter these, and read all that there are."""

    async def work() -> dict[str, Recording]:
        catalog = await Catalog.open(folder.catalog)
        for recording in added:
            await catalog.recordings.add(recording)
        page = await catalog.recordings.list("default", limit=100)
        await catalog.database.close()
        return {row.id: row for row in page.data}

    return asyncio.run(work())


def test_recordings_that_a_kill_interrupted_are_published(folder: DataFolder) -> None:
    killed, stopped = recording_of_today(), recording_of_today(session_id="call-78")
    leave(folder.journal, call(killed, length_s=3.0, from_s=A_MINUTE_AGO_S))
    leave(folder.journal, call(stopped, stop=EndReason.HANGUP, from_s=A_MINUTE_AGO_S), session_id="call-78")
    in_catalog(folder, killed)
    (folder.spool / "half.wav").write_bytes(b"RIFF")

    code, _ = recover(folder)

    assert code == 0
    rows = in_catalog(folder)
    assert [(rows[each.id].status, rows[each.id].end_reason) for each in (killed, stopped)] == [
        (Status.AVAILABLE, EndReason.RECOVERED),
        (Status.AVAILABLE, EndReason.HANGUP),
    ]
    heard, rate_hz = soundfile.read(folder.recordings / killed.object_key, dtype="int16")
    assert rate_hz == 8000
    assert np.array_equal(heard[:, 0], noise(3.0))
    assert [list(place.iterdir()) for place in (folder.journal, folder.spool)] == [[], []]


def test_rows_and_files_are_reconciled_where_there_is_no_journal_at_all(folder: DataFolder) -> None:
    lost = recording_of_today()
    done = recording_of_today(session_id="call-78")
    leave(folder.journal, call(done, stop=EndReason.HANGUP, from_s=A_MINUTE_AGO_S), session_id="call-78")
    assert recover(folder)[0] == 0
    whole = in_catalog(folder)[done.id]
    for path in folder.root.glob("catalog.db*"):
        path.unlink()
    in_catalog(folder, lost)

    code, _ = recover(folder)

    assert code == 0
    rows = in_catalog(folder)
    assert rows[lost.id].status is Status.FAILED
    options = replace(whole.options, sample_rate=8000)
    # Not in the sidecar: a jump of the clock moves no row that was made again.
    assert rows[done.id] == replace(whole, options=options, kept_since=None)


def test_what_cannot_be_finished_ends_with_code_1_and_stays(folder: DataFolder) -> None:
    failed = recording_of_today()
    leave(folder.journal, call(failed, stop=EndReason.HANGUP, from_s=A_MINUTE_AGO_S))
    in_catalog(folder, replace(failed, status=Status.FAILED, error="IndexError: a bug"))
    (folder.journal / f"{'k' * 32}-000001.wsj").write_bytes(b"not ours, and long enough")

    code, said = recover(folder)

    assert code == 1
    assert said.startswith("wavstream: 1 recordings could not be rendered and 1 journals not be read")
    assert len(list(folder.journal.iterdir())) == 2


@pytest.mark.parametrize("command", ["recover", "serve"])
def test_a_data_folder_that_cannot_be_used_is_said_in_a_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_text("a file")

    code, said = recover(DataFolder(tmp_path / "data"), command)

    assert code == 2
    assert said.startswith("wavstream: the data folder")
    assert "WAVSTREAM_DATA_DIR" in said


def test_a_data_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    code, said = recover(DataFolder(tmp_path / "data"))

    assert code == 2
    assert said.startswith(f"wavstream: there is no data folder {tmp_path / 'data'}")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_recovers_belongs_to_the_user_of_the_folder(folder: DataFolder) -> None:
    recording = recording_of_today()
    leave(folder.journal, call(recording, stop=EndReason.HANGUP, from_s=A_MINUTE_AGO_S))
    in_catalog(folder, recording)
    for each in (folder.root, *folder.root.rglob("*")):
        os.chown(each, 12_345, 12_345)

    assert recover(folder)[0] == 0

    made = [*folder.root.rglob("*")]
    assert folder.recordings / recording.object_key in made
    assert {path.name for path in made if path.stat().st_uid != 12_345} == set()


def test_a_data_folder_in_use_is_not_touched(folder: DataFolder) -> None:
    key = leave(folder.journal, call(recording_of_today(), stop=EndReason.HANGUP, from_s=A_MINUTE_AGO_S))
    with (folder.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        code, said = recover(folder)

    assert code == 2
    assert "another wavstream uses the data folder" in said
    assert [path.name[:32] for path in folder.journal.iterdir()] == [key]
