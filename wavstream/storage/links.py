"""The links that open a finished file, the keys that sign them, and the address that a recording is published with.

There are two kinds of link:

- A *capability URL*, ``/files/{recording_id}/{seal}/{file_name}``: the recording's stable address, known from its
  start. It opens the file for as long as the recording is available.
- A *signed link*, ``/files/{recording_id}/{file_name}?expires=...&signature=...``: it ends by itself after a while.

Three rules:

1. Seal and signature are ``{key id}.{HMAC-SHA256, base64url}`` over everything that the link says, so no part of it can
   be changed.
2. The links of a recording are signed with the key that was the newest when the recording was created. So its
   capability URL stays the same, letter by letter, when a key is added.
3. Whoever answers a request checks in this order: ``LinkKeys.verify`` (wrong: 403, whether or not there is such a
   recording); then the recording (expired, deleted, unknown: 404); then ``VerifiedLink.is_over`` (403).

The clock is a parameter. Only ``load_link_keys`` touches a file: ``link-keys.json``, in the data folder.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from wavstream.errors import Forbidden, OperatorError
from wavstream.model.recording import Recording
from wavstream.storage.secret_file import read_or_create, replace_secret


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
class NamedFile:
    """What a link says of a recording, where there is no more of it than its document."""

    id: str
    file_name: str
    created_at: datetime


_encode_keys = msgspec.json.Encoder().encode
_decode_keys = msgspec.json.Decoder(tuple[LinkKey, ...]).decode


@dataclass(frozen=True, slots=True)
class VerifiedLink:
    """The content of a link whose signature is right."""

    recording_id: str
    ext: str
    """The file format that it asks for, such as ``wav``."""
    expires_at: datetime | None
    """When a signed link ends; None: a capability URL."""

    def is_over(self, now: datetime) -> bool:
        """Return whether the link itself has ended."""
        return self.expires_at is not None and now >= self.expires_at


class LinkKeys:
    """All link keys: one signs, all verify. None is dropped by itself, since links live as long as files."""

    def __init__(self, keys: tuple[LinkKey, ...]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        self.keys = tuple(sorted(keys, key=lambda key: key.since))

    def replace(self, other: LinkKeys) -> None:
        """Take the keys of the other from now on."""
        self.keys = other.keys

    def capability_path(self, recording: Recording) -> str:
        """Return the path of the recording's stable address: the same for the whole life of the recording."""
        key = self._key_of(recording)
        seal = _signature(key, "capability", recording.id, recording.file_name)
        return f"/files/{recording.id}/{seal}/{quote(recording.file_name, safe='')}"

    def signed_path(
        self, recording: Recording | NamedFile, *, now: datetime, ttl_s: int, ext: str | None = None
    ) -> str:
        """Return path and query of a link that ends ``ttl_s`` after ``now``; ``ext``: of the copy in that format."""
        name = recording.file_name if ext is None else file_name_as(ext, recording)
        expires = str(int(now.timestamp()) + ttl_s)
        signature = _signature(self._key_of(recording), "signed", recording.id, name, expires)
        return f"/files/{recording.id}/{quote(name, safe='')}?expires={expires}&signature={signature}"

    def verify(self, path: str, query: Mapping[str, str]) -> VerifiedLink:
        """Read a link from its percent-decoded path and query; raise Forbidden if it is not one of ours."""
        recording_id, _, rest = path.removeprefix("/files/").partition("/")
        if "signature" in query:
            expires = query.get("expires", "")
            self._check(query["signature"], "signed", recording_id, rest, expires)
            return VerifiedLink(recording_id, _ext(rest), datetime.fromtimestamp(int(expires), UTC))
        seal, _, file_name = rest.partition("/")
        self._check(seal, "capability", recording_id, file_name)
        return VerifiedLink(recording_id, _ext(file_name), None)

    def _key_of(self, recording: Recording | NamedFile) -> LinkKey:
        # rule 2. A recording older than every key is signed with the first.
        older = [key for key in self.keys if key.since <= recording.created_at]
        return older[-1] if older else self.keys[0]

    def _check(self, signature: str, *parts: str) -> None:
        key_id = signature.partition(".")[0]
        key = next((key for key in self.keys if key.id == key_id), None)
        given = signature.encode(errors="surrogatepass")
        if key is None or not hmac.compare_digest(_signature(key, *parts).encode(), given):
            raise Forbidden("the link's signature is wrong: use the link as it was given")


@dataclass(frozen=True, slots=True)
class PublicUrls:
    """Makes the address that a recording is published with: ours, or that of a store which somebody else serves."""

    links: LinkKeys
    public_url: str
    """Start of our own links, without a slash at the end."""
    store_url: str | None = None
    """Start of the addresses in a store that serves the files by object key; None: we serve them."""
    behind: str | None = None
    """The store of ours that is served there; None: somebody else takes care that the files are there."""

    def of(self, recording: Recording) -> str:
        """Return the absolute address of the recording's file: the same for the whole life of the recording."""
        is_elsewhere = self.behind is not None and recording.stored is not None and recording.stored.url != self.behind
        if self.store_url is not None and not is_elsewhere:  # what lies in the backup is not served there
            return f"{self.store_url}/{recording.object_key}"
        return self.public_url + self.links.capability_path(recording)

    def signed(self, document: Mapping[str, Any], ext: str, now: datetime, ttl_s: int) -> str:
        """Return a link to the file of a recording, by its document, that ends ``ttl_s`` after ``now``.

        Where somebody else serves the files it is the stable address, which is theirs to end.
        """
        if self.store_url is not None:
            return str(document["url"])
        created_at = datetime.fromisoformat(document["created_at"])
        named = NamedFile(id=document["id"], file_name=document["file_name"], created_at=created_at)
        return self.public_url + self.links.signed_path(named, now=now, ttl_s=ttl_s, ext=ext)


def load_link_keys(path: Path, now: datetime) -> LinkKeys:
    """Read the keys from the file, made with one key if there is no file; raise OperatorError if it cannot be used."""
    content = read_or_create(path, _encode_keys((_fresh_key(now),)))
    try:
        return LinkKeys(_decode_keys(content))
    except (msgspec.MsgspecError, ValueError) as error:
        raise OperatorError(
            f"{path} is not a list of link keys ({error}): restore it, or remove it, which ends every link made so far"
        ) from error


def derived_link_keys(secret: bytes) -> LinkKeys:
    """Return the key that all have who have this secret: the nodes of a cluster, none of which has the others' file."""
    return LinkKeys(
        (LinkKey(id=hashlib.sha256(secret).hexdigest()[:8], secret=secret, since=datetime(1970, 1, 1, tzinfo=UTC)),)
    )


def rotate_link_keys(path: Path, now: datetime) -> None:
    """Put one new key in the place of all that are in the file, so that no link made so far opens anything.

    Raise OperatorError or DiskFull if the file cannot be written.
    """
    replace_secret(path, _encode_keys((_fresh_key(now),)))


def _fresh_key(now: datetime) -> LinkKey:
    return LinkKey(id=secrets.token_hex(4), secret=secrets.token_bytes(32), since=now)


def file_name_as(ext: str, recording: Recording | NamedFile) -> str:
    """Return the name that a download of the recording has in that format."""
    return f"{recording.file_name.rpartition('.')[0]}.{ext}"


def _signature(key: LinkKey, *parts: str) -> str:
    # rule 1. Each part has its length before it, so no two lists of parts make the same bytes.
    encoded = [part.encode(errors="surrogatepass") for part in parts]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
    # Not ``hmac.digest``: it releases the interpreter's lock, and the loop then waits for it while threads are busy.
    mac = hmac.new(key.secret, message, hashlib.sha256).digest()
    return f"{key.id}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def _ext(file_name: str) -> str:
    return file_name.rpartition(".")[2]
