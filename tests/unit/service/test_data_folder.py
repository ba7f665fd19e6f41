"""One process at a time, and nothing half-made left in the spool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wavstream.errors import OperatorError
from wavstream.service.data_folder import DataFolder


def test_a_claim_makes_what_is_missing_for_this_user_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")

    folder.claim()
    folder.release()

    assert sorted(path.name for path in folder.root.iterdir()) == ["journal", "lock", "recordings", "spool"]
    assert {path.stat().st_mode & 0o007 for path in (folder.journal, folder.recordings, folder.root / "lock")} == {0}


def test_a_folder_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.claim()
    descriptors = len(os.listdir("/proc/self/fd"))

    with pytest.raises(OperatorError, match="another wavstream uses the data folder"):
        second.claim()

    assert len(os.listdir("/proc/self/fd")) == descriptors
    first.release()
    second.claim()
    second.release()


def test_a_claim_empties_the_spool_and_nothing_else(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    for place in (folder.spool, folder.journal, folder.recordings):
        (place / "file").touch()

    folder.claim()
    folder.release()

    assert [len(list(place.iterdir())) for place in (folder.spool, folder.journal, folder.recordings)] == [0, 1, 1]


def test_what_cannot_be_removed_from_the_spool_is_named_and_the_folder_is_free_again(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    (folder.spool / "mine").mkdir()

    with pytest.raises(OperatorError, match="mine cannot be removed"):
        folder.claim()

    (folder.spool / "mine").rmdir()
    folder.claim()
    folder.release()


def test_a_folder_that_cannot_be_made_says_which_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(OperatorError, match="WAVSTREAM_DATA_DIR"):
        DataFolder(tmp_path / "data").claim()
