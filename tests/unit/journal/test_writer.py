from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.journal.support import KEY, PATIENCE_S, FaultyDisk, flat, frames, nothing, record
from wavstream.errors import DependencyError, InternalError, OperatorError
from wavstream.journal.journal import Journal
from wavstream.journal.reader import JournalReader, read_header
from wavstream.journal.segments import Position, WriteAt, segment_path, segments_of
from wavstream.journal.sync import Flush
from wavstream.journal.writer import JournalWriter
from wavstream.removals import Removals

FULL_DISK = OSError(errno.ENOSPC, "No space left on device")

MakeWriter = Callable[..., JournalWriter]


@pytest.fixture
def make_writer(tmp_path: Path) -> Iterator[MakeWriter]:
    """Yield started writers on the test's folder; stopped at its end."""
    writers: list[JournalWriter] = []

    def make(
        *,
        on_written: Callable[[Sequence[Journal]], None] = nothing,
        on_pressure: Callable[[bool], None] = nothing,
        queue_bytes: int = 1 << 20,
        segment_bytes: int = 1 << 20,
        write_at: WriteAt = os.pwrite,
        flush: Flush | None = None,
        sync_interval_s: float = 1.0,
        keep_bytes: int = 1 << 20,
        removals: Removals | None = None,
    ) -> JournalWriter:
        writer = JournalWriter(
            tmp_path,
            on_written=on_written,
            on_pressure=on_pressure,
            queue_bytes=queue_bytes,
            segment_bytes=segment_bytes,
            write_at=write_at,
            flush=flush,
            sync_interval_s=sync_interval_s,
            keep_bytes=keep_bytes,
            removals=removals,
        )
        writer.start()
        writers.append(writer)
        return writer

    yield make
    for writer in writers:
        writer.stop(timeout_s=PATIENCE_S)


class GatedDisk:
    """``os.pwrite`` that waits at a gate, and notes which file each write went to."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.inodes: list[int] = []

    def __call__(self, fd: int, chunk: memoryview, offset: int) -> int:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        self.inodes.append(os.fstat(fd).st_ino)
        return os.pwrite(fd, chunk, offset)


def open_journal(writer: JournalWriter, key: str = KEY, *, segment: int = 1, number: int | None = None) -> Journal:
    return writer.open(key=key, app_id="default", session_id=f"call-{key}", segment=segment, number=number)


def settle(writer: JournalWriter, journal: Journal) -> None:
    """Wait until all that was submitted of the journal is done."""
    done = threading.Event()
    writer.submit_urgent(journal, done.set)
    assert done.wait(PATIENCE_S)


def read(folder: Path, key: str = KEY) -> list[tuple[object, ...]]:
    reader = JournalReader(folder, key)
    rows = flat(reader.read())
    assert reader.at_end
    assert reader.unread_bytes == 0
    reader.close()
    return rows


def test_what_was_appended_and_submitted_can_be_read_back(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer()
    journal = open_journal(writer)
    for number in range(5):
        journal.append(record(number))
        writer.submit([journal])
    settle(writer, journal)

    assert read(tmp_path) == frames(range(5))
    header = read_header(tmp_path, KEY)
    assert (header.app_id, header.session_id, header.segment) == ("default", f"call-{KEY}", 1)
    assert journal.written_bytes == 5 * len(record(0))
    assert journal.written == Position(1, segment_path(tmp_path, KEY, 1).stat().st_size, 5)
    assert writer.queued_bytes == 0


def test_on_written_names_the_journals_of_a_slot_that_had_something_to_write(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    told: list[list[str]] = []
    seen: list[list[tuple[object, ...]]] = []

    def on_written(journals: Sequence[Journal]) -> None:
        told.append([journal.key for journal in journals])
        seen.extend(read(tmp_path, journal.key) for journal in journals)

    writer = make_writer(on_written=on_written)
    one, two, idle = (open_journal(writer, key) for key in ("one", "two", "idle"))
    one.append(record(1))
    two.append(record(2))
    writer.submit([one, idle, two])
    writer.submit([idle])
    writer.stop(timeout_s=PATIENCE_S)

    assert told == [["one", "two"]]
    assert seen == [frames([1]), frames([2])]
    assert segments_of(tmp_path, "idle") == ()


def test_an_urgent_submission_overtakes_other_journals_and_none_of_its_own_batches(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    disk = GatedDisk()
    writer = make_writer(write_at=disk)
    first, other, urgent = (open_journal(writer, key) for key in ("first", "other", "urgent"))
    first.append(record(0))
    writer.submit([first])
    assert disk.entered.wait(PATIENCE_S)
    other.append(record(1))
    urgent.append(record(2))
    writer.submit([other, urgent])
    urgent.append(record(3))
    done = threading.Event()
    writer.submit_urgent(urgent, done.set)
    assert not done.is_set()

    disk.gate.set()
    assert done.wait(PATIENCE_S)
    settle(writer, other)

    inodes = {segment_path(tmp_path, key, 1).stat().st_ino: key for key in ("first", "other", "urgent")}
    assert [inodes[inode] for inode in disk.inodes] == ["first", "urgent", "urgent", "other"]
    assert read(tmp_path, "urgent") == frames([2, 3])


def test_an_urgent_submission_does_not_wait_for_the_rest_of_a_slot(make_writer: MakeWriter, tmp_path: Path) -> None:
    disk = GatedDisk()
    writer = make_writer(write_at=disk)
    slot = [open_journal(writer, f"slot{number}") for number in range(5)]
    urgent = open_journal(writer, "urgent")
    for journal in [*slot, urgent]:
        journal.append(record(0))
    writer.submit(slot)
    assert disk.entered.wait(PATIENCE_S)
    writer.submit_urgent(urgent, nothing)
    disk.gate.set()
    writer.stop(timeout_s=PATIENCE_S)
    assert disk.inodes.index(segment_path(tmp_path, "urgent", 1).stat().st_ino) == 1


def test_pressure_is_told_when_the_queue_is_full_and_again_when_half_is_written(make_writer: MakeWriter) -> None:
    told: list[tuple[bool, int]] = []
    relieved = threading.Event()
    disk = GatedDisk()

    def on_pressure(full: bool) -> None:
        told.append((full, writer.queued_bytes))
        if not full:
            relieved.set()

    size_bytes = len(record(0))
    writer = make_writer(on_pressure=on_pressure, queue_bytes=4 * size_bytes, write_at=disk)
    journals = [open_journal(writer, f"key{number}") for number in range(6)]
    for journal in journals:
        journal.append(record(0))
    for journal in journals[:3]:
        writer.submit([journal])
    assert told == []
    for journal in journals[3:]:
        writer.submit([journal])
    assert told == [(True, 4 * size_bytes)]
    assert writer.queued_bytes == 6 * size_bytes

    disk.gate.set()
    assert relieved.wait(PATIENCE_S)
    assert told == [(True, 4 * size_bytes), (False, 1 * size_bytes)]


def test_a_full_disk_is_told_once_and_retried_until_everything_is_written(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    written = threading.Event()
    disk = FaultyDisk(os.pwrite, [FULL_DISK, FULL_DISK, FULL_DISK])
    writer = make_writer(on_written=lambda _: written.set(), write_at=disk)
    journal = open_journal(writer)
    with capture_logs() as logs:
        for number in range(4):
            journal.append(record(number))
            writer.submit([journal])
        assert written.wait(PATIENCE_S)
        writer.stop(timeout_s=PATIENCE_S)

    assert disk.faults == []
    assert read(tmp_path) == frames(range(4))
    assert writer.failing is None
    assert writer.queued_bytes == 0
    assert [line["event"] for line in logs] == ["journal_write_failing", "journal_write_recovered"]


def test_a_file_that_cannot_be_written_holds_up_no_other_journal(tmp_path: Path, make_writer: MakeWriter) -> None:
    repaired = threading.Event()
    slot_done = threading.Event()
    told: list[list[str]] = []
    bad_inodes: set[int] = set()

    def write_at(fd: int, chunk: memoryview, offset: int) -> int:
        if os.fstat(fd).st_ino in bad_inodes and not repaired.is_set():
            raise OSError(errno.EIO, "Input/output error")
        return os.pwrite(fd, chunk, offset)

    def on_written(journals: Sequence[Journal]) -> None:
        told.append([journal.key for journal in journals])
        slot_done.set()

    writer = make_writer(on_written=on_written, write_at=write_at)
    bad, good = open_journal(writer, "bad"), open_journal(writer, "good")
    bad.append(record(0))
    settle(writer, bad)
    bad_inodes.add(segment_path(tmp_path, "bad", 1).stat().st_ino)

    with capture_logs():
        bad.append(record(1))
        good.append(record(2))
        writer.submit([bad, good])
        assert slot_done.wait(PATIENCE_S)
        assert read(tmp_path, "good") == frames([2])
        assert writer.failing is not None
        assert writer.failing.errno == errno.EIO
        assert writer.queued_bytes == len(record(1))
        repaired.set()
        settle(writer, bad)
        writer.stop(timeout_s=PATIENCE_S)
    assert read(tmp_path, "bad") == frames([0, 1])
    assert told == [["good"], ["bad"]]
    assert writer.failing is None


def test_a_stop_on_a_disk_that_refuses_says_how_much_was_not_written(tmp_path: Path) -> None:
    disk = FaultyDisk(os.pwrite, [FULL_DISK] * 10_000)
    writer = JournalWriter(tmp_path, on_written=nothing, on_pressure=nothing, write_at=disk)
    writer.start()
    journal = open_journal(writer)
    journal.append(record(0))
    with capture_logs():
        writer.submit([journal])
        with pytest.raises(DependencyError, match=f"^{len(record(0))} bytes .* free space") as failure:
            writer.stop(timeout_s=0.0)
    assert failure.value.__cause__ is FULL_DISK


def test_a_stop_writes_all_that_was_submitted(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer()
    journals = [open_journal(writer, f"key{number}") for number in range(20)]
    for number in range(10):
        for journal in journals:
            journal.append(record(number))
        writer.submit(journals)
    writer.stop(timeout_s=PATIENCE_S)
    for journal in journals:
        assert read(tmp_path, journal.key) == frames(range(10))
    with pytest.raises(InternalError, match="stopped"):
        writer.submit_urgent(journals[0], nothing)


def test_a_segment_that_is_full_is_followed_by_the_next(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer(segment_bytes=2 * len(record(0)))
    journal = open_journal(writer)
    for number in range(7):
        journal.append(record(number))
        writer.submit([journal])
    settle(writer, journal)
    assert segments_of(tmp_path, KEY) == (1, 2, 3, 4)
    assert journal.written.segment == journal.segment == 4
    assert read(tmp_path) == frames(range(7))


def test_deleting_old_segments_keeps_those_in_use(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer()
    journal = open_journal(writer)
    for number in range(3):
        journal.append(record(number))
        journal.rotate()
    journal.append(record(3))
    writer.delete_before(journal, 3, then=nothing)
    settle(writer, journal)
    assert segments_of(tmp_path, KEY) == (3, 4)
    assert read(tmp_path) == frames([2, 3])


def test_a_delete_that_fails_is_told_and_tried_again_and_the_journal_goes_on(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    removals = Removals(first_retry_s=0.01)
    writer = make_writer(removals=removals)
    journal = open_journal(writer)
    (stuck := segment_path(tmp_path, KEY, 1)).mkdir()
    journal = open_journal(writer, segment=2, number=0)
    with capture_logs() as logs:
        writer.delete_before(journal, 2, then=nothing)
        journal.append(record(0))
        settle(writer, journal)
        assert (removals.waiting, stuck.exists()) == (1, True)
        stuck.rmdir()
        stuck.touch()
        give_up = time.monotonic() + PATIENCE_S
        while removals.waiting and time.monotonic() < give_up:
            time.sleep(0.005)
    assert [line["event"] for line in logs] == ["removal_failed", "removal_done"]
    assert not stuck.exists()
    assert journal.written_bytes == len(record(0))


def test_a_journal_that_was_closed_gives_its_file_back_and_goes_on_in_a_fresh_segment(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    descriptors: list[int] = []

    def write_at(fd: int, chunk: memoryview, offset: int) -> int:
        descriptors.append(fd)
        return os.pwrite(fd, chunk, offset)

    writer = make_writer(write_at=write_at)
    journal = open_journal(writer)
    journal.append(record(0))
    settle(writer, journal)
    assert os.fstat(descriptors[0]).st_ino == segment_path(tmp_path, KEY, 1).stat().st_ino
    writer.close(journal)
    settle(writer, journal)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])
    journal.append(record(1))
    settle(writer, journal)
    assert segments_of(tmp_path, KEY) == (1, 2)
    assert read(tmp_path) == frames([0, 1])


def test_every_file_that_was_written_is_synced(tmp_path: Path, make_writer: MakeWriter) -> None:
    synced: set[Path] = set()
    writer = make_writer(flush=lambda _, files: synced.update(files))
    journals = [open_journal(writer, key) for key in ("one", "two")]
    for journal in journals:
        journal.append(record(0))
    writer.submit(journals)
    writer.stop(timeout_s=PATIENCE_S)
    assert synced == {segment_path(tmp_path, key, 1) for key in ("one", "two")}


def test_a_journal_that_is_closed_for_good_leaves_nothing(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer()
    journal, other = open_journal(writer), open_journal(writer, "other")
    for number in range(3):
        journal.append(record(number))
        journal.rotate()
    journal.append(record(3))
    other.append(record(4))
    settle(writer, other)
    writer.delete(journal, is_damaged=False, then=nothing)
    settle(writer, journal)
    assert [path.name for path in tmp_path.iterdir()] == ["other-000001.wsj"]


def test_a_journal_that_is_opened_again_after_a_crash_leaves_the_torn_segment_alone(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    writer = make_writer()
    before = open_journal(writer)
    before.append(record(0))
    settle(writer, before)
    before.append(record(1))
    settle(writer, before)
    path = segment_path(tmp_path, KEY, 1)
    torn = path.read_bytes()[:-3]
    path.write_bytes(torn)

    after = open_journal(writer, segment=segments_of(tmp_path, KEY)[-1] + 1, number=1)
    after.append(record(2))
    settle(writer, after)

    assert path.read_bytes() == torn
    assert read(tmp_path) == frames([0, 2])


def test_a_callback_that_fails_is_logged_and_ends_nothing(tmp_path: Path, make_writer: MakeWriter) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug of the caller")

    writer = make_writer(on_written=fail)
    journal = open_journal(writer)
    with capture_logs() as logs:
        for number in range(2):
            journal.append(record(number))
            writer.submit([journal])
            settle(writer, journal)
        writer.stop(timeout_s=PATIENCE_S)
    assert [line["event"] for line in logs] == ["journal_callback_failed"] * 2
    assert all(line["exc_info"] for line in logs)
    assert read(tmp_path) == frames([0, 1])


def test_a_folder_that_cannot_be_made_is_the_operators_to_repair(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = JournalWriter(tmp_path / "file" / "journal", on_written=nothing, on_pressure=nothing)
    with pytest.raises(OperatorError, match="cannot be made"):
        writer.start()


# ---- a disk that lies ----------------------------------------------------------------------------------------------


class LyingDisk:
    """A disk whose sync says once that it failed; what was written since the one before is gone then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._safe: dict[Path, bytes] = {}
        self.faults: list[bool] = []
        self.syncs = 0

    def __call__(self, folder: Path, files: Iterable[Path]) -> None:
        self.syncs += 1
        if self.faults and self.faults.pop(0):
            for path in self._folder.iterdir():
                path.write_bytes(self._safe.get(path, b"").ljust(path.stat().st_size, b"\0"))
            raise OSError(errno.EIO, "Input/output error")
        self._safe = {path: path.read_bytes() for path in self._folder.iterdir()}


def sync_now(writer: JournalWriter, journal: Journal) -> None:
    """Sync, as the thread does every second, and wait for what is written again."""
    writer._sync.sync()
    settle(writer, journal)


@pytest.mark.parametrize("faults", [[True], [False, True], [True, True], [False, True, True, False, True]])
def test_what_a_failed_sync_has_lost_is_written_again_and_read_once(
    tmp_path: Path, make_writer: MakeWriter, faults: list[bool]
) -> None:
    disk = LyingDisk(tmp_path)
    writer = make_writer(flush=disk, sync_interval_s=3600.0)
    journal = open_journal(writer)
    follower = JournalReader(tmp_path, KEY)
    followed: list[tuple[object, ...]] = []
    disk.faults += faults
    for number in range(2 * len(faults)):
        journal.append(record(number))
        settle(writer, journal)
        followed += flat(follower.read())
        if number % 2:
            sync_now(writer, journal)
    journal.append(record(100))
    settle(writer, journal)
    followed += flat(follower.read())
    follower.close()

    assert read(tmp_path) == followed == frames([*range(2 * len(faults)), 100])
    assert segments_of(tmp_path, KEY) == tuple(range(1, 2 + sum(faults)))


def test_a_sync_that_fails_at_the_stop_has_everything_written_again_and_synced(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    disk = LyingDisk(tmp_path)
    writer = make_writer(flush=disk, sync_interval_s=3600.0)
    journal = open_journal(writer)
    journal.append(record(0))
    settle(writer, journal)
    disk.faults.append(True)
    writer.stop(timeout_s=PATIENCE_S)
    assert read(tmp_path) == frames([0])
    assert (disk.syncs, writer.failing) == (2, None)


def test_what_waits_for_a_disk_that_writes_again_follows_what_is_written_again(
    tmp_path: Path, make_writer: MakeWriter
) -> None:
    sync_disk, write_disk = LyingDisk(tmp_path), FaultyDisk(os.pwrite, [])
    writer = make_writer(flush=sync_disk, sync_interval_s=3600.0, write_at=write_disk)
    journal = open_journal(writer)
    journal.append(record(0))
    settle(writer, journal)
    sync_disk.faults.append(True)
    write_disk.faults += [OSError(errno.ENOSPC, "full")] * 2
    with capture_logs():
        writer._sync.sync()
        journal.append(record(1))
        settle(writer, journal)
    assert read(tmp_path) == frames([0, 1])


def test_a_journal_that_was_deleted_is_not_written_again(tmp_path: Path, make_writer: MakeWriter) -> None:
    disk = LyingDisk(tmp_path)
    writer = make_writer(flush=disk, sync_interval_s=3600.0)
    journal, other = open_journal(writer), open_journal(writer, "other")
    for each in (journal, other):
        each.append(record(0))
        settle(writer, each)
    disk.faults.append(True)
    sync_now(writer, other)
    writer.delete(journal, is_damaged=False, then=nothing)
    settle(writer, journal)
    disk.faults.append(True)
    sync_now(writer, other)
    assert segments_of(tmp_path, KEY) == ()
    assert read(tmp_path, "other") == frames([0])


def test_a_journal_goes_on_behind_the_segments_that_were_written_again(tmp_path: Path, make_writer: MakeWriter) -> None:
    disk = LyingDisk(tmp_path)
    writer = make_writer(flush=disk, sync_interval_s=3600.0)
    journal = open_journal(writer)
    for number in range(3):
        journal.append(record(number))
        settle(writer, journal)
        disk.faults.append(True)
        sync_now(writer, journal)
        journal.rotate()
    writer.delete_before(journal, journal.segment, then=nothing)
    journal.append(record(3))
    settle(writer, journal)
    reader = JournalReader(tmp_path, KEY)
    rows = flat(reader.read())
    reader.close()
    assert rows[-1:] == frames([3])
    writer.delete(journal, is_damaged=False, then=nothing)
    settle(writer, journal)
    assert [*tmp_path.iterdir()] == []


def test_what_is_kept_for_a_failed_sync_has_a_bound(tmp_path: Path, make_writer: MakeWriter) -> None:
    writer = make_writer(flush=LyingDisk(tmp_path), sync_interval_s=3600.0, keep_bytes=3 * len(record(0)))
    journal = open_journal(writer)
    disk = writer._sync._flush
    assert isinstance(disk, LyingDisk)
    disk.faults.append(True)
    for number in range(5):
        journal.append(record(number))
        settle(writer, journal)
    with capture_logs() as logs:
        sync_now(writer, journal)
    (said,) = [line for line in logs if line["event"] == "journal_sync_failing"]
    assert said["not_kept_bytes"] == 2 * len(record(0))
    assert read(tmp_path) == frames([0, 1, 2])
