"""App keys: made here, kept as a slow hash and a keyed look-up, never as they are.

The look-up finds the one app whose key it may be; the hash then decides. Whoever steals the catalog has neither: the
look-up cannot be computed without the master key, and the hash is slow to try.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from wavstream.access.master_key import derive

# About 50 ms and 16 MiB: the usual strength for interactive logins (RFC 7914, section 2 suggests r=8, p=1).
_N, _R, _P = 2**14, 8, 1
_SALT_BYTES = 16
_HASH_BYTES = 32
_LOOKUP_BYTES = 8
_MAX_KEY_LENGTH = 512


def make_key() -> str:
    """Return a fresh app key: ``wsk_`` and 32 random bytes, base64url."""
    return "wsk_" + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return the key's scrypt hash with its parameters and salt, to be stored; it takes about 50 ms."""
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = _scrypt(key, salt, n=_N, r=_R, p=_P)
    return f"scrypt${_N}${_R}${_P}${_base64(salt)}${_base64(digest)}"


def verify_key(key: str, key_hash: str) -> bool:
    """Return whether the hash is this key's, in constant time; it takes as long as ``hash_key``."""
    _, n, r, p, salt, digest = key_hash.split("$")
    given = _scrypt(key, base64.b64decode(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(given, base64.b64decode(digest))


def lookup(key: str, master: bytes) -> str:
    """Return the 16 hex digits that find the key's app in the catalog."""
    return hmac.digest(derive(master, "app key lookup"), _bytes(key), hashlib.sha256)[:_LOOKUP_BYTES].hex()


def is_possible(key: str) -> bool:
    """Return whether text may be a key: an operator may choose any for the app ``default``, but no very long one."""
    return 0 < len(key) <= _MAX_KEY_LENGTH


NO_KEY_HASH = f"scrypt${_N}${_R}${_P}${'A' * 22}==${'A' * 43}="
"""No key's hash. Verified against when no app has the look-up, so that this takes as long as a wrong key."""


def _scrypt(key: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(_bytes(key), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=_HASH_BYTES)


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogatepass")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
