"""The file that keeps room for what frees some."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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
