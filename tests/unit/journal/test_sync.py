from __future__ import annotations

import errno
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.journal.support import PATIENCE_S, nothing
from wavstream.journal.journal import Journal
from wavstream.journal.sync import FolderSync, Unsynced, flush_each, system_flush


class Recorder:
    """A flush that notes what it was asked and fails as its list says."""

    def __init__(self, *, calls_wanted: int, faults: Iterable[OSError] = ()) -> None:
        self.calls: list[set[Path]] = []
        self.done = threading.Event()
        self._calls_wanted = calls_wanted
        self._faults = list(faults)

    def __call__(self, folder: Path, files: Iterable[Path]) -> None:
        self.calls.append(set(files))
        if len(self.calls) == self._calls_wanted:
            self.done.set()
        if self._faults:
            raise self._faults.pop(0)


def write(sync: FolderSync, path: Path) -> None:
    """Note a batch."""
    sync.written(path, Journal(key=path.name, app_id="default", session_id="call-77"), (7, b"payload", False))


def test_files_that_were_touched_are_synced_once_and_others_not_at_all(tmp_path: Path) -> None:
    flush = Recorder(calls_wanted=1)
    sync = FolderSync(tmp_path, interval_s=0.001, write_again=nothing, flush=flush)
    write(sync, tmp_path / "a")
    write(sync, tmp_path / "a")
    write(sync, tmp_path / "b")
    sync.start()
    assert flush.done.wait(PATIENCE_S)
    sync.stop(timeout_s=PATIENCE_S)
    assert flush.calls == [{tmp_path / "a", tmp_path / "b"}]


def test_what_was_touched_since_the_last_round_is_synced_at_the_stop(tmp_path: Path) -> None:
    flush = Recorder(calls_wanted=1)
    sync = FolderSync(tmp_path, interval_s=3600.0, write_again=nothing, flush=flush)
    sync.start()
    write(sync, tmp_path / "a")
    sync.stop(timeout_s=PATIENCE_S)
    assert flush.calls == [{tmp_path / "a"}]


def test_a_sync_that_fails_is_told_once_and_what_it_covered_is_handed_back_each_time(tmp_path: Path) -> None:
    broken = OSError(errno.EIO, "broken")
    flush = Recorder(calls_wanted=3, faults=[broken, broken])
    handed_back: list[Unsynced] = []

    def write_again(unsynced: Unsynced) -> None:
        handed_back.append(unsynced)
        write(sync, tmp_path / "b")

    sync = FolderSync(tmp_path, interval_s=0.001, write_again=write_again, flush=flush)
    write(sync, tmp_path / "a")
    with capture_logs() as logs:
        sync.start()
        assert flush.done.wait(PATIENCE_S)
        sync.stop(timeout_s=PATIENCE_S)
    assert flush.calls == [{tmp_path / "a"}, {tmp_path / "b"}, {tmp_path / "b"}]
    assert [each.batches[0][1] for each in handed_back] == [(7, b"payload", False)] * 2
    assert [line["event"] for line in logs] == ["journal_sync_failing", "journal_sync_recovered"]
    assert sync.failing is None


def test_a_sync_that_fails_to_the_end_leaves_the_reason(tmp_path: Path) -> None:
    broken = OSError(errno.EIO, "broken")
    flush = Recorder(calls_wanted=1, faults=[broken])
    sync = FolderSync(tmp_path, interval_s=3600.0, write_again=nothing, flush=flush)
    write(sync, tmp_path / "a")
    sync.start()
    with capture_logs():
        sync.stop(timeout_s=PATIENCE_S)
    assert sync.failing is broken


@pytest.mark.parametrize("flush", [system_flush(), flush_each])
def test_a_real_flush_accepts_a_file_that_was_deleted_since(tmp_path: Path, flush: object) -> None:
    assert callable(flush)
    (tmp_path / "a").write_bytes(b"x")
    flush(tmp_path, [tmp_path / "a", tmp_path / "deleted"])


def test_a_sync_comes_early_where_much_waits_for_it(tmp_path: Path) -> None:
    flush = Recorder(calls_wanted=1)
    sync = FolderSync(tmp_path, interval_s=3600.0, write_again=nothing, flush=flush, early_bytes=2 * len(b"payload"))
    sync.start()
    write(sync, tmp_path / "a")
    assert not flush.done.wait(0.02)
    write(sync, tmp_path / "a")
    assert flush.done.wait(PATIENCE_S)
    sync.stop(timeout_s=PATIENCE_S)
    assert flush.calls == [{tmp_path / "a"}]


def test_a_sync_that_fails_is_not_tried_the_sooner_for_what_waits(tmp_path: Path) -> None:
    flush = Recorder(calls_wanted=2, faults=[OSError(errno.EIO, "broken")])
    failed = threading.Event()

    def write_again(_: Unsynced) -> None:
        write(sync, tmp_path / "a")
        failed.set()

    sync = FolderSync(tmp_path, interval_s=3600.0, write_again=write_again, flush=flush, early_bytes=1)
    sync.start()
    with capture_logs():
        write(sync, tmp_path / "a")
        assert failed.wait(PATIENCE_S)
        write(sync, tmp_path / "a")
        assert not flush.done.wait(0.02)
        sync.stop(timeout_s=PATIENCE_S)
    assert len(flush.calls) == 2
