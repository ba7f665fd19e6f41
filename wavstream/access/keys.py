"""What a caller shows: app keys and stream tokens.

App keys are made here and kept as a keyed digest, never as they are. A key is 32 random bytes, so it cannot be guessed
from its digest, which cannot even be computed without the master key; a slow hash would add nothing but a way to keep
the server busy. The first bytes of the digest are its *look-up*.

Earlier versions kept the look-up and a slow hash instead. Only a key that has the look-up costs that hash, and without
the master key nobody makes one that has, but by its 64 bits of chance. Its digest takes the hash's place then.

Stream tokens are short-lived and open media streams of one app, or of one session of it, and nothing else. A token
carries what it says, signed, so that it is read without the catalog. It can be used until it expires, or the app or the
key that asked for it is gone, which the authenticator looks up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

import msgspec

from wavstream.access.secret_box import derive
from wavstream.errors import Unauthenticated
from wavstream.model.weak_keys import weakness

_LOOKUP_DIGITS = 16
_MAX_KEY_LENGTH = 512
_SLOW = "scrypt$"


def make_key() -> str:
    """Return a fresh app key: ``wsk_`` and 32 random bytes, base64url."""
    return "wsk_" + secrets.token_urlsafe(32)


class KeptKey(TypedDict):
    """What the catalog keeps of a key."""

    key_hash: str
    key_lookup: str
    is_weak: bool
    """Whether it is easy to guess, which the digest does not tell any more."""


class KeyDigests:
    """Makes what the catalog keeps of app keys."""

    def __init__(self, master: bytes) -> None:
        self._digest_key = derive(master, "app key lookup")

    def of(self, key: str) -> str:
        """Return the 64 hex digits that are kept as the key's hash."""
        # Not ``hmac.digest``: it releases the interpreter's lock, and the loop waits for it while threads are busy.
        return hmac.new(self._digest_key, _bytes(key), hashlib.sha256).hexdigest()

    def kept(self, key: str) -> KeptKey:
        """Return what is kept of a key, by the names of its columns."""
        digest = self.of(key)
        return {"key_hash": digest, "key_lookup": lookup(digest), "is_weak": weakness(key) is not None}


def lookup(digest: str) -> str:
    """Return the 16 hex digits that find a key in the catalog, those of earlier versions too."""
    return digest[:_LOOKUP_DIGITS]


def is_slow(key_hash: str) -> bool:
    """Return whether the hash is one of an earlier version, to be checked by ``verify_slowly``."""
    return key_hash.startswith(_SLOW)


def verify_slowly(key: str, key_hash: str) -> bool:
    """Return whether a hash of an earlier version is this key's; it takes about 50 ms and 16 MiB."""
    _, n, r, p, salt, digest = key_hash.split("$")
    cost, blocks = int(n), int(r)
    given = hashlib.scrypt(
        _bytes(key), salt=base64.b64decode(salt), n=cost, r=blocks, p=int(p), maxmem=256 * cost * blocks, dklen=32
    )
    return hmac.compare_digest(given, base64.b64decode(digest))


def is_possible(key: str) -> bool:
    """Return whether text may be a key: an operator may choose any for the app ``default``, but no very long one."""
    return 0 < len(key) <= _MAX_KEY_LENGTH


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogatepass")


TOKEN_PREFIX = "wst_"
"""What every stream token begins with; no app key that we made does."""
_MAC_BYTES = 32


class NotOurs(Unauthenticated):
    """A stream token that this server never made."""


class _Content(msgspec.Struct, array_like=True, frozen=True):
    app_id: str
    session_id: str | None
    expires_s: int
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a valid token says."""

    app_id: str
    session_id: str | None
    """The one session it is for; None: any of the app."""
    expires_at: datetime
    """Aware, UTC."""
    key_id: str | None
    """The key that asked for it; None: the server did, or an earlier version that did not say."""


class StreamTokens:
    """Makes and reads stream tokens; pure, ``now`` is a parameter."""

    def __init__(self, master: bytes) -> None:
        self._key = derive(master, "stream tokens")

    def make(self, *, app_id: str, session_id: str | None, expires_at: datetime, key_id: str | None = None) -> str:
        """Return a token that is good until ``expires_at``, to the second below."""
        content = msgspec.json.encode(_Content(app_id, session_id, int(expires_at.timestamp()), key_id))
        return TOKEN_PREFIX + base64.urlsafe_b64encode(self._mac(content) + content).decode().rstrip("=")

    def read(self, token: str, *, now: datetime) -> StreamToken:
        """Return what the token says; raise Unauthenticated if it has expired, and NotOurs if it is not ours."""
        text = token.removeprefix(TOKEN_PREFIX)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content)):
            raise NotOurs("the stream token is not valid: ask for a new one")
        said = msgspec.json.decode(content, type=_Content)
        if now.timestamp() >= said.expires_s:
            raise Unauthenticated("the stream token has expired: ask for a new one")
        return StreamToken(said.app_id, said.session_id, datetime.fromtimestamp(said.expires_s, UTC), said.key_id)

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)
