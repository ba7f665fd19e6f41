"""What the nodes of a cluster keep outside of themselves: a log of subjects, and a table of entries with revisions.

1. A write to a subject says which sequence was the last one there. If another has written meanwhile it is refused
   (``WrongSequence``): so a node that was taken for dead finds out with its next write, and nothing of it counts.
2. An entry of the table is made if there is none, and changed if nobody has changed it since (``EntryChanged``). What
   was answered holds on a majority of the engine's servers.
3. Where an answer does not come, or nobody is there (``EngineAway``), it is not known whether the write counts. Whoever
   wrote reads what is there before it writes again, or writes the same again: word for word the same message, behind
   the same sequence or revision, by the same process, within a minute. The engine knows that, and answers as if it were
   the first: nothing is there twice.

Two engines: NATS JetStream (``jetstream``), and the one of the simulation (``bench/cluster``), which breaks on purpose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

from wavstream.errors import DependencyError

ANSWER_S = 0.3
"""How long a write waits for its answer where a leg waits for it; then it is asked what is there (rule 3). JetStream of
three servers answers within 16 ms, and a request of which nothing comes is given up after 2 s only."""


class EngineAway(DependencyError):
    """The engine does not answer, or has no majority: it is not known whether a write counts (rule 3)."""

    is_known = True
    public_text = "What the nodes of the server share cannot be reached: whoever runs it has to look at NATS; try again"


class WrongSequence(Exception):
    """Another has written to the subject since (rule 1). Nothing was written."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"another node has written to {subject}")
        self.subject = subject


class EntryChanged(Exception):
    """Another has made, changed or deleted the entry since (rule 2). Nothing was changed."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another node has changed {key}")
        self.key = key


class Logged(NamedTuple):
    """One message of a subject."""

    sequence: int
    """From 1, ascending in its subject, with gaps: other subjects count by the same numbers."""
    payload: bytes


class Entry(NamedTuple):
    """One entry of the table, as it was when it was read."""

    key: str
    value: bytes
    revision: int
    """From 1; 0: there is none (``value`` is empty)."""


class Log(Protocol):
    """Subjects with messages, each kept for some minutes. Names have letters, digits, ``-``, ``_`` and dots."""

    async def publish(self, subject: str, payload: bytes, *, after: int | None) -> int:
        """Write a message behind sequence ``after`` of the subject (0: it is the first); return its own sequence.

        ``after`` None: behind whatever is there. A subject that was idle for so long that the engine has forgotten its
        last message (``last`` is 0) refuses what is to come behind that. Raise WrongSequence, EngineAway.
        """
        ...

    async def last(self, subject: str) -> int:
        """Return the sequence of the last message that was written to the subject; 0: none. Raise EngineAway."""
        ...

    async def newest(self, subject: str) -> Logged:
        """Return the last message that was written to the subject; sequence 0: there is none. Raise EngineAway."""
        ...

    def read(self, subject: str, *, after: int = 0) -> AsyncIterator[Logged]:
        """Yield what the subject has behind a sequence, oldest first, to its last message at the call.

        Raise EngineAway.
        """
        ...

    @property
    def max_payload_bytes(self) -> int:
        """The longest message that it takes."""
        ...


class Table(Protocol):
    """Entries by key, whose changes every node sees in the same order."""

    async def get(self, key: str) -> Entry:
        """Return the entry; revision 0: there is none. Raise EngineAway."""
        ...

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """Make the entry (``after`` 0), or change it if it has that revision still; return the new revision.

        Raise EntryChanged, EngineAway.
        """
        ...

    async def delete(self, key: str, *, after: int) -> None:
        """Delete the entry if it has that revision still. Raise EntryChanged, EngineAway."""
        ...

    async def watch(self, prefix: str, on_change: Callable[[Entry], None]) -> None:
        """Call ``on_change`` on the loop with all entries of which the key begins so, and with each change, for ever.

        One that is deleted comes with revision 0. Returns when those that are there were told; goes on by itself
        over losses of the connection, after which what is there is told again. What is told is never older than what
        this table has answered to its own ``put`` or ``delete``. Raise EngineAway if it cannot begin.
        """
        ...
