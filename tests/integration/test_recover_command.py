"""``wavstream recover``: what a killed server left is finished without serving."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import structlog

from tests.support.command_line import CommandLine
from tests.support.journals import a_started_recording, call, leave, noise
from wavstream.catalog.catalog import Catalog
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.rendering.fold import Fold
from wavstream.service.data_folder import DataFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return folder


@pytest.fixture
def recover(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, str]]:
    """Run the command; its exit code, and what it said on standard error."""
    wavstream = CommandLine(monkeypatch, capsys)

    def run() -> tuple[int, str]:
        try:
            said = wavstream("recover")
        finally:
            structlog.reset_defaults()
        return said.code, said.err

    return run


def in_catalog(folder: DataFolder, *added: Recording) -> dict[str, Recording]:
    """Enter these, and read all that there are."""

    async def work() -> dict[str, Recording]:
        catalog = await Catalog.open(folder.catalog)
        for recording in added:
            await catalog.add_recording(recording)
        page = await catalog.list_recordings("default", limit=100)
        await catalog.close()
        return {row.id: row for row in page.data}

    return asyncio.run(work())


def test_recordings_that_a_kill_interrupted_are_published(
    folder: DataFolder, recover: Callable[[], tuple[int, str]]
) -> None:
    killed, stopped = a_started_recording(), a_started_recording(session_id="call-78")
    leave(folder.journal, call(killed, length_s=3.0))
    leave(folder.journal, call(stopped, stop=EndReason.HANGUP), session_id="call-78")
    in_catalog(folder, killed)
    (folder.spool / "half.wav").write_bytes(b"RIFF")

    code, _ = recover()

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


def test_rows_and_files_are_reconciled_where_there_is_no_journal_at_all(
    folder: DataFolder, recover: Callable[[], tuple[int, str]]
) -> None:
    lost = a_started_recording()
    done = a_started_recording(session_id="call-78")
    leave(folder.journal, call(done, stop=EndReason.HANGUP), session_id="call-78")
    assert recover()[0] == 0
    whole = in_catalog(folder)[done.id]
    for path in folder.root.glob("catalog.db*"):
        path.unlink()
    in_catalog(folder, lost)

    code, _ = recover()

    assert code == 0
    rows = in_catalog(folder)
    assert rows[lost.id].status is Status.FAILED
    options = replace(whole.options, sample_rate=8000)
    assert rows[done.id] == replace(whole, options=options)


def test_what_cannot_be_finished_ends_with_code_1_and_stays(
    folder: DataFolder, recover: Callable[[], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = a_started_recording()
    leave(folder.journal, call(recording, stop=EndReason.HANGUP))
    (folder.journal / f"{'k' * 32}-000001.wsj").write_bytes(b"not ours, and long enough")

    def broken(fold: Fold, now_us: int) -> bytes:
        raise IndexError("a bug")

    monkeypatch.setattr(Fold, "_tick", broken)
    code, said = recover()

    assert code == 1
    assert "wavstream: 1 recordings could not be rendered and 1 journals not be read" in said
    assert in_catalog(folder)[recording.id].status is Status.FAILED
    assert len(list(folder.journal.iterdir())) == 2


def test_a_data_folder_in_use_is_not_touched(folder: DataFolder, recover: Callable[[], tuple[int, str]]) -> None:
    key = leave(folder.journal, call(a_started_recording(), stop=EndReason.HANGUP))
    with (folder.root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        code, said = recover()

    assert code == 2
    assert "another wavstream uses the data folder" in said
    assert [path.name[:32] for path in folder.journal.iterdir()] == [key]
