"""What is odd in a journal folder, and where it goes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.journal.support import KEY, flat, frames, head_bytes, packed, put, record, segment_bytes
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import VERSION
from wavstream.journal.segments import segment_path
from wavstream.journal.set_aside import SetAside


def a_socket(path: Path) -> None:
    """Leave the file of a socket; its path may be too long to be bound to as it is."""
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def a_link(path: Path) -> None:
    path.symlink_to(put(path.parent, 7, segment_bytes(7, [record(9)])))


ODD: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": a_socket,
    "a link": a_link,
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("what", [*ODD])
def test_what_has_a_segments_name_and_is_no_file_is_set_aside(tmp_path: Path, what: str) -> None:
    put(tmp_path, 1, segment_bytes(1, [record(0)]))
    ODD[what](segment_path(tmp_path, KEY, 2))
    place = SetAside(tmp_path)

    (odd,) = place.put_in_order()

    assert (odd.name, odd.problem) == (f"{KEY}-000002.wsj", f"it is {what}, and was set aside")
    assert (names(place.path), place.count) == ([odd.name], 1)
    assert place.path.stat().st_mode & 0o777 == 0o700
    assert place.put_in_order() == []
    assert place.count == 1


def test_segments_that_were_exchanged_change_places(tmp_path: Path) -> None:
    for number, name in ((1, 2), (2, 3), (3, 1)):
        put(tmp_path, name, segment_bytes(number, [record(number - 1)], first=number - 1))
    other = segment_path(tmp_path, "other", 4)
    other.write_bytes(segment_bytes(4, [record(3)], first=3))
    place = SetAside(tmp_path)

    odd = place.put_in_order()

    assert len(odd) == 4
    assert names(tmp_path) == [f"{KEY}-00000{number}.wsj" for number in (1, 2, 3, 4)]
    reader = JournalReader(tmp_path, KEY)
    assert flat(reader.read()) == frames(range(4))
    reader.close()
    assert not reader.is_damaged
    assert place.put_in_order() == []


def test_a_crash_between_two_renames_is_put_in_order_by_the_next_start(tmp_path: Path) -> None:
    content = segment_bytes(1, [record(0)])
    (tmp_path / f"{KEY}-000002.wsj.moving").write_bytes(content)

    (odd,) = SetAside(tmp_path).put_in_order()

    assert "000001.wsj, and has that name again" in odd.problem
    assert segment_path(tmp_path, KEY, 1).read_bytes() == content


def test_a_copy_under_another_key_or_number_is_set_aside_and_the_journal_stays(tmp_path: Path) -> None:
    content = segment_bytes(1, [record(0)])
    put(tmp_path, 1, content)
    put(tmp_path, 2, content)
    segment_path(tmp_path, "other", 1).write_bytes(content)
    place = SetAside(tmp_path)

    odd = place.put_in_order()

    assert {each.problem for each in odd} == {f"it is a copy of {KEY}-000001.wsj, and was set aside"}
    assert names(place.path) == [f"{KEY}-000002.wsj", "other-000001.wsj"]
    assert names(tmp_path) == [f"{KEY}-000001.wsj", "set-aside"]


@pytest.mark.parametrize(("key", "segment"), [("../../etc/passwd", 1), ("", 1), ("x" * 65, 1)])
def test_a_header_that_names_no_journal_leads_nowhere(tmp_path: Path, key: str, segment: int) -> None:
    put(tmp_path, 1, head_bytes(segment, key=key) + packed(0, record(0)))

    (odd,) = SetAside(tmp_path).put_in_order()

    assert odd.problem == "its header names no journal, and was set aside"


def test_a_whole_header_of_another_version_is_left_for_one_that_reads_it(tmp_path: Path) -> None:
    put(tmp_path, 1, head_bytes(1, version=VERSION + 1) + packed(0, record(0)))

    (odd,) = SetAside(tmp_path).put_in_order()

    assert odd.problem == "journal version 4; this wavstream reads versions 1, 2 and 3; it is left for one that does"
    assert names(tmp_path) == [f"{KEY}-000001.wsj"]


def test_damage_and_what_a_crash_leaves_are_not_odd(tmp_path: Path) -> None:
    put(tmp_path, 1, b"WAVSJRNL?")
    put(tmp_path, 2, b"")
    put(tmp_path, 3, b"RIFF" * 100)
    (tmp_path / "notes.txt").touch()
    os.mkfifo(tmp_path / "a fifo of somebody")
    assert SetAside(tmp_path).put_in_order() == []


def test_a_file_that_its_owner_may_not_read_is_made_readable(tmp_path: Path) -> None:
    path = put(tmp_path, 1, segment_bytes(1, [record(0)]))
    path.chmod(0)

    assert SetAside(tmp_path).put_in_order() == []
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_the_disk_does_not_give_is_left_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1, segment_bytes(1, [record(0)]))

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    (odd,) = SetAside(tmp_path).put_in_order()
    assert odd.problem == "it cannot be read (Input/output error), and is left where it is"


def test_what_is_set_aside_twice_is_there_twice(tmp_path: Path) -> None:
    place = SetAside(tmp_path)
    for _ in range(2):
        put(tmp_path, 1, segment_bytes(1, [record(0)]))
        place.take_journal(KEY)
    assert names(place.path) == [f"{KEY}-000001.wsj", f"{KEY}-000001.wsj~2"]
    assert SetAside(tmp_path).count == 0


def test_a_folder_that_cannot_be_changed_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 2, segment_bytes(1, [record(0)]))
    os.mkfifo(segment_path(tmp_path, KEY, 3))

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", read_only)
    said = [odd.problem for odd in SetAside(tmp_path).put_in_order()]
    assert said == [
        "it is a FIFO, and cannot be set aside (Read-only file system)",
        f"it is {KEY}-000001.wsj, and cannot be moved (Read-only file system)",
    ]
