"""The server's master key: 32 bytes, from which every key with a purpose of its own is derived (``secret_box``).

What is set may be those bytes (64 hex digits, or base64) or a passphrase. People choose passphrases that can be
guessed, and the catalog lets whoever has stolen it try them. So a passphrase goes through scrypt, with a salt of this
data folder.

1. How the key was made is written into the catalog, with a *check*: a value that only this key derives. So a server, or
   a command line, that is given another key says so at once, instead of refusing every app key.
2. Earlier versions took SHA-256 of whatever was set. What they kept cannot be moved to another key without the app keys
   themselves, so their catalogs go on with it. ``wavstream master-key reset`` ends that, and every app key with it.
3. A command that finds a catalog of an earlier version writes no check: it may be the command that has the wrong key.
4. Blanks and line ends around a passphrase are no part of it: files end in a line end. A catalog that was made with
   them, by an earlier version, goes on with them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from wavstream.access.secret_box import derive
from wavstream.catalog.app_keys import MasterRecord
from wavstream.errors import OperatorError
from wavstream.model.given import is_quoted
from wavstream.storage.secret_file import read_or_create

KEY_BYTES = 32
_SALT_BYTES = 16
_CHECK_BYTES = 16
# About 0.2 s and 64 MiB, once a start: RFC 7914 suggests r=8, p=1; changed values would be another kind.
_N, _R, _P = 2**16, 8, 1
_HEX = re.compile(r"[0-9a-fA-F]{64}")
RAW, SCRYPT, SHA256 = "raw", "scrypt", "sha256"


def make_master_key(given: str | None, path: Path, known: MasterRecord | None) -> tuple[bytes, MasterRecord]:
    """Return the 32 bytes and what is to be known of them: from the setting if one is given, else from the file.

    The file is made if it is missing. Takes a while, and touches the disk. Raise OperatorError if the file cannot be
    used, or the key is not the one that the catalog was made with (rule 1).
    """
    ways = [(RAW, None, _of_file(path))] if given is None else [*_of_text(given, known)]
    for kind, salt, master in ways:
        record = MasterRecord(kind, salt, check_of(master))
        if known is None or known.check is None or hmac.compare_digest(known.check, record.check or ""):
            return master, record
    raise OperatorError(
        "the master key is not the one that this data folder was made with: set WAVSTREAM_MASTER_KEY as it was (or "
        f"restore {path.name}), or run 'wavstream master-key reset' and give every app a new key and webhook secret"
    )


def check_of(master: bytes) -> str:
    """Return what tells whether a key is this one, and nothing else of it."""
    return derive(master, "check of the master key")[:_CHECK_BYTES].hex()


def _of_text(given: str, known: MasterRecord | None) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield the ways to read what is set, the likeliest first; raise OperatorError if it is not what was meant."""
    text = given.strip()
    if known is None and is_quoted(text):
        raise OperatorError("WAVSTREAM_MASTER_KEY has quotes around it, which would be a part of it: leave them out")
    for each in (text,) if known is None else dict.fromkeys((given, text)):  # rule 4
        yield from _ways(each, known)


def _ways(given: str, known: MasterRecord | None) -> Iterator[tuple[str, str | None, bytes]]:
    if known is not None and known.kind == SHA256:  # rule 2
        yield SHA256, None, hashlib.sha256(given.encode()).digest()
    if (raw := _raw(given)) is not None:
        yield RAW, None, raw
    elif known is None or known.kind == SCRYPT:
        salt = known.salt if known is not None and known.salt is not None else secrets.token_hex(_SALT_BYTES)
        master = hashlib.scrypt(
            given.encode(), salt=bytes.fromhex(salt), n=_N, r=_R, p=_P, maxmem=256 * _N * _R, dklen=KEY_BYTES
        )
        yield SCRYPT, salt, master


def _raw(given: str) -> bytes | None:
    """Return the bytes that the text writes out; None: it is a passphrase."""
    text = given.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        raw = base64.b64decode(text, altchars=b"-_" if set("-_") & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == KEY_BYTES else None


def _of_file(path: Path) -> bytes:
    content = read_or_create(path, secrets.token_hex(KEY_BYTES).encode())
    text = content.decode("ascii", errors="replace").strip()
    if _HEX.fullmatch(text) is None:
        raise OperatorError(
            f"{path} is not a master key of {KEY_BYTES * 2} hex digits: restore it, or remove it, run 'wavstream "
            "master-key reset' and give every app a new key and webhook secret"
        )
    return bytes.fromhex(text)
