"""What the disk does not let go is tried again, ever more slowly, and never forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from errno import EBUSY, EIO, EPERM, EROFS
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import WAIT_S
from wavstream.removals import Removals


def wait_until(look: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WAIT_S
    while not look() and time.monotonic() < give_up:
        time.sleep(0.002)
    assert look()


class Stubborn:
    """Something that lets itself be removed at the last of so many tries."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.tries: list[float] = []

    def __call__(self) -> None:
        self.tries.append(time.monotonic())
        if self.errors:
            raise OSError(self.errors.pop(0), "refused")


def test_what_the_disk_refuses_is_tried_again_until_it_is_gone_and_said_once() -> None:
    removals = Removals(first_retry_s=0.01, last_retry_s=0.02)
    stubborn = Stubborn(EBUSY, EIO, EPERM, EROFS)
    with capture_logs() as logs:
        assert not removals.remove("a file", stubborn)
        assert removals.waiting == 1
        wait_until(lambda: not removals.waiting)
    assert len(stubborn.tries) == 5
    assert [(entry["event"], entry["what"]) for entry in logs] == [
        ("removal_failed", "a file"), ("removal_done", "a file")
    ]  # fmt: skip


def test_of_two_removals_of_the_same_the_later_one_counts_and_one_that_works_ends_both() -> None:
    removals = Removals(first_retry_s=3_600)
    first, second = Stubborn(EIO), Stubborn()
    removals.remove("journal k", first)
    assert removals.remove("journal k", second)
    assert removals.waiting == 0
    removals.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_is_gone_already_is_gone(tmp_path: Path, is_there: bool) -> None:
    path = tmp_path / "f"
    if is_there:
        path.touch()
    assert Removals().unlink(path)
    assert not path.exists()
