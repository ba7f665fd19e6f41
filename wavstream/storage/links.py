"""The two kinds of link that open a finished file; pure, ``now`` is a parameter.

- A *capability URL*, ``/files/{recording_id}/{seal}/{file_name}``: the recording's stable address, known from its
  start. It opens the file for as long as the recording is available.
- A *signed link*, ``/files/{recording_id}/{file_name}?expires=...&signature=...``: dies by itself after a while.

Seal and signature are ``{key id}.{HMAC-SHA256, base64url}`` over all that the link says, so no part of it can be
changed. A recording's links are signed with the key that was the newest when the recording was created: its
capability URL stays the same, letter by letter, when keys are rotated.

Whoever answers a request checks in this order: ``LinkKeys.verify`` (wrong: 403, whether or not there is such a
recording); then the recording (expired, deleted, unknown: 404); then ``VerifiedLink.is_over`` (403).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from wavstream.errors import Forbidden
from wavstream.model.recording import Recording


@dataclass(frozen=True, slots=True)
class LinkKey:
    """One secret that signs links."""

    id: str
    """Names the key in links; letters and digits."""
    secret: bytes
    since: datetime
    """Signs for recordings created from then on; aware UTC."""

    def __repr__(self) -> str:
        return f"LinkKey(id={self.id!r}, secret=***, since={self.since!r})"


@dataclass(frozen=True, slots=True)
class VerifiedLink:
    """What a link with a right signature says."""

    recording_id: str
    ext: str
    """The file format that it asks for, such as ``wav``."""
    expires_at: datetime | None
    """When a signed link ends; None: a capability URL."""

    def is_over(self, now: datetime) -> bool:
        """Whether the link itself has ended."""
        return self.expires_at is not None and now >= self.expires_at


class LinkKeys:
    """The ring of link keys: signs with one, verifies with all. Keys are never dropped: links live as long as files."""

    def __init__(self, keys: tuple[LinkKey, ...]) -> None:
        if not keys:
            raise ValueError("a ring needs a key")
        self.keys = tuple(sorted(keys, key=lambda key: key.since))

    def capability_path(self, recording: Recording) -> str:
        """Path of the recording's stable address; the same for the whole life of the recording."""
        key = self._key_of(recording)
        seal = _signature(key, "capability", recording.id, recording.file_name)
        return f"/files/{recording.id}/{seal}/{quote(recording.file_name, safe='')}"

    def signed_path(self, recording: Recording, *, now: datetime, ttl_s: int, ext: str | None = None) -> str:
        """Path and query of a link that ends ``ttl_s`` seconds after ``now``; ``ext``: of the copy in that format."""
        name = recording.file_name if ext is None else file_name_as(ext, recording)
        expires = str(int(now.timestamp()) + ttl_s)
        signature = _signature(self._key_of(recording), "signed", recording.id, name, expires)
        return f"/files/{recording.id}/{quote(name, safe='')}?expires={expires}&signature={signature}"

    def verify(self, path: str, query: Mapping[str, str]) -> VerifiedLink:
        """What a link says, from its percent-decoded path and query; raises Forbidden if we did not make it."""
        recording_id, _, rest = path.removeprefix("/files/").partition("/")
        if "signature" in query:
            expires = query.get("expires", "")
            self._check(query["signature"], "signed", recording_id, rest, expires)
            return VerifiedLink(recording_id, _ext(rest), datetime.fromtimestamp(int(expires), UTC))
        seal, _, file_name = rest.partition("/")
        self._check(seal, "capability", recording_id, file_name)
        return VerifiedLink(recording_id, _ext(file_name), None)

    def _key_of(self, recording: Recording) -> LinkKey:
        older = [key for key in self.keys if key.since <= recording.created_at]
        return older[-1] if older else self.keys[0]

    def _check(self, signature: str, *parts: str) -> None:
        key_id = signature.partition(".")[0]
        key = next((key for key in self.keys if key.id == key_id), None)
        given = signature.encode(errors="surrogatepass")
        if key is None or not hmac.compare_digest(_signature(key, *parts).encode(), given):
            raise Forbidden("the link's signature is wrong: use the link as it was given")


def file_name_as(ext: str, recording: Recording) -> str:
    """What a browser calls the download of the recording in that format."""
    return f"{recording.file_name.rpartition('.')[0]}.{ext}"


def _signature(key: LinkKey, *parts: str) -> str:
    # Each part with its length before it: no two lists of parts make the same bytes.
    encoded = [part.encode(errors="surrogatepass") for part in parts]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
    # Not ``hmac.digest``: it lets go of the interpreter's lock, for which the loop then waits while threads are busy.
    mac = hmac.new(key.secret, message, hashlib.sha256).digest()
    return f"{key.id}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _ext(file_name: str) -> str:
    return file_name.rpartition(".")[2]
