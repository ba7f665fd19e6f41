"""What is copied of journals while it is written: to another place, which may have it before the disk has.

1. Each batch is put when it is in its file. What the disk refuses is put before that (``put_unwritten``), with the
   number that it is going to have: batches are written in their order, each tried again until it is written, so the
   number is fixed. A full disk keeps nothing from being copied, and who takes over has all of a node that goes or dies.
2. Its segment is only where it would be written now: a sync that fails meanwhile has it written to a later one.
3. Whoever copies may refuse what is unwritten: where it has no room, or something before it has to be read from the
   disk first. It is offered again until it was taken (``Journal.given_below``), and put once more when it is written.
4. A disk that hangs holds up the thread that would put it: of such a one nothing is copied until it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import structlog

from wavstream.errors import DependencyError
from wavstream.journal.journal import Journal

log = structlog.get_logger(__name__)


class Copies(Protocol):
    """Whoever copies. Called in the writer's thread; nothing of it may raise."""

    def put(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> None:
        """Take a batch that is in its file."""

    def put_unwritten(self, journal: Journal, segment: int, number: int, payload: bytes, has_event: bool) -> bool:
        """Take a batch that the disk refuses; return False if there is no room for such ones now."""


def offer_unwritten(journals: Iterable[Journal], copies: Copies | None) -> None:
    """Offer what waits for the disk and was not taken yet, in its order (rule 1). For the writer's thread."""
    if copies is None:
        return
    for journal in journals:
        for segment, number, payload, has_event in _waiting(journal):
            if number >= journal.given_below and (
                journal.is_let_go or not copies.put_unwritten(journal, segment, number, payload, has_event)
            ):
                break


def are_copied(journals: Iterable[Journal]) -> bool:
    """Return whether all of these journals is copied, with what waits for the disk. For the writer's thread."""
    return all(journal.next_number + sum(1 for _ in _waiting(journal)) <= journal.copied_below for journal in journals)


def tell_unwritten(folder: Path, journals: Iterable[Journal], *, waiting_bytes: int, error: OSError | None) -> None:
    """Say that a writer ends before the disk took all; raise DependencyError if something is copied nowhere.

    ``journals``: what waits, as far as that is known: of a disk that hangs it is not, and nothing of it is copied.
    """
    lost_bytes = sum(map(_lost_bytes, journals)) if error is not None else waiting_bytes
    if not lost_bytes:
        log.warning("journals_copied_unwritten", folder=str(folder), bytes=waiting_bytes, error=str(error))
        return
    raise DependencyError(
        f"{waiting_bytes} bytes of journals in {folder} could not be written, and {lost_bytes} bytes of what was "
        "recorded are lost, since nothing else has them: free space on the disk, or repair it, before the next start"
    ) from error


def _lost_bytes(journal: Journal) -> int:
    return sum(len(payload) for _, number, payload, _ in _waiting(journal) if number >= journal.copied_below)


def _waiting(journal: Journal) -> Iterator[tuple[int, int, bytes, bool]]:
    """Yield what waits for the disk: segment, number, payload, whether it holds an event."""
    number, segment, queue = journal.next_number, journal.loop_segment, journal.queue
    for at in range(len(queue)):  # by its place: the loop may append meanwhile
        entry = queue[at]
        if isinstance(entry, tuple):
            segment = max(segment, entry[0])
            yield segment + journal.shift, number, *entry[1:]
            number += 1
