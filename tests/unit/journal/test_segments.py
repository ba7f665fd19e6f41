from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.unit.journal.support import KEY, FaultyDisk, head_bytes, packed, record
from wavstream.journal.events import ServerStopped
from wavstream.journal.records import event_record
from wavstream.journal.segments import (
    Position,
    SegmentFile,
    delete_segments,
    journals_in,
    segment_path,
    segments_of,
)


def make_file(folder: Path, disk: FaultyDisk) -> SegmentFile:
    return SegmentFile(folder, key=KEY, app_id="default", session_id="call-77", segment=1, write_at=disk)


def test_a_segment_is_named_by_key_and_number(tmp_path: Path) -> None:
    assert segment_path(tmp_path, KEY, 7).name == f"{KEY}-000007.wsj"
    assert segment_path(tmp_path, KEY, 1_234_567).name == f"{KEY}-1234567.wsj"


@pytest.mark.parametrize("key", ["", "../up", "a/b", "a-b", "a.b", "x" * 65, "a\n"])
def test_a_key_that_is_no_plain_name_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a journal key"):
        segment_path(tmp_path, key, 1)


def test_a_folder_lists_journals_in_order_and_reports_strangers(tmp_path: Path) -> None:
    for name in ["b-000010.wsj", "b-000009.wsj", "a-1000000.wsj", "a-999999.wsj", "a-12.wsj", "b.wsj", "notes.txt"]:
        (tmp_path / name).touch()

    contents = journals_in(tmp_path)

    assert list(contents.journals.items()) == [("a", (999_999, 1_000_000)), ("b", (9, 10))]
    assert contents.strangers == ("a-12.wsj", "b.wsj", "notes.txt")


def test_a_folder_that_does_not_exist_holds_no_journals(tmp_path: Path) -> None:
    assert journals_in(tmp_path / "missing").journals == {}
    assert segments_of(tmp_path / "missing", KEY) == ()


def test_segments_of_one_key_leave_out_other_keys_and_strangers(tmp_path: Path) -> None:
    for name in ["a-000002.wsj", "a-000001.wsj", "ab-000003.wsj", "a-000004.tmp", "a-b-000005.wsj"]:
        (tmp_path / name).touch()
    assert segments_of(tmp_path, "a") == (1, 2)


def test_deleting_below_a_segment_keeps_it_and_all_other_journals(tmp_path: Path) -> None:
    for name in ["a-000001.wsj", "a-000002.wsj", "a-000003.wsj", "b-000001.wsj"]:
        (tmp_path / name).touch()

    assert delete_segments(tmp_path, "a", below=3) == 2
    assert journals_in(tmp_path).journals == {"a": (3,), "b": (1,)}

    assert delete_segments(tmp_path, "a") == 1
    assert journals_in(tmp_path).journals == {"b": (1,)}


def test_a_segment_that_exists_is_never_written_to(tmp_path: Path) -> None:
    segment_path(tmp_path, KEY, 1).write_bytes(b"torn")
    with pytest.raises(FileExistsError):
        make_file(tmp_path, FaultyDisk(os.pwrite, []))
    assert segment_path(tmp_path, KEY, 1).read_bytes() == b"torn"


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [1, 1, 1, 40, 7],
        [OSError(errno.ENOSPC, "full")],
        [13, OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), 5],
    ],
)
def test_a_write_that_was_short_or_failed_leaves_the_same_bytes_once_repeated(
    tmp_path: Path, faults: list[int | OSError]
) -> None:
    disk = FaultyDisk(os.pwrite, [])
    file = make_file(tmp_path, disk)
    file.write(0, record(1))
    first = file.position
    failures = sum(isinstance(fault, OSError) for fault in faults)
    disk.faults += faults

    for _ in range(failures):
        with pytest.raises(OSError, match=r"full|broken"):
            file.write(1, record(2))
        assert file.position == first
    file.write(1, record(2))
    file.close()

    written = file.path.read_bytes()
    batches = packed(0, record(1)) + packed(1, record(2))
    assert written.endswith(batches)
    assert file.position == Position(1, len(written), 2)
    assert disk.faults == []


def test_a_first_write_that_failed_writes_its_header_again(tmp_path: Path) -> None:
    file = make_file(tmp_path, FaultyDisk(os.pwrite, [OSError(errno.ENOSPC, "full")]))
    with pytest.raises(OSError, match="full"):
        file.write(0, record(1))
    file.write(0, record(1))
    file.close()
    written = file.path.read_bytes()
    assert written[:8] == head_bytes(1)[:8]
    assert written.endswith(packed(0, record(1)))


def test_a_segment_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = make_file(tmp_path, FaultyDisk(os.pwrite, []))
    file.close()
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_batch_with_an_event_is_written_again_behind_the_next_one_and_the_last_one_at_the_end(tmp_path: Path) -> None:
    event = event_record(1, ServerStopped())
    file = make_file(tmp_path, FaultyDisk(os.pwrite, []))
    file.write(0, event, is_twice=True)
    file.write(1, record(1))
    file.write(2, record(2) + event, is_twice=True)
    file.close()
    written = [(0, event), (1, record(1)), (0, event), (2, record(2) + event), (2, record(2) + event)]
    assert file.path.read_bytes().endswith(b"".join(packed(number, payload) for number, payload in written))


def test_a_copy_that_the_disk_does_not_take_at_the_end_is_left_out(tmp_path: Path) -> None:
    disk = FaultyDisk(os.pwrite, [])
    file = make_file(tmp_path, disk)
    file.write(0, event_record(1, ServerStopped()), is_twice=True)
    disk.faults.append(OSError(errno.ENOSPC, "full"))
    file.close()
    assert disk.faults == []


@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
def test_batches_that_are_written_at_once_are_as_if_each_had_been_written(tmp_path: Path, at_once: int) -> None:
    batches = [(number, record(number), number in (2, 3, 7)) for number in range(8)]
    file = make_file(tmp_path, FaultyDisk(os.pwrite, []))
    file.write_all([])
    assert file.position == Position(1)
    for first in range(0, len(batches), at_once):
        file.write_all(batches[first : first + at_once])
    assert file.position.batch == 8
    file.close()
    written = file.path.read_bytes()
    expected = b"".join(packed(number, record(number)) for number in (0, 1, 2, 3, 2, 4, 3, 5, 6, 7, 7))
    assert written[:8] == head_bytes(1)[:8]
    assert written.endswith(expected)
    assert written.count(packed(1, record(1))) == 1


def test_batches_that_the_disk_did_not_take_at_once_are_written_by_the_next_call(tmp_path: Path) -> None:
    file = make_file(tmp_path, FaultyDisk(os.pwrite, [40, OSError(errno.ENOSPC, "full")]))
    batches = [(0, record(0), True), (1, record(1), False)]
    with pytest.raises(OSError, match="full"):
        file.write_all(batches)
    assert file.position == Position(1)
    file.write_all(batches)
    file.close()
    expected = packed(0, record(0)) + packed(1, record(1)) + packed(0, record(0))
    assert file.path.read_bytes().endswith(expected)
