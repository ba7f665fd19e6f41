"""Secret files and the ring of link keys that is kept in one."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from wavstream.errors import OperatorError
from wavstream.storage.link_keys import load_link_keys, rotate_link_keys
from wavstream.storage.secret_file import read_or_create, replace

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


def test_a_replaced_secret_is_still_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    read_or_create(path, b"first")
    replace(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_place_where_no_file_can_be_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OperatorError, match="secret file"):
        read_or_create(tmp_path / "file" / "secret", b"x")
    with pytest.raises(OperatorError, match="secret file"):
        replace(tmp_path / "file" / "secret", b"x")


def test_the_ring_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "link-keys.json"
    first = load_link_keys(path, START)
    assert load_link_keys(path, START + timedelta(days=1)).keys == first.keys
    assert len(first.keys[0].secret) == 32


def test_a_rotation_adds_a_key_and_keeps_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "link-keys.json"
    first = load_link_keys(path, START)
    rotated = rotate_link_keys(path, START + timedelta(days=1))
    assert rotated.keys[0] == first.keys[0]
    assert [key.since for key in rotated.keys] == [START, START + timedelta(days=1)]
    assert load_link_keys(path, START).keys == rotated.keys


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"[1]", b"\xff"])
def test_a_damaged_ring_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "link-keys.json"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="restore it"):
        load_link_keys(path, START)
