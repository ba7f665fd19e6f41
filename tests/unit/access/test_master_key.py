"""How the master key is made of what is given, and how another one is noticed."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest

from wavstream.access import master_key
from wavstream.access.master_key import check_of, make_master_key
from wavstream.catalog.app_keys import MasterRecord
from wavstream.errors import OperatorError

RAW = bytes(range(32))
EARLIER = MasterRecord("sha256")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_key, "_N", 16)


def test_without_a_setting_it_is_made_once_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    master, record = make_master_key(None, path, None)
    assert (len(master), record) == (32, MasterRecord("raw", None, check_of(master)))
    assert make_master_key(None, path, record) == (master, record)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [RAW.hex(), RAW.hex().upper(), base64.b64encode(RAW).decode(), f" {RAW.hex()}\n"])
def test_32_bytes_that_are_written_out_are_taken_as_they_are(tmp_path: Path, text: str) -> None:
    assert make_master_key(text, tmp_path / "none", None) == (RAW, MasterRecord("raw", None, check_of(RAW)))
    assert not (tmp_path / "none").exists()


def test_base64_of_urls_is_base64_too(tmp_path: Path) -> None:
    raw = b"\xfb\xff" * 16
    text = base64.urlsafe_b64encode(raw).decode()
    assert "_" in text
    assert make_master_key(text, tmp_path / "none", None)[0] == raw


def test_a_passphrase_is_stretched_with_a_salt_of_this_data_folder(tmp_path: Path) -> None:
    first, record = make_master_key("a long passphrase", tmp_path / "none", None)
    other, _ = make_master_key("a long passphrase", tmp_path / "none", None)
    assert record.salt is not None
    expected = hashlib.scrypt(b"a long passphrase", salt=bytes.fromhex(record.salt), n=16, r=8, p=1, dklen=32)
    assert first == expected != other
    assert make_master_key("a long passphrase", tmp_path / "none", record) == (first, record)


def test_the_cost_of_a_passphrase_is_what_the_documents_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    salt = "00" * 16
    master = hashlib.scrypt(b"a long passphrase", salt=bytes(16), n=2**16, r=8, p=1, dklen=32, maxmem=2**28)
    known = MasterRecord("scrypt", salt, check_of(master))
    assert make_master_key("a long passphrase", tmp_path / "none", known) == (master, known)


@pytest.mark.parametrize("text", ["a long passphrase", RAW.hex()])
def test_a_catalog_of_an_earlier_version_goes_on_with_its_sha256(tmp_path: Path, text: str) -> None:
    master, record = make_master_key(text, tmp_path / "none", EARLIER)
    assert master == hashlib.sha256(text.encode()).digest()
    assert record == MasterRecord("sha256", None, check_of(master))
    assert make_master_key(text, tmp_path / "none", record) == (master, record)


def test_the_key_of_an_earlier_version_may_be_written_out_later(tmp_path: Path) -> None:
    master, record = make_master_key("a long passphrase", tmp_path / "none", EARLIER)
    assert make_master_key(master.hex(), tmp_path / "none", record)[0] == master


def test_the_key_of_the_file_may_be_moved_into_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    master, record = make_master_key(None, path, None)
    assert make_master_key(path.read_text(), path, record) == (master, record)


@pytest.mark.parametrize("other", [None, "another passphrase", bytes(32).hex()])
@pytest.mark.parametrize("first", ["a long passphrase", RAW.hex()])
def test_another_key_than_that_of_the_catalog_is_refused_with_what_to_do(
    tmp_path: Path, first: str, other: str | None
) -> None:
    for known in (None, EARLIER):
        _, record = make_master_key(first, tmp_path / "none", known)
        with pytest.raises(OperatorError, match="wavstream master-key reset"):
            make_master_key(other, tmp_path / "master.key", record)


@pytest.mark.parametrize("content", [b"", b"00ff", b"not hex" * 10, b"\xff" * 64])
def test_a_damaged_master_key_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="give every app a new key"):
        make_master_key(None, path, None)


def test_blanks_around_a_passphrase_are_no_part_of_it_in_a_new_data_folder(tmp_path: Path) -> None:
    given, record = make_master_key("a long passphrase\n", tmp_path / "none", None)
    assert make_master_key("a long passphrase", tmp_path / "none", record) == (given, record)
    assert make_master_key(" a long passphrase\n", tmp_path / "none", record) == (given, record)


def test_a_data_folder_that_was_made_with_blanks_around_it_goes_on_so(tmp_path: Path) -> None:
    given = "a long passphrase\n"
    salt = "00" * 16
    master = hashlib.scrypt(given.encode(), salt=bytes(16), n=16, r=8, p=1, dklen=32)
    record = MasterRecord("scrypt", salt, check_of(master))
    assert make_master_key(given, tmp_path / "none", record) == (master, record)
    assert make_master_key(given, tmp_path / "none", EARLIER)[0] == hashlib.sha256(given.encode()).digest()


def test_a_new_data_folder_takes_no_master_key_in_quotes_and_an_older_one_its_own(tmp_path: Path) -> None:
    given = '"a long passphrase"'
    with pytest.raises(OperatorError, match="quotes"):
        make_master_key(given, tmp_path / "none", None)
    assert make_master_key(given, tmp_path / "none", EARLIER)[0] == hashlib.sha256(given.encode()).digest()
