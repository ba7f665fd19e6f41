"""The pass of somebody who looks: what the cookie of the console holds. It stands for a key, without being one.

1. It says which app and which of its keys signed in, and until when, under a signature of ours. So it is read without
   the catalog, and is good for as long as that key is: one that is revoked, rotated or removed with its app ends it.
2. A browser sends cookies by itself, also where another page made it ask. So one counts only in requests that come from
   our own page: no other site's, and no other origin's of the same site (``is_from_our_page``).
3. Whatever changes something also needs ``X-Wavstream-Console``, which a page of another origin cannot send without
   being allowed to first, and nobody is.
4. Ports have no cookies of their own: two servers of one machine tell theirs apart by their names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie

import msgspec

from wavstream.access.origin import is_foreign
from wavstream.access.secret_box import derive

HEADER = "x-wavstream-console"
LIFE = timedelta(hours=8)
_MAC_BYTES = 32
_MAX_LENGTH = 1_024
_OUR_PAGES = ("same-origin", "none")


class _Content(msgspec.Struct, array_like=True, frozen=True):
    app_id: str
    key_id: str
    expires_s: int


@dataclass(frozen=True, slots=True)
class ConsolePass:
    """What a pass says."""

    app_id: str
    key_id: str
    expires_at: datetime
    """Aware, UTC."""


class ConsolePasses:
    """Makes and reads passes; pure, ``now`` is a parameter."""

    def __init__(self, master: bytes) -> None:
        self._key = derive(master, "console passes")
        self.cookie = "wavstream_" + hmac.new(self._key, b"name", hashlib.sha256).hexdigest()[:8]
        """The name of the cookie (rule 4)."""

    def make(self, *, app_id: str, key_id: str, now: datetime) -> tuple[str, datetime]:
        """Return a pass for whoever shows it, and when it ends."""
        expires_s = int((now + LIFE).timestamp())
        content = msgspec.json.encode(_Content(app_id, key_id, expires_s))
        text = base64.urlsafe_b64encode(self._mac(content) + content).decode().rstrip("=")
        return text, datetime.fromtimestamp(expires_s, UTC)

    def read(self, cookies: str | None, *, now: datetime) -> ConsolePass | None:
        """Return the pass in the ``Cookie`` header of a request; None: it has none that is ours and not over."""
        text = self._in(cookies)
        if text is None or len(text) > _MAX_LENGTH:
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content)):
            return None
        said = msgspec.json.decode(content, type=_Content)
        if now.timestamp() >= said.expires_s:
            return None
        return ConsolePass(said.app_id, said.key_id, datetime.fromtimestamp(said.expires_s, UTC))

    def _in(self, cookies: str | None) -> str | None:
        if not cookies or self.cookie not in cookies:
            return None
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return None
        return None if found is None else found.value

    def _mac(self, content: bytes) -> bytes:
        return hmac.new(self._key, content, hashlib.sha256).digest()


def is_from_our_page(*, site: str | None, origins: Collection[str], hosts: Collection[str]) -> bool:
    """Return whether a request comes from our own page, or from whoever typed our address (rule 2).

    ``site`` and ``origins`` are its ``Sec-Fetch-Site`` and ``Origin``, where it has them; ``hosts`` what we are called.
    """
    if site is not None and site.strip().lower() not in _OUR_PAGES:
        return False
    return not is_foreign(origins, hosts=hosts, allowed_origins=())
