"""App keys, the master key and what is derived from it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wavstream.access.keys import NO_KEY_HASH, hash_key, is_possible, lookup, make_key, verify_key
from wavstream.access.secret_box import derive, load_master_key
from wavstream.errors import OperatorError

MASTER = b"m" * 32


def test_a_key_is_verified_by_its_own_hash_and_no_other_key_is() -> None:
    key = make_key()
    key_hash = hash_key(key)
    assert verify_key(key, key_hash)
    assert not verify_key(key + "x", key_hash)
    assert not verify_key("", key_hash)
    assert key not in key_hash


def test_the_hash_carries_its_parameters_and_a_salt_of_its_own() -> None:
    first, second = hash_key("wsk_same"), hash_key("wsk_same")
    assert first != second
    assert first.split("$")[:4] == ["scrypt", "16384", "8", "1"]


def test_a_hash_of_other_parameters_is_still_verified() -> None:
    # hashlib.scrypt(b"wsk_old", salt=b"s" * 16, n=16, r=8, p=1, dklen=32)
    key_hash = "scrypt$16$8$1$c3Nzc3Nzc3Nzc3Nzc3Nzcw==$Hd1x4xZ7696wU7/1W/5nRZ4gi6rgwpm1oCgM7esvyAU="
    assert verify_key("wsk_old", key_hash)


def test_no_key_has_the_hash_of_no_key() -> None:
    assert not verify_key("", NO_KEY_HASH)
    assert not verify_key(make_key(), NO_KEY_HASH)
    assert NO_KEY_HASH.split("$")[:4] == hash_key("x").split("$")[:4], "it would take another time to check"


def test_keys_are_long_random_and_recognisable() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("wsk_") and len(key) == 47 for key in keys)


def test_the_lookup_depends_on_the_key_and_on_the_master_key() -> None:
    assert lookup("wsk_1", MASTER) == lookup("wsk_1", MASTER)
    assert len({lookup("wsk_1", MASTER), lookup("wsk_2", MASTER), lookup("wsk_1", b"n" * 32)}) == 3
    assert len(lookup("wsk_1", MASTER)) == 16


def test_text_of_any_characters_can_be_looked_up_and_checked() -> None:
    for text in ("☎", "\ud800", "a\x00b"):
        assert not verify_key(text, NO_KEY_HASH)
        assert lookup(text, MASTER)


@pytest.mark.parametrize(("text", "possible"), [("", False), ("x", True), ("x" * 512, True), ("x" * 513, False)])
def test_a_key_has_one_to_512_characters(text: str, possible: bool) -> None:
    assert is_possible(text) is possible


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    master = load_master_key(path, None)
    assert len(master) == 32
    assert load_master_key(path, None) == master
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_master_key_that_is_given_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    assert load_master_key(path, "a setting") == load_master_key(path, "a setting")
    assert load_master_key(path, "a setting") != load_master_key(path, "another")
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"00ff", b"not hex" * 10, b"\xff" * 64])
def test_a_damaged_master_key_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="rotate-key"):
        load_master_key(path, None)


def test_each_purpose_has_its_own_key() -> None:
    assert derive(MASTER, "a") != derive(MASTER, "b")
    assert derive(MASTER, "a") != MASTER
