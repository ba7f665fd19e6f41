"""One process at a time, and nothing half-made left in the spool."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wavstream.errors import OperatorError
from wavstream.service.data_folder import DataFolder
from wavstream.storage.modes import mend_below


def test_a_claim_makes_what_is_missing_for_this_user_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")

    folder.claim()
    folder.release()

    assert sorted(path.name for path in folder.root.iterdir()) == ["journal", "lock", "recordings", "spool"]
    assert {path.stat().st_mode & 0o077 for path in (folder.root, *folder.root.iterdir())} == {0}


@pytest.mark.parametrize("group_reads", [False, True])
def test_modes_of_before_are_mended_and_those_of_finished_files_are_as_the_setting_says(
    tmp_path: Path, group_reads: bool
) -> None:
    folder = DataFolder(tmp_path / "data", group_reads=group_reads)
    folder.make()
    day = folder.recordings / "shop" / "2026-11-01"
    day.mkdir(parents=True)
    files = [folder.catalog, folder.master_key, folder.root / "catalog.db-wal", folder.journal / "k-000001.wsj"]
    for path in (*files, day / "a.wav", day / "a.wav.json"):
        path.touch()
    for path in (folder.root, *folder.root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)

    folder.make()
    wrong = sum(mend_below(folder.recordings, folder.modes))

    assert wrong == 4  # two folders, two files
    assert {modes(folder.journal), modes(folder.spool)} == {0o700}
    assert {modes(path) for path in files} == {0o600}
    assert modes(folder.root) == (0o710 if group_reads else 0o700)
    assert {modes(path) for path in (folder.recordings, day.parent, day)} == {0o750 if group_reads else 0o700}
    assert {modes(path) for path in day.iterdir()} == {0o640 if group_reads else 0o600}
    assert sum(mend_below(folder.recordings, folder.modes)) == 0


def test_what_belongs_to_someone_else_and_is_open_to_others_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    folder.catalog.touch()
    folder.catalog.chmod(0o644)

    def not_the_owner(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(os, "chmod", not_the_owner)
    with pytest.raises(OperatorError, match=r"catalog\.db is open to other users \(mode 644\).*chown.*600"):
        folder.make()


def modes(path: Path) -> int:
    return path.stat().st_mode & 0o777


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


@pytest.mark.parametrize("which", ["journal", "spool", "recordings"])
def test_a_folder_that_cannot_be_opened_is_refused_with_what_to_do_and_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    descriptors = len(os.listdir("/proc/self/fd"))
    opened = os.open

    def refuse(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if Path(path) == tmp_path / which:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OperatorError, match=f"Input/output error: .*{which}"):
            folder.claim()

    assert len(os.listdir("/proc/self/fd")) == descriptors
    folder.claim()
    folder.release()
