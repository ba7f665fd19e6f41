"""What a caller shows: app keys and stream tokens.

App keys are made here and kept as a slow hash and a keyed look-up, never as they are. The look-up finds the one app
whose key it may be; the hash then decides. Whoever steals the catalog has neither: the look-up cannot be computed
without the master key, and the hash is slow to try.

Stream tokens are short-lived and open media streams of one app, or of one session of it, and nothing else. A token
carries what it says, signed, so that it is read without the catalog. It can be used until it expires, or its app is
removed, which the authenticator looks up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from wavstream.access.secret_box import derive
from wavstream.errors import Unauthenticated

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


TOKEN_PREFIX = "wst_"
"""What every stream token begins with; no app key that we made does."""
_MAC_BYTES = 32


class _Content(msgspec.Struct, array_like=True, frozen=True):
    app_id: str
    session_id: str | None
    expires_s: int


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a valid token says."""

    app_id: str
    session_id: str | None
    """The one session it is for; None: any of the app."""
    expires_at: datetime
    """Aware, UTC."""


class StreamTokens:
    """Makes and reads stream tokens; pure, ``now`` is a parameter."""

    def __init__(self, master: bytes) -> None:
        self._key = derive(master, "stream tokens")

    def make(self, *, app_id: str, session_id: str | None, expires_at: datetime) -> str:
        """Return a token that is good until ``expires_at``, to the second below."""
        content = msgspec.json.encode(_Content(app_id, session_id, int(expires_at.timestamp())))
        return TOKEN_PREFIX + base64.urlsafe_b64encode(self._mac(content) + content).decode().rstrip("=")

    def read(self, token: str, *, now: datetime) -> StreamToken:
        """Return what the token says; raise Unauthenticated if it is not ours or has expired."""
        text = token.removeprefix(TOKEN_PREFIX)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content)):
            raise Unauthenticated("the stream token is not valid: ask for a new one")
        said = msgspec.json.decode(content, type=_Content)
        if now.timestamp() >= said.expires_s:
            raise Unauthenticated("the stream token has expired: ask for a new one")
        return StreamToken(said.app_id, said.session_id, datetime.fromtimestamp(said.expires_s, UTC))

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)
