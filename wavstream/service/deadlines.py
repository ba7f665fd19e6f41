"""What the peer of an HTTP connection owes, and for how long. Pure.

1. A head has ``head_timeout_s`` from its first byte, the first head of a connection from the connection on; a body has
   ``body_timeout_s`` from the end of its head. Both are for the whole of it: a byte now and then puts nothing off.
2. What we send has ``write_timeout_s`` until the peer has taken any of it; each byte taken begins it anew. It may read
   as slowly as it likes. While we have nothing to send, as for a listener of a call that is paused, no time is counted.
3. Time counts only while we do our part: not while we do not read, and of two looks that are further apart than
   intended, because the process stood still, only what was intended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """Why a connection was not taken, or was ended; each is a label of a metric."""

    HEAD_TOO_LARGE = "head_too_large"
    HEAD_TIMEOUT = "head_timeout"
    BODY_TIMEOUT = "body_timeout"
    WRITE_TIMEOUT = "write_timeout"
    MALFORMED = "malformed"
    """It does not speak HTTP, or sends too many requests ahead of their answers."""
    GAVE_WAY = "gave_way"
    """It waited longest, and others needed its place."""
    FULL = "full"
    """There was no place, and nobody waited."""
    NO_DESCRIPTOR = "no_descriptor"
    """Those that are left are for journals and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What the peer of an HTTP connection may send, and how long it may take."""

    head_bytes: int = 32_768
    """Of the request line and all headers, and of trailers."""
    head_lines: int = 100
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    write_timeout_s: float = 60.0
    linger_s: float = 2.0
    """In which a refusal can be read; whoever does not read it meanwhile does not want to."""

    @property
    def look_s(self) -> float:
        """Between two looks at a connection: as exactly are the timeouts kept."""
        return min(1.0, self.head_timeout_s / 4, self.body_timeout_s / 4, self.write_timeout_s / 4)


class Owed(Enum):
    """What we wait for."""

    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing"


class PeerDeadlines:
    """How long the peer of one connection has owed what it owes, from looks at a steady interval."""

    __slots__ = ("_limits", "_looked_s", "_owed_s", "_taken_bytes", "_unread_s", "is_stalled", "owed")

    def __init__(self, limits: HttpLimits, now: float) -> None:
        self._limits = limits
        self._looked_s = now
        self._owed_s = 0.0
        self._unread_s = 0.0
        self._taken_bytes = 0
        self.owed = Owed.HEAD
        self.is_stalled = False
        """Whether the peer has taken nothing of what waits since the look before the last."""

    def expect(self, owed: Owed) -> None:
        """Begin to wait for something else; the wait for a head goes on with its first byte (rule 1)."""
        if owed is not self.owed:
            self.owed = owed
            self._owed_s = 0.0

    def look(self, now: float, *, reading: bool, unsent_bytes: int, taken_bytes: int) -> Refusal | None:
        """Return why the connection ends, or None.

        ``reading``: whether what the peer owes would be seen. ``unsent_bytes`` wait for the peer, which has taken
        ``taken_bytes`` since the connection began.
        """
        passed_s = min(now - self._looked_s, 2 * self._limits.look_s)  # rule 3
        self._looked_s = now
        if self.owed is not Owed.NOTHING and reading:
            self._owed_s += passed_s
        self.is_stalled = unsent_bytes > 0 and taken_bytes == self._taken_bytes
        self._unread_s = self._unread_s + passed_s if self.is_stalled else 0.0  # rule 2
        self._taken_bytes = taken_bytes
        if self._unread_s >= self._limits.write_timeout_s:
            return Refusal.WRITE_TIMEOUT
        if self.owed is Owed.HEAD and self._owed_s >= self._limits.head_timeout_s:
            return Refusal.HEAD_TIMEOUT
        if self.owed is Owed.BODY and self._owed_s >= self._limits.body_timeout_s:
            return Refusal.BODY_TIMEOUT
        return None
