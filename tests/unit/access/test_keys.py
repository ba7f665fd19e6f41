"""App keys, and what the catalog keeps of them."""

from __future__ import annotations

import pytest

from wavstream.access.keys import KeyDigests, is_possible, is_slow, lookup, make_key, verify_slowly
from wavstream.access.secret_box import derive

MASTER = b"m" * 32
# hashlib.scrypt(b"wsk_old", salt=b"s" * 16, n=16, r=8, p=1, dklen=32)
OLD_HASH = "scrypt$16$8$1$c3Nzc3Nzc3Nzc3Nzc3Nzcw==$Hd1x4xZ7696wU7/1W/5nRZ4gi6rgwpm1oCgM7esvyAU="


def test_a_digest_is_of_one_key_under_one_master_key_and_says_nothing_of_it() -> None:
    key = make_key()
    digest = KeyDigests(MASTER).of(key)
    assert digest == KeyDigests(MASTER).of(key)
    assert len({digest, KeyDigests(MASTER).of(key + "x"), KeyDigests(b"n" * 32).of(key)}) == 3
    assert len(digest) == 64
    assert not is_slow(digest)
    assert KeyDigests(MASTER).kept(key) == {"key_hash": digest, "key_lookup": digest[:16], "is_weak": False}


def test_the_lookup_is_that_of_earlier_versions() -> None:
    # hmac.digest(hmac.digest(b"m" * 32, b"app key lookup", "sha256"), b"wsk_1", "sha256")[:8].hex()
    assert lookup(KeyDigests(MASTER).of("wsk_1")) == "9706d74b7a2725b3"


def test_a_slow_hash_of_an_earlier_version_is_verified() -> None:
    assert is_slow(OLD_HASH)
    assert verify_slowly("wsk_old", OLD_HASH)
    assert not verify_slowly("wsk_other", OLD_HASH)


def test_keys_are_long_random_and_recognisable() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("wsk_") and len(key) == 47 for key in keys)


def test_text_of_any_characters_has_a_digest_and_can_be_checked() -> None:
    for text in ("☎", "\ud800", "a\x00b"):
        assert not verify_slowly(text, OLD_HASH)
        assert len(KeyDigests(MASTER).of(text)) == 64


@pytest.mark.parametrize(("text", "possible"), [("", False), ("x", True), ("x" * 512, True), ("x" * 513, False)])
def test_a_key_has_one_to_512_characters(text: str, possible: bool) -> None:
    assert is_possible(text) is possible


def test_each_purpose_has_its_own_key() -> None:
    assert derive(MASTER, "a") != derive(MASTER, "b")
    assert derive(MASTER, "a") != MASTER
