"""What is copied of a journal while the disk refuses it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.journal.support import PATIENCE_S, frames, nothing, record
from tests.unit.journal.test_writer import FULL_DISK, open_journal, read
from wavstream.errors import DependencyError
from wavstream.journal.journal import Journal
from wavstream.journal.writer import JournalWriter


class Disk:
    """``os.pwrite`` of a disk that is full until it is told otherwise."""

    def __init__(self) -> None:
        self.is_full = True

    def __call__(self, fd: int, chunk: memoryview, offset: int) -> int:
        if self.is_full:
            raise FULL_DISK
        return os.pwrite(fd, chunk, offset)


class Copied:
    """Who copies; and notes what was put, by segment, number, payload and whether it was written."""

    def __init__(self, *, takes: int = 1_000) -> None:
        self.takes = takes
        self.puts: list[tuple[int, int, bytes, bool]] = []

    def put(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> None:
        self.puts.append((segment, number, payload, True))

    def put_unwritten(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> bool:
        if number >= self.takes:
            return False
        self.puts.append((segment, number, payload, False))
        journal.given_below = number + 1
        return True

    def wait_for(self, puts: int) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while len(self.puts) < puts:
            assert time.monotonic() < give_up_at, self.puts
            time.sleep(0.002)


def started(folder: Path, copied: Copied, disk: Disk) -> JournalWriter:
    writer = JournalWriter(folder, on_written=nothing, on_pressure=nothing, copies=copied, write_at=disk)
    writer.start()
    return writer


def write(writer: JournalWriter, journal: Journal, batches: int) -> None:
    """Submit so many batches, of a record each."""
    for number in range(batches):
        journal.append(record(number))
        writer.submit([journal])


def test_what_a_full_disk_refuses_is_copied_with_the_numbers_that_it_has_in_the_file_later(tmp_path: Path) -> None:
    disk, copied = Disk(), Copied()
    writer = started(tmp_path, copied, disk)
    journal = open_journal(writer)
    with capture_logs():
        for number in range(6):
            journal.append(record(number))
            writer.submit([journal])
            if number == 3:
                journal.rotate()
        copied.wait_for(6)
        assert [put[:2] for put in copied.puts] == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
        assert not any(is_written for *_, is_written in copied.puts)
        disk.is_full = False
        written = threading.Event()
        writer.submit_urgent(journal, written.set)
        assert written.wait(PATIENCE_S)
        writer.stop(timeout_s=PATIENCE_S)
    assert copied.puts[6:] == [(*put[:3], True) for put in copied.puts[:6]]
    assert read(tmp_path) == frames(range(6))


def test_what_had_no_room_is_offered_again_in_its_order(tmp_path: Path) -> None:
    disk, copied = Disk(), Copied(takes=2)
    writer = started(tmp_path, copied, disk)
    journal = open_journal(writer)
    with capture_logs():
        write(writer, journal, 5)
        copied.wait_for(2)
        copied.takes = 1_000
        copied.wait_for(5)
        assert [number for _, number, *_ in copied.puts] == list(range(5))
        disk.is_full = False
        writer.stop(timeout_s=PATIENCE_S)


def test_what_another_has_taken_is_copied_no_more(tmp_path: Path) -> None:
    disk, copied = Disk(), Copied()
    writer = started(tmp_path, copied, disk)
    mine, theirs = open_journal(writer, "mine"), open_journal(writer, "theirs")
    theirs.is_let_go = True
    with capture_logs():
        for journal in (theirs, mine):
            journal.append(record(0))
        writer.submit([theirs, mine])
        copied.wait_for(1)
        assert (mine.given_below, theirs.given_below) == (1, 0)
        disk.is_full = False
        writer.stop(timeout_s=PATIENCE_S)


def test_a_writer_does_not_wait_for_a_disk_that_refuses_what_is_copied(tmp_path: Path) -> None:
    copied = Copied()
    writer = started(tmp_path, copied, Disk())
    journal = open_journal(writer)
    with capture_logs() as logs:
        write(writer, journal, 1)
        copied.wait_for(1)
        journal.copied_below = 1
        writer.stop(timeout_s=1e6)
    assert [line["event"] for line in logs] == ["journal_write_failing", "journals_copied_unwritten"]
    assert logs[-1]["bytes"] == len(record(0))


def test_what_neither_the_disk_nor_anybody_else_has_is_told_as_lost(tmp_path: Path) -> None:
    copied = Copied()
    writer = started(tmp_path, copied, Disk())
    journal = open_journal(writer)
    with capture_logs():
        write(writer, journal, 3)
        copied.wait_for(3)
        journal.copied_below = 2
        size = len(record(0))
        with pytest.raises(DependencyError, match=f"^{3 * size} bytes .* {size} bytes of what was recorded are lost"):
            writer.stop(timeout_s=0.0)
