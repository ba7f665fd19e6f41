"""What the supervisor decides: how many workers, whether one hangs, and when one is started again."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wavstream.errors import OperatorError
from wavstream.service.data_folder import DataFolder
from wavstream.service.listeners import Listeners
from wavstream.service.supervisor import LONGEST_PAUSE_S, AwakeTime, Pauses, usable_cores, worker_count
from wavstream.settings import Settings, load


def test_a_worker_that_ends_is_started_at_once_and_one_that_keeps_ending_ever_more_slowly() -> None:
    pauses = Pauses()
    assert [pauses.after(1.0) for _ in range(8)] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert pauses.after(3_600.0) == 0.0
    assert [pauses.after(1.0) for _ in range(2)] == [0.0, 1.0]


def test_a_machine_that_was_frozen_was_not_awake_meanwhile() -> None:
    awake = AwakeTime(100.0)
    for now_s in (100.5, 101.0, 4_000.0, 4_000.5):
        awake.turn(now_s)
    assert awake.s == pytest.approx(2.5)


def test_auto_is_as_many_workers_as_there_are_cores_to_use() -> None:
    assert worker_count(Settings(workers="auto")) == usable_cores() >= 1
    assert worker_count(Settings(workers=5)) == 5
    assert worker_count(Settings()) == 1


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("100000 100000", 1), ("50000 100000", 1), ("250000 100000", 2), ("max 100000", 8), ("", 8), ("odd", 8)],
)
def test_a_container_has_as_many_cores_as_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path / "cpu.max") == cores
    assert usable_cores(tmp_path / "none") == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_cores_that_this_process_may_not_run_on_are_not_counted() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_several_workers_are_refused_where_the_system_has_no_means_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OperatorError, match="WAVSTREAM_WORKERS"):
        worker_count(Settings(workers=2))
    assert worker_count(Settings(workers=1)) == 1


@pytest.mark.parametrize(("given", "read"), [("1", 1), ("64", 64), (" auto ", "auto"), ("", 1)])
def test_the_number_of_workers_is_a_number_or_auto(
    monkeypatch: pytest.MonkeyPatch, given: str, read: int | str
) -> None:
    monkeypatch.setenv("WAVSTREAM_WORKERS", given)
    assert load().workers == read


@pytest.mark.parametrize("given", ["0", "65", "-1", "2.5", "two", "1e1", "٣"])
def test_a_number_of_workers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("WAVSTREAM_WORKERS", given)
    with pytest.raises(OperatorError, match="must be a number from 1 to 64, or auto"):
        load()


def test_a_worker_empties_its_own_spool_alone(tmp_path: Path) -> None:
    supervisor = DataFolder(tmp_path / "data")
    supervisor.claim()
    assert supervisor.lock_descriptor is not None
    first, second = DataFolder(tmp_path / "data"), DataFolder(tmp_path / "data")
    for worker, folder in enumerate((first, second)):
        folder.join(os.dup(supervisor.lock_descriptor), worker=worker)
        (folder.spool / "call.wav").write_bytes(b"unfinished")
    again = DataFolder(tmp_path / "data")
    again.join(os.dup(supervisor.lock_descriptor), worker=1)
    assert (first.spool / "call.wav").exists()
    shutil.rmtree(tmp_path / "data" / "spool")
    for folder in (again, first):
        folder.mend(datetime.now(UTC))
        folder.mend(datetime.now(UTC))
        assert folder.spool.is_dir()
    assert [*again.spool.iterdir()] == []
    supervisor.release()
    with pytest.raises(OperatorError, match="another wavstream uses the data folder"):
        DataFolder(tmp_path / "data").claim()  # the workers have it still
    for folder in (first, second, again):
        folder.release()
    DataFolder(tmp_path / "data").claim()
    assert [*supervisor.spool.iterdir()] == []


def test_a_worker_that_closes_its_sockets_leaves_their_files_to_the_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listeners = Listeners.open(Settings(host=f"127.0.0.1,unix:{path}", port=0))
    of_worker = listeners.of_another()
    assert (of_worker.sockets, of_worker.port) == (listeners.sockets, listeners.port)
    of_worker.close()
    assert path.exists()
    listeners.close()
    assert not path.exists()
