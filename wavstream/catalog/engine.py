"""What ``Database`` asks of a database, whichever it is: SQLite in a file (``sqlite_engine``) or PostgreSQL
(``postgres_engine``). Each says itself what its failures mean and how its transactions begin and end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from wavstream.errors import DependencyError

MAX_CONCURRENT_READS = 4
"""Connections, and threads: a read that waits for the disk does not hold up the others."""

T = TypeVar("T")
Read = Callable[[Connection], T]
"""Runs on a thread; each of its statements sees what was committed before it."""
Write = Callable[[Connection], T]
"""Runs inside a transaction, on the thread; may be run twice, the first time then having been rolled back."""


class Engine(Protocol):
    """One open database. Its methods block, for threads; those of a coroutine or a property do not."""

    @property
    def turns_of(self) -> str | None:
        """Who tells apps of what is in the outbox, where several machines may take turns; None: nobody else does."""

    @property
    def damage(self) -> str | None:
        """What is wrong with it, for a person who has to mend it; None: nothing that is known of."""

    def read(self, read: Read[T], asked_s: float) -> T:
        """Return what ``read`` returns, which was asked for then (monotonic); raise what it raises, or DependencyError.

        On any thread.
        """

    def transact(self, run: Callable[[Connection], T]) -> T:
        """Return what ``run`` returns, once it is committed; on the thread that writes. Raise what it raises."""

    def refused(self, asked_s: float) -> DependencyError | None:
        """Return what to raise for what was asked for before a wait ran out, and stood behind it; None: nothing."""

    def concerns_all(self, error: Exception) -> bool:
        """Return whether an error of one write is the machine's, so that the others of its group fail with it."""

    def explain(self, error: Exception) -> Exception:
        """Return what to raise where a write ended with this error."""

    def look(self) -> None:
        """Raise CatalogDamaged if it is not the one that was opened, or OSError."""

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is left, as far as that is ours to do."""

    def close_writing(self) -> None:
        """Close the connection that writes, on its thread."""

    def end_scrubbing(self) -> None:
        """End what scrubs: nothing more is asked for."""

    def close(self) -> None:
        """Close what is left; nothing runs any more."""


class Waits:
    """When a wait for somebody else (a lock, a server) ran out last. For all threads."""

    def __init__(self) -> None:
        self._ended_s = -math.inf
        """By the monotonic clock."""

    def ran_out(self) -> None:
        """Note that one ran out now."""
        self._ended_s = time.monotonic()

    def stood_behind(self, asked_s: float) -> bool:
        """Return whether what was asked for then stood behind one that ran out."""
        return asked_s < self._ended_s
