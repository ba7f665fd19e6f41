"""Where a backup may be made, what is in it, and that one that fails leaves nothing."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.unit.cli.test_verify import recorded


def made(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_same_disk", [True, False], ids=["linked", "copied"])
def test_a_backup_has_files_rows_and_keys_and_says_so(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_same_disk: bool
) -> None:
    recording = recorded(data_dir)
    wavstream("apps", "add", "shop")
    (data_dir / "master.key").chmod(0o644)

    def other_disk(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    if not is_same_disk:
        monkeypatch.setattr(os, "link", other_disk)
    (tmp_path / "backup").mkdir()
    said = wavstream("backup", "backup")

    file = tmp_path / "backup" / "recordings" / recording.object_key
    assert said.code == 0
    assert "1 recordings" in said.out
    assert f"data folder {data_dir}" in said.err
    assert made(tmp_path / "backup") == {
        "backup.json", "catalog.db", "master.key", f"recordings/{recording.object_key}"
    }  # fmt: skip
    assert (file.stat().st_nlink == 2) == is_same_disk == ("links to those of the data folder" in said.out)
    assert file.read_bytes() == (data_dir / "recordings" / recording.object_key).read_bytes()
    assert (tmp_path / "backup" / "master.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    with closing(sqlite3.connect(tmp_path / "backup" / "catalog.db")) as catalog:
        assert catalog.execute("SELECT id FROM apps").fetchall() == [("shop",)]


def test_a_copy_of_a_backup_is_a_data_folder(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = recorded(data_dir)
    wavstream("backup", tmp_path / "backup")
    shutil.rmtree(data_dir)
    shutil.copytree(tmp_path / "backup", data_dir)

    assert wavstream("verify", recording.id).code == 0


@pytest.mark.parametrize("where", ["backup", "data/backup", "file"])
def test_a_place_that_will_not_do_is_refused_and_left_as_it_is(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, where: str
) -> None:
    recorded(data_dir)
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "of yesterday").touch()
    (tmp_path / "file").touch()

    said = wavstream("backup", tmp_path / where)

    assert said.code == 2
    assert str(tmp_path / where) in said.err
    assert made(tmp_path / "backup") == {"of yesterday"}
    assert not (data_dir / "backup").exists()


def test_a_backup_that_fails_leaves_nothing(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(data_dir)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    (tmp_path / "empty").mkdir()

    for target in ("new", "empty"):
        said = wavstream("backup", target)

        assert (said.code, "No space left" in said.err) == (2, True)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_recording_whose_file_is_gone_is_named(wavstream: CommandLine, data_dir: Path) -> None:
    recording = recorded(data_dir)
    (data_dir / "recordings" / recording.object_key).unlink()

    said = wavstream("backup", "backup")

    assert said.code == 0
    assert f"1 recordings have no file in the data folder, so none in the backup: {recording.id}" in said.out


def test_a_backup_that_is_ended_leaves_nothing_and_not_the_folders_that_it_was_in(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(data_dir)

    def end(*_: object) -> None:
        assert (tmp_path / "of" / "today" / "UNFINISHED").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("wavstream.service.backup.copy_catalog", end)
    said = wavstream("backup", "of/today")

    assert said.code == 130
    assert not (tmp_path / "of").exists()


def test_one_that_was_killed_is_told_to_be_removed(wavstream: CommandLine, data_dir: Path, tmp_path: Path) -> None:
    recorded(data_dir)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "UNFINISHED").touch()

    said = wavstream("backup", "killed")

    assert (said.code, "was not finished: remove it (rm -r killed)" in said.err) == (2, True)


def test_no_name_and_a_link_to_nowhere_are_refused(wavstream: CommandLine, data_dir: Path, tmp_path: Path) -> None:
    recorded(data_dir)
    (tmp_path / "link").symlink_to("nowhere")

    assert (wavstream("backup", "").code, wavstream("backup", "link").code) == (2, 2)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_owner_what_it_made_and_nothing_of_the_data_folder(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path
) -> None:
    recording = recorded(data_dir)
    live = data_dir / "recordings" / recording.object_key
    os.chown(data_dir, 12_345, 12_345)
    before = live.stat()

    assert wavstream("backup", "of/today").code == 0

    after = live.stat()
    assert (after.st_uid, after.st_mode, after.st_nlink) == (before.st_uid, before.st_mode, 2)
    made = [tmp_path / "of", tmp_path / "of/today", tmp_path / "of/today/recordings", tmp_path / "of/today/catalog.db"]
    assert {path.stat().st_uid for path in made} == {12_345}
