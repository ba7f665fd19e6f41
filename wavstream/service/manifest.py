"""What a backup says of itself, in ``backup.json``: by that a restore finds what was damaged, or lacked from the start.

The files of recordings are not in it: their rows have the hashes. A backup of an earlier version has none, and is read
as one that knows nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from wavstream import __version__
from wavstream.errors import OperatorError

MANIFEST = "backup.json"
FORM = 1
"""Of what a backup is made of; a later one is another."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup as it was made."""

    form: int
    made_by: str
    """Which version of wavstream."""
    made_at: datetime
    """Aware, UTC."""
    hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256, hex, of the catalog and the keys, by their names in the backup."""
    lacking: tuple[str, ...] = ()
    """Recordings that were available and had no file, so that it lacks in the backup too."""
    has_objects: bool = False
    """Whether the files of recordings that were uploaded are in it."""


def make_manifest(
    backup: Path, names: Iterable[str], *, lacking: tuple[str, ...], has_objects: bool, made_at: datetime
) -> bytes:
    """Return what to write of a backup; ``names`` are those of its files that are hashed. Blocks; raise OSError."""
    manifest = Manifest(
        form=FORM,
        made_by=__version__,
        made_at=made_at,
        hashes={name: digest_of(backup / name) for name in names},
        lacking=lacking,
        has_objects=has_objects,
    )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(backup: Path) -> Manifest | None:
    """Return what the backup says of itself; None: nothing, as it is of an earlier version. Raise OperatorError."""
    path = backup / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise OperatorError(f"{path} cannot be read ({error}): the backup is damaged, so take another one") from error
    if manifest.form > FORM:
        raise OperatorError(f"{backup} was made by wavstream {manifest.made_by}: restore it with that version")
    return manifest


def check_hashes(backup: Path, manifest: Manifest) -> None:
    """Raise OperatorError if the catalog or a key is not as it was when the backup was made. Blocks."""
    for name, expected in manifest.hashes.items():
        try:
            found = digest_of(backup / name)
        except OSError as error:
            raise OperatorError(
                f"{backup / name} cannot be read ({error.strerror}): the backup is damaged, so take another one"
            ) from error
        if found != expected:
            raise OperatorError(
                f"{backup / name} is not as it was when the backup was made: it is damaged, so take another backup"
            )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, hex. Blocks; raise OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
