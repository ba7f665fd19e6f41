"""A backup that is put back: into an empty folder alone, whole or not at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.unit.cli.test_verify import RECORDING, put, recorded
from wavstream.catalog.catalog import Catalog
from wavstream.model.ids import new_id
from wavstream.model.recording import Recording, Status, StoredObject
from wavstream.model.times import utc
from wavstream.service.data_folder import DataFolder

STORE = "s3://calls/a"


@pytest.fixture
def backed_up(wavstream: CommandLine, data_dir: Path, tmp_path: Path) -> Recording:
    """Return the recording of a backup, whose data folder is gone."""
    recording = recorded(data_dir)
    assert wavstream("apps", "add", "shop").code == 0
    assert wavstream("backup", "backup").code == 0
    shutil.move(data_dir, tmp_path / "before")
    return recording


async def _add(folder: DataFolder, *recordings: Recording) -> None:
    catalog = await Catalog.open(folder.catalog)
    for each in recordings:
        await catalog.recordings.add(each)
    await catalog.database.close()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_there", [True, False], ids=["into an empty folder", "into none"])
def test_a_backup_is_put_back_with_rows_files_and_keys(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, backed_up: Recording, is_there: bool
) -> None:
    if is_there:
        DataFolder(data_dir).make()

    said = wavstream("restore", "backup")

    assert said.code == 0, said.err
    assert "1 recordings" in said.out
    assert names(data_dir) - {"lock"} == {"catalog.db", "master.key", f"recordings/{backed_up.object_key}"}
    assert {path.stat().st_mode & 0o777 for path in data_dir.rglob("*") if path.is_file()} == {0o600}
    assert (data_dir / "master.key").read_bytes() == (tmp_path / "before" / "master.key").read_bytes()
    assert wavstream("verify", backed_up.id).code == 0
    assert "shop" in wavstream("apps", "list").out
    assert wavstream("backup", "again").code == 0


@pytest.mark.parametrize("what", ["catalog.db", "recordings/shop/a.wav", "journal/a-000001.wsj", "notes.txt"])
def test_a_folder_that_is_not_empty_is_left_as_it_is(
    wavstream: CommandLine, data_dir: Path, backed_up: Recording, what: str
) -> None:
    (data_dir / what).parent.mkdir(parents=True)
    (data_dir / what).write_text("mine")

    said = wavstream("restore", "backup")

    assert (said.code, "is not empty" in said.err, "mv " in said.err) == (2, True, True)
    assert names(data_dir) == {what}


def spoil_file(backup: Path, recording: Recording) -> None:
    path = backup / "recordings" / recording.object_key
    path.unlink()
    content = bytearray((backup.parent / "before" / "recordings" / recording.object_key).read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def lose_file(backup: Path, recording: Recording) -> None:
    (backup / "recordings" / recording.object_key).unlink()


def spoil(name: str) -> object:
    def work(backup: Path, _recording: Recording) -> None:
        path = backup / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    return work


def lose_catalog(backup: Path, _recording: Recording) -> None:
    (backup / "catalog.db").unlink()


def leave_unfinished(backup: Path, _recording: Recording) -> None:
    (backup / "UNFINISHED").touch()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (spoil_file, "its audio has another hash"),
        (lose_file, "is not there"),
        (spoil("catalog.db"), "catalog.db is not as it was"),
        (spoil("master.key"), "master.key is not as it was"),
        (spoil("backup.json"), "backup.json cannot be read"),
        (lose_catalog, "has no catalog.db"),
        (leave_unfinished, "was not finished"),
    ],
)
def test_a_damaged_backup_is_refused_and_nothing_is_left(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, backed_up: Recording, damage: object, said: str
) -> None:
    damage(tmp_path / "backup", backed_up)  # type: ignore[operator]

    answer = wavstream("restore", "backup")

    assert (answer.code, answer.err.count("wavstream:")) == (2, 1)
    assert said in answer.err
    assert names(data_dir) - {"lock"} == set()


def test_what_is_whole_of_a_damaged_backup_is_restored_where_that_is_asked_for(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, backed_up: Recording
) -> None:
    other = replace(RECORDING, id=new_id(), object_key="shop/other.wav")
    shutil.move(tmp_path / "before", data_dir)
    put(data_dir / "recordings" / other.object_key)
    asyncio.run(_add(DataFolder(data_dir), other))
    assert wavstream("backup", "both").code == 0
    shutil.rmtree(data_dir)
    lose_file(tmp_path / "both", backed_up)

    refused, partial = wavstream("restore", "both"), wavstream("restore", "both", "--partial")

    assert (refused.code, partial.code) == (2, 1)
    assert backed_up.id in refused.err
    assert backed_up.id in partial.err
    assert wavstream("verify", other.id).code == 0


def test_erased_recordings_stay_erased_and_those_of_a_store_keep_their_place(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path
) -> None:
    recording = recorded(data_dir)
    erased = replace(RECORDING, id=new_id(), object_key="shop/erased.wav").erased(Status.DELETED, utc(10**15))
    uploaded = replace(
        RECORDING, id=new_id(), object_key="shop/away.wav", stored=StoredObject(STORE, utc(10**15), "an etag")
    )
    asyncio.run(_add(DataFolder(data_dir), erased, uploaded))
    assert wavstream("backup", "backup").code == 0
    put(tmp_path / "backup" / "recordings" / erased.object_key)  # as a copy by hand has it
    shutil.rmtree(data_dir)

    said = wavstream("restore", "backup")

    assert said.code == 0, said.err
    assert "1 recordings lie in a store" in said.out
    assert {each for each in names(data_dir) if each.startswith("recordings/")} == {
        f"recordings/{recording.object_key}"
    }
    with closing(sqlite3.connect(data_dir / "catalog.db")) as catalog:
        found = dict(catalog.execute("SELECT id, coalesce(stored_json, status) FROM recordings").fetchall())
    assert found[erased.id] == "deleted"
    assert STORE in found[uploaded.id]


def test_a_recording_that_had_no_file_before_is_no_damage(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path
) -> None:
    recording = recorded(data_dir)
    (data_dir / "recordings" / recording.object_key).unlink()
    wavstream("backup", "backup")
    shutil.rmtree(data_dir)

    said = wavstream("restore", "backup")

    assert (said.code, "1 recordings had no file" in said.out) == (0, True)


def test_a_restore_that_was_killed_keeps_servers_away_and_begins_anew(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, backed_up: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    rename = os.rename

    def kill(source: Path, target: Path) -> None:
        if Path(source).name == "catalog.db":
            raise Killed
        rename(source, target)

    monkeypatch.setattr(os, "rename", kill)
    with pytest.raises(Killed):
        wavstream("restore", "backup")
    monkeypatch.setattr(os, "rename", rename)
    assert (data_dir / "recordings" / backed_up.object_key).exists()
    assert not (data_dir / "catalog.db").exists()

    start = wavstream("recover")
    again = wavstream("restore", "backup")

    assert (start.code, "a restore into" in start.err) == (2, True)
    assert again.code == 0, again.err
    assert not (data_dir / "restoring").exists()
    assert wavstream("verify", backed_up.id).code == 0


def test_a_backup_of_an_earlier_version_says_nothing_of_itself_and_is_restored(
    wavstream: CommandLine, data_dir: Path, tmp_path: Path, backed_up: Recording
) -> None:
    (tmp_path / "backup" / "backup.json").unlink()
    shutil.rmtree(tmp_path / "backup" / "journal")

    assert wavstream("restore", "backup").code == 0
    assert wavstream("verify", backed_up.id).code == 0


def test_a_folder_that_is_no_backup_is_refused(wavstream: CommandLine, data_dir: Path, tmp_path: Path) -> None:
    recorded(data_dir)
    (tmp_path / "empty").mkdir()

    said = [wavstream("restore", each) for each in ("nowhere", "empty", data_dir)]

    assert [each.code for each in said] == [2, 2, 2]
    assert "is the data folder itself" in said[2].err
