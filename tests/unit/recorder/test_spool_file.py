"""A growing file on a disk that refuses now and then."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from wavstream.recorder.spool_file import SpoolFile

HEADER, RIGHT_HEADER = b"h" * 44, b"H" * 44


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[int | OSError]:
    """Return the list of what the next writes do: take only so many bytes, or fail; after that they work."""
    listed: list[int | OSError] = []
    write = os.pwrite

    def write_at(fd: int, chunk: bytes, offset: int) -> int:
        fault = listed.pop(0) if listed else len(chunk)
        if isinstance(fault, OSError):
            raise fault
        return write(fd, chunk[:fault], offset)

    monkeypatch.setattr(os, "pwrite", write_at)
    return listed


def append(file: SpoolFile, parts: Iterable[bytes]) -> None:
    for part in parts:
        file.append(HEADER, part)


def test_a_file_has_its_header_and_its_audio_in_order(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "rec.wav")

    append(file, [b"one", b"two"])
    file.finish(RIGHT_HEADER)

    assert file.path.read_bytes() == RIGHT_HEADER + b"onetwo"
    assert (file.size_bytes, file.audio_bytes) == (50, 6)
    assert file.audio_sha256 == hashlib.sha256(b"onetwo").hexdigest()


def test_there_is_no_file_before_there_is_audio(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "rec.wav")

    append(file, [b""])
    file.settle()
    file.finish(RIGHT_HEADER)

    assert not file.path.exists()


@pytest.mark.parametrize(
    "after_open", [[full()], [10, full()], [44, full()], [44, 1, full(), 1, full(), full()], [44, 2]], ids=str
)
def test_nothing_is_lost_when_the_disk_is_full_for_a_while(
    tmp_path: Path, faults: list[int | OSError], after_open: list[int | OSError]
) -> None:
    file = SpoolFile(tmp_path / "rec.wav")
    faults.extend(after_open)
    refused = 0

    for part in (b"one", b"two"):
        try:
            file.append(HEADER, part)
        except OSError:
            refused += 1
    while faults:
        try:
            file.settle()
        except OSError:
            refused += 1
    file.finish(RIGHT_HEADER)

    assert refused == sum(isinstance(fault, OSError) for fault in after_open)
    assert file.path.read_bytes() == RIGHT_HEADER + b"onetwo"
    assert file.audio_sha256 == hashlib.sha256(b"onetwo").hexdigest()


def test_a_finish_that_failed_is_done_by_the_next(tmp_path: Path, faults: list[int | OSError]) -> None:
    file = SpoolFile(tmp_path / "rec.wav")
    append(file, [b"one"])
    faults.extend([7, full()])

    with pytest.raises(OSError, match="No space"):
        file.finish(RIGHT_HEADER)
    file.finish(RIGHT_HEADER)

    assert file.path.read_bytes() == RIGHT_HEADER + b"one"


def test_a_second_finish_does_nothing(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "rec.wav")
    append(file, [b"one"])
    file.finish(RIGHT_HEADER)

    file.finish(HEADER)

    assert file.path.read_bytes() == RIGHT_HEADER + b"one"


def test_a_file_that_could_not_be_closed_is_not_closed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpoolFile(tmp_path / "rec.wav")
    append(file, [b"one"])
    closed: list[int] = []
    close = os.close

    def fail_after_closing(fd: int) -> None:
        close(fd)
        closed.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", fail_after_closing)
        with pytest.raises(OSError, match="Input/output"):
            file.finish(RIGHT_HEADER)
        file.finish(RIGHT_HEADER)

    assert len(closed) == 1
    assert file.path.read_bytes() == RIGHT_HEADER + b"one"


def test_a_file_that_is_discarded_is_gone(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "rec.wav")
    append(file, [b"one"])

    file.discard()
    file.discard()

    assert list(tmp_path.iterdir()) == []
