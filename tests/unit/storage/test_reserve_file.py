"""The file that keeps room for what frees some."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from wavstream.errors import DiskFull
from wavstream.service.disk_watch import DiskWatch
from wavstream.storage.reserve_file import PLENTY, ReserveFile

SIZE, PART = 3 << 20, 1 << 20
MUCH = PLENTY * SIZE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reserve"


@pytest.fixture
def reserve(path: Path) -> ReserveFile:
    return ReserveFile(path, SIZE, PART)


def taken(path: Path) -> int:
    """Return the bytes that a file takes from the disk."""
    return path.stat().st_blocks * 512


def test_its_blocks_are_taken_from_the_disk_and_nobody_else_reads_it(reserve: ReserveFile, path: Path) -> None:
    assert reserve.make(MUCH)
    assert path.stat().st_size == SIZE
    assert taken(path) >= SIZE
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_not_made_where_it_would_be_what_fills_the_disk(reserve: ReserveFile, path: Path) -> None:
    assert not reserve.make(MUCH - 1)
    assert not path.exists()


def test_it_gives_away_a_part_each_time_until_nothing_is_left(reserve: ReserveFile, path: Path) -> None:
    reserve.make(MUCH)
    sizes = []
    with capture_logs() as logs:
        while reserve.release("a test"):
            sizes.append(path.stat().st_size)
    assert sizes == [2 * PART, PART, 0]
    assert taken(path) == 0
    assert [(line["event"], line["why"], line["left_bytes"]) for line in logs] == [
        ("disk_reserve_released", "a test", left) for left in sizes
    ]


def test_without_one_there_is_nothing_to_give(reserve: ReserveFile) -> None:
    assert not reserve.release("a test")


def test_what_was_given_away_is_made_again(reserve: ReserveFile, path: Path) -> None:
    reserve.make(MUCH)
    reserve.release("a test")
    assert not reserve.make(PLENTY * PART - 1)
    assert reserve.make(PLENTY * PART)
    assert taken(path) >= SIZE


def test_a_disk_that_is_full_after_all_leaves_what_there_was(
    reserve: ReserveFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve.make(MUCH)
    reserve.release("a test")

    def refuse(descriptor: int, offset: int, length: int) -> None:
        os.ftruncate(descriptor, offset + length)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert not reserve.make(MUCH)
    assert path.stat().st_size == 2 * PART


FOREIGN = b"somebody else's"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda path: path.symlink_to(path.with_name("foreign")),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nothere")),
    "a second name of a file": lambda path: path.hardlink_to(path.with_name("foreign")),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": _socket,
}


@pytest.mark.parametrize("what", [*ODD])
def test_what_is_not_our_plain_file_is_told_of_once_and_left_alone(
    reserve: ReserveFile, path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = path.with_name("foreign")
    foreign.write_bytes(FOREIGN)
    monkeypatch.chdir(path.parent)  # the path of a socket must be short
    ODD[what](Path(path.name) if what == "a socket" else path)
    before = os.lstat(path)
    watch = DiskWatch(path.parent, reserve)
    with capture_logs() as logs:
        for _ in range(3):
            watch.look()
        assert not reserve.release("a test")
    (line,) = logs
    assert (line["event"], str(path) in line["error"]) == ("disk_reserve_not_made", True)
    assert (os.lstat(path).st_mode, os.lstat(path).st_size) == (before.st_mode, before.st_size)
    assert (foreign.read_bytes(), path.with_name("nothere").exists()) == (FOREIGN, False)


@pytest.mark.parametrize("what", [*ODD])
def test_what_takes_its_place_behind_the_look_is_not_opened_either(
    reserve: ReserveFile, path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name("foreign").write_bytes(FOREIGN)
    monkeypatch.chdir(path.parent)
    ODD[what](Path(path.name) if what == "a socket" else path)
    monkeypatch.setattr(reserve, "_there", lambda: PART)
    assert not reserve.release("a test")
    with pytest.raises(OSError, match="left alone"):
        reserve.make(MUCH)
    assert path.with_name("foreign").read_bytes() == FOREIGN


async def test_work_is_given_a_part_each_time_that_the_disk_is_full_for_it(reserve: ReserveFile, path: Path) -> None:
    reserve.make(MUCH)
    tries = 0

    async def work() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise DiskFull("full")
        return tries

    assert await reserve.lend(work, why="a test") == 3
    assert os.lstat(path).st_size == PART

    async def never() -> None:
        raise DiskFull("full")

    with pytest.raises(DiskFull):
        await reserve.lend(never, why="a test")
    assert os.lstat(path).st_size == 0
