"""Where the link keys are kept between two runs: ``link-keys.json``, in the data folder."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from wavstream.errors import OperatorError
from wavstream.storage.links import LinkKey, LinkKeys
from wavstream.storage.secret_file import read_or_create, replace

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[LinkKey, ...]).decode


def load_link_keys(path: Path, now: datetime) -> LinkKeys:
    """The ring in the file, made with one key if there is no file; raises OperatorError if it cannot be used."""
    content = read_or_create(path, _encode((_fresh_key(now),)))
    try:
        return LinkKeys(_decode(content))
    except (msgspec.MsgspecError, ValueError) as error:
        raise OperatorError(
            f"{path} is not a ring of link keys ({error}): restore it, or remove it, which ends every link made so far"
        ) from error


def rotate_link_keys(path: Path, now: datetime) -> LinkKeys:
    """Add a key that signs for recordings created from ``now`` on; links of before stay good.

    A server that runs goes on with the ring that it loaded, and so must be restarted.
    """
    ring = LinkKeys((*load_link_keys(path, now).keys, _fresh_key(now)))
    replace(path, _encode(ring.keys))
    return ring


def _fresh_key(now: datetime) -> LinkKey:
    return LinkKey(id=secrets.token_hex(4), secret=secrets.token_bytes(32), since=now)
