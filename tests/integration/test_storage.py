"""Local storage in real folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wavstream.errors import DependencyError, InternalError, OperatorError
from wavstream.storage.local import LocalStorage

KEY = "shop/2026-08-21/0d6c.wav"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def storage(tmp_path: Path, spool: Path) -> LocalStorage:
    prepared = LocalStorage(tmp_path / "recordings")
    prepared.prepare(spool)
    return prepared


def spooled(spool: Path, content: bytes = b"RIFF", name: str = "0d6c.wav") -> Path:
    path = spool / name
    path.write_bytes(content)
    return path


def test_a_published_file_and_its_sidecar_lie_under_the_key_and_the_spool_is_empty(
    storage: LocalStorage, spool: Path
) -> None:
    file = spooled(spool)
    inode = file.stat().st_ino
    storage.publish(file, KEY, sidecar=b"{}")
    target = storage.path(KEY)
    assert target.read_bytes() == b"RIFF"
    assert target.with_name("0d6c.wav.json").read_bytes() == b"{}"
    assert target.stat().st_ino == inode, "it was copied, not moved"
    assert list(spool.iterdir()) == []


def test_a_file_published_without_a_sidecar_has_none(storage: LocalStorage, spool: Path) -> None:
    storage.publish(spooled(spool), KEY, sidecar=None)
    assert [each.name for each in storage.path(KEY).parent.iterdir()] == ["0d6c.wav"]


def test_publishing_again_replaces_the_file(storage: LocalStorage, spool: Path) -> None:
    storage.publish(spooled(spool, b"one"), KEY, sidecar=b"1")
    storage.publish(spooled(spool, b"two"), KEY, sidecar=b"2")
    assert storage.path(KEY).read_bytes() == b"two"
    assert storage.path(KEY + ".json").read_bytes() == b"2"


def test_the_file_and_every_new_folder_are_flushed_to_the_disk(
    storage: LocalStorage, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.publish(spooled(spool), KEY, sidecar=b"{}")
    root = tmp_path / "recordings"
    before_the_move, after_it = flushed[:1], flushed[1:]
    assert before_the_move == [str(spool / "0d6c.wav.json")]
    assert set(after_it) == {str(root), str(root / "shop"), str(root / "shop/2026-08-21")}


@pytest.mark.parametrize("failing_call", range(6))
def test_a_publish_that_fails_anywhere_succeeds_when_it_is_tried_again(
    storage: LocalStorage, spool: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    calls = 0

    def breaks(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls - 1 == failing_call:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        return call

    file = spooled(spool)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", breaks(os.fsync))
        patched.setattr(os, "rename", breaks(os.rename))
        with pytest.raises(OSError, match="No space"):
            storage.publish(file, KEY, sidecar=b"{}")
    storage.publish(file, KEY, sidecar=b"{}")
    assert storage.path(KEY).read_bytes() == b"RIFF"
    assert storage.path(KEY + ".json").read_bytes() == b"{}"
    assert list(spool.iterdir()) == []


def test_publishing_a_file_that_is_nowhere_is_an_error(storage: LocalStorage, spool: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.publish(spool / "none.wav", KEY, sidecar=None)


def test_size_and_age_of_a_file_are_known_and_none_where_there_is_none(storage: LocalStorage, spool: Path) -> None:
    assert storage.stat(KEY) is None
    storage.publish(spooled(spool), KEY, sidecar=None)
    found = storage.stat(KEY)
    assert found is not None
    assert found.size_bytes == 4
    assert found.modified_at.timestamp() == pytest.approx(storage.path(KEY).stat().st_mtime)


def test_a_deleted_file_takes_its_sidecar_and_its_empty_folders_along(
    storage: LocalStorage, spool: Path, tmp_path: Path
) -> None:
    other = "shop/2026-08-22/0d6d.wav"
    storage.publish(spooled(spool), KEY, sidecar=b"{}")
    storage.publish(spooled(spool), other, sidecar=b"{}")
    assert storage.delete(KEY)
    assert list(storage.walk()) == [other]
    assert [each.name for each in (tmp_path / "recordings" / "shop").iterdir()] == ["2026-08-22"]
    assert storage.delete(other)
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_copy_in_another_format_lies_beside_the_file_and_is_deleted_with_it(
    storage: LocalStorage, spool: Path, tmp_path: Path
) -> None:
    storage.publish(spooled(spool), KEY, sidecar=b"{}")
    storage.publish_copy(spooled(spool, b"ID3", "0d6c.mp3"), KEY, "mp3")
    assert storage.path(KEY).with_name("0d6c.wav.mp3-copy").read_bytes() == b"ID3"
    assert list(storage.walk()) == [KEY]
    assert storage.delete(KEY)
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_copy_of_a_file_that_was_deleted_meanwhile_is_deleted(
    storage: LocalStorage, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.publish(spooled(spool), KEY, sidecar=None)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        real(source, target)
        storage.path(KEY).unlink()

    monkeypatch.setattr(os, "rename", rename)
    storage.publish_copy(spooled(spool, b"ID3", "0d6c.mp3"), KEY, "mp3")
    assert list((tmp_path / "recordings").iterdir()) == []
    assert list(spool.iterdir()) == []


def test_a_deletion_is_flushed_to_the_disk(
    storage: LocalStorage, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.publish(spooled(spool), "shop/1.wav", sidecar=None)
    storage.publish(spooled(spool), "shop/2.wav", sidecar=None)
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    storage.delete("shop/1.wav")
    storage.delete("shop/2.wav")
    assert flushed == [str(tmp_path / "recordings" / "shop"), str(tmp_path / "recordings")]


def test_deleting_what_is_not_there_says_so(storage: LocalStorage) -> None:
    assert not storage.delete(KEY)
    assert not storage.delete("0d6c.wav")


def test_a_sidecar_without_its_file_is_deleted_too(storage: LocalStorage, spool: Path, tmp_path: Path) -> None:
    storage.publish(spooled(spool), KEY, sidecar=b"{}")
    storage.path(KEY).unlink()
    assert not storage.delete(KEY)
    assert list((tmp_path / "recordings").iterdir()) == []


def test_a_file_that_cannot_be_deleted_is_a_dependency_error(storage: LocalStorage) -> None:
    storage.path(KEY).mkdir(parents=True)
    with pytest.raises(DependencyError, match="could not be deleted"):
        storage.delete(KEY)


def test_walk_gives_files_and_leaves_out_sidecars_and_what_is_not_ours(
    storage: LocalStorage, spool: Path, tmp_path: Path
) -> None:
    storage.publish(spooled(spool), KEY, sidecar=b"{}")
    storage.publish(spooled(spool), "flat.wav", sidecar=None)
    (tmp_path / "recordings" / ".DS_Store").write_bytes(b"")
    (tmp_path / "recordings" / "a note.txt").write_bytes(b"")
    assert sorted(storage.walk()) == ["flat.wav", KEY]


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_a_key_that_leaves_the_root_is_never_opened(storage: LocalStorage, key: str) -> None:
    for use in (storage.path, storage.stat, storage.delete):
        with pytest.raises(InternalError):
            use(key)


def test_publishing_and_deleting_in_one_folder_at_once_loses_nothing(storage: LocalStorage, spool: Path) -> None:
    def turn(number: int) -> bool:
        key = f"shop/day/{number}.wav"
        storage.publish(spooled(spool, name=f"{number}.wav"), key, sidecar=b"{}")
        return storage.delete(key)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(turn, range(200)))
    assert list(storage.walk()) == []


def test_a_spool_on_another_filesystem_is_refused(tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def other_device(path: Path) -> object:
        found = real(path)
        return type("Stat", (), {"st_dev": found.st_dev + (path == spool)})

    monkeypatch.setattr(os, "stat", other_device)
    with pytest.raises(OperatorError, match="one filesystem"):
        LocalStorage(tmp_path / "recordings").prepare(spool)


def test_a_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path, spool: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperatorError, match="file/recordings"):
        LocalStorage(tmp_path / "file" / "recordings").prepare(spool)


def test_one_folder_for_spool_and_storage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="two folders"):
        LocalStorage(tmp_path).prepare(tmp_path)
