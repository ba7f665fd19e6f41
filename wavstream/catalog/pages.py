"""Pages of a list, and the cursor between two of them.

A cursor is the place of the last row handed out, as text that goes into a URL. The place is a time and an id, so rows
that are added meanwhile neither repeat nor skip one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import RowMapping

from wavstream.errors import FieldError, InvalidFields

T = TypeVar("T")

_PLACE = re.compile(r"(\d{1,18}):([0-9A-Za-z_-]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    data: tuple[T, ...]
    """In the order of the list."""
    next_cursor: str | None
    """Hand it back to read on; None: this was the last page."""


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[T]):
    """One page of a list whose pages have numbers."""

    data: tuple[T, ...]
    total: int
    """How many there are on all pages."""


def make_page(
    rows: Sequence[RowMapping],
    limit: int,
    *,
    time: str,
    make: Callable[[RowMapping], T],
    looked_to: tuple[int, str] | None = None,
) -> Page[T]:
    """Return the page of up to ``limit`` of these rows, of which one more was asked for; ``time`` is their column.

    ``looked_to``: the place as far as which there are no others, where that is not the end of the list.
    """
    shown = rows[:limit]
    go_on = (shown[-1][time], shown[-1]["id"]) if len(rows) > limit else looked_to
    return Page(
        data=tuple(make(row) for row in shown),
        next_cursor=None if go_on is None else _write_cursor(*go_on),
    )


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return the row's time and id; raise InvalidFields for text that is not a cursor of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise not_ours()
    return int(match[1]), match[2]


def not_ours() -> InvalidFields:
    """Return what is said of text that is no cursor of the list."""
    return InvalidFields((FieldError("cursor", "not a cursor of this list: use next_cursor of the page before"),))


def _write_cursor(time_us: int, row_id: Any) -> str:
    return base64.urlsafe_b64encode(f"{time_us}:{row_id}".encode()).decode().rstrip("=")
