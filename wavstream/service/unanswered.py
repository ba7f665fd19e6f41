"""What was read of a connection and is not answered: another worker reads it again when the connection goes there.

1. It begins at the head of the oldest request that has no answer. Of a connection between two requests nothing is kept.
2. The parser does not tell where a request ends. Nearly always that is where a read ends; where it is not, because the
   peer sends requests ahead of their answers, a second parser is given the bytes one by one, until it has told as often
   as was answered that a request is whole.
3. Of a request that was answered before it was whole, the rest is of no use, and may be large. Where it ends in a read
   that has the next one in it too, that next one cannot be read elsewhere.
"""

from __future__ import annotations

import re

import httptools

_TRIM_BYTES = 16_384
"""Beyond which what was answered is not kept beside what is not; a request without a body has less."""
_EXPECT = re.compile(rb"^expect:[^\n]*\n", re.IGNORECASE | re.MULTILINE)


class Unanswered:
    """The bytes of one connection."""

    __slots__ = ("_answered", "_begun", "_bytes", "_max_bytes", "_whole")

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes``: of a request, and what a read may have behind it; no more is kept."""
        self._max_bytes = max_bytes
        self._bytes: bytearray | None = bytearray()
        """None: it is not known where the oldest request begins (rule 3), or it is too large."""
        self._begun = self._whole = self._answered = 0
        """Requests in these bytes."""

    def add(self, data: bytes) -> None:
        """Keep what was read, before the parser gets it."""
        if self._answered == self._begun:
            is_between = self._whole == self._begun
            self._bytes = bytearray(data) if is_between else None
            if is_between:
                self._begun = self._whole = self._answered = 0
        elif self._bytes is not None:
            self._bytes += data
            if self._answered and len(self._bytes) > _TRIM_BYTES:
                self._trim()
        if self._bytes is not None and len(self._bytes) > self._max_bytes:
            self._bytes = None

    def begin(self) -> None:
        """Note that a request began."""
        self._begun += 1

    def complete(self) -> None:
        """Note that one is whole."""
        self._whole += 1

    def answer(self) -> None:
        """Note that the oldest one is answered."""
        self._answered += 1

    def read(self, *, without_expect: bool) -> bytes | None:
        """Return the bytes, from the head of the oldest request without an answer on; None: they are not there.

        ``without_expect``: that one was told to go on already (``100-continue``), which some clients take only once.
        """
        if self._answered:
            self._trim()
        if self._bytes is None:
            return None
        head, end, rest = bytes(self._bytes).partition(b"\r\n\r\n")
        return (_EXPECT.sub(b"", head + end, 1) if without_expect else head + end) + rest

    def _trim(self) -> None:
        """Drop what was answered (rule 2)."""
        if self._bytes is None or self._answered > self._whole:
            self._bytes = None
            return
        requests = _Requests()
        parser = httptools.HttpRequestParser(requests)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        view, at = memoryview(bytes(self._bytes)), 0
        while requests.whole < self._answered:
            parser.feed_data(view[at : at + 1])
            at += 1
        del self._bytes[:at]
        self._begun -= self._answered
        self._whole -= self._answered
        self._answered = 0


class _Requests:
    """Counts what a parser tells of."""

    def __init__(self) -> None:
        self.whole = 0

    def on_message_complete(self) -> None:
        self.whole += 1
