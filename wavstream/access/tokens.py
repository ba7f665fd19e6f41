"""Stream tokens: short-lived, they open media streams of one app, or of one session of it, and nothing else.

A token carries what it says, signed, so that it is read without the catalog. It can be used until it expires, or its
app is removed, which the authenticator looks up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from wavstream.access.master_key import derive
from wavstream.errors import Unauthenticated

PREFIX = "wst_"
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
        return PREFIX + base64.urlsafe_b64encode(self._mac(content) + content).decode().rstrip("=")

    def read(self, token: str, *, now: datetime) -> StreamToken:
        """Return what the token says; raise Unauthenticated if it is not ours or has expired."""
        text = token.removeprefix(PREFIX)
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
