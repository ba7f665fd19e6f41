"""Conditional and range requests (RFC 9110, sections 13 and 14): pure.

A finished file never changes, so its entity tag is strong and its date is exact. A ``Range`` header that is malformed,
in another unit or asks for several ranges at once is ignored, as the RFC allows: the answer is the whole file. One
range that lies outside the file cannot be satisfied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum


class Verdict(Enum):
    """What the conditions of a request allow."""

    SEND = "send"
    NOT_MODIFIED = "not_modified"
    """304: the caller has it."""
    PRECONDITION_FAILED = "precondition_failed"
    """412: the caller means another file."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one content of an address from another."""

    etag: str
    """Strong, with its quotes."""
    modified_at: datetime
    """Aware, UTC, whole seconds."""

    @property
    def last_modified(self) -> str:
        """The value of the ``Last-Modified`` header."""
        return format_datetime(self.modified_at, usegmt=True)

    def judge(self, headers: Mapping[str, str]) -> Verdict:
        """Return the verdict on the conditions in ``headers`` of a GET or HEAD, in the order of section 13.2.2."""
        if (tags := headers.get("if-match")) is not None:
            if not self._is_among(tags, weakly=False):
                return Verdict.PRECONDITION_FAILED
        elif (moment := _moment(headers.get("if-unmodified-since"))) and self.modified_at > moment:
            return Verdict.PRECONDITION_FAILED
        if (tags := headers.get("if-none-match")) is not None:
            return Verdict.NOT_MODIFIED if self._is_among(tags, weakly=True) else Verdict.SEND
        if (moment := _moment(headers.get("if-modified-since"))) and self.modified_at <= moment:
            return Verdict.NOT_MODIFIED
        return Verdict.SEND

    def allow_range(self, if_range: str | None) -> bool:
        """Return whether a ``Range`` header counts beside this ``If-Range``; else the whole file is the answer."""
        if if_range is None:
            return True
        if '"' in if_range:
            return if_range.strip() == self.etag
        return _moment(if_range) == self.modified_at

    def _is_among(self, tags: str, *, weakly: bool) -> bool:
        if tags.strip() == "*":
            return True
        wanted = [tag.strip() for tag in tags.split(",")]
        return self.etag in ([tag.removeprefix("W/") for tag in wanted] if weakly else wanted)


def _moment(http_date: str | None) -> datetime | None:
    """Return the date; None if there is none or it is not one: such a header is ignored."""
    if http_date is None:
        return None
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):  # the latter where a number in it is longer than any date's
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_ONE_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.IGNORECASE | re.ASCII)


class Unsatisfiable(Exception):
    """The range has no byte of the file: answer 416 with the file's size."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A stretch of a file that is not empty, unless the file is."""

    start: int
    """Offset of its first byte."""
    length_bytes: int

    def content_range(self, size_bytes: int) -> str:
        """Return the value of the ``Content-Range`` header."""
        return f"bytes {self.start}-{self.start + self.length_bytes - 1}/{size_bytes}"


def byte_range(header: str | None, *, size_bytes: int) -> ByteRange | None:
    """Return the range that a ``Range`` header asks for, cut to the file; None: the whole file. Raise Unsatisfiable."""
    match = _ONE_RANGE.fullmatch(header) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(_number(suffix, size_bytes), size_bytes)
        if length == 0:
            raise Unsatisfiable
        return ByteRange(size_bytes - length, length)
    start = _number(first, size_bytes)
    end = _number(last, size_bytes) if last else size_bytes - 1
    if last and _is_less(last, first):
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    return ByteRange(start, min(end, size_bytes - 1) - start + 1)


def _number(digits: str, size_bytes: int) -> int:
    """Return the number, or the file's size where it is longer than any file: int() refuses thousands of digits."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else size_bytes


def _is_less(one: str, other: str) -> bool:
    one, other = one.lstrip("0"), other.lstrip("0")
    return (len(one), one) < (len(other), other)
