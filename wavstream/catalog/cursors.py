"""The cursor of a list: the place of the last row handed out, as text that goes into a URL.

The place is a time and an id, so rows that are added meanwhile neither repeat nor skip one.
"""

from __future__ import annotations

import base64
import binascii
import re

from wavstream.errors import FieldError, InvalidFields

_PLACE = re.compile(r"(\d{1,18}):([0-9A-Za-z_-]{1,64})", re.ASCII)


def write_cursor(place_us: int, row_id: str) -> str:
    """The cursor behind a row."""
    return base64.urlsafe_b64encode(f"{place_us}:{row_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[int, str]:
    """The row's time and id; raises InvalidFields for text that is not a cursor of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise InvalidFields((FieldError("cursor", "not a cursor of this list: use next_cursor of the page before"),))
    return int(match[1]), match[2]
