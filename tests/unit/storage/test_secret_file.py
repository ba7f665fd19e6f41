"""Secret files, and the link keys that are kept in one."""

from __future__ import annotations

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wavstream.errors import DiskFull, OperatorError
from wavstream.storage.links import load_link_keys
from wavstream.storage.secret_file import read_or_create, replace_secret

START = datetime(2026, 8, 21, 12, tzinfo=UTC)


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"
    assert read_or_create(path, b"first") == b"first"
    assert read_or_create(path, b"second") == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_of_several_who_make_a_secret_at_once_all_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as threads:
        got = set(threads.map(lambda n: read_or_create(path, b"%d" % n), range(64)))
    assert got == {path.read_bytes()}


def test_a_place_where_no_file_can_be_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperatorError, match="secret file"):
        read_or_create(tmp_path / "file" / "secret", b"x")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_secret_that_a_full_disk_does_not_take_leaves_nothing_but_the_one_of_before(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    replace_secret(path, b"before")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(DiskFull):
            replace_secret(path, b"after")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("secret", b"before")]


def test_the_link_keys_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "link-keys.json"
    first = load_link_keys(path, START)
    assert load_link_keys(path, START + timedelta(days=1)).keys == first.keys
    assert len(first.keys[0].secret) == 32


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"[1]", b"\xff"])
def test_damaged_link_keys_are_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "link-keys.json"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="restore it"):
        load_link_keys(path, START)
