"""Byte ranges of a file (RFC 9110, section 14): pure.

A ``Range`` header that is malformed, in another unit or asks for several ranges at once is ignored, as the RFC allows:
the answer is the whole file. One range that lies outside the file cannot be satisfied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
