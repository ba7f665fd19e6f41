"""Which segments go when a recording releases its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wavstream.journal.journal import Journal
from wavstream.recorder.journal_leases import JournalLeases


class Deletions:
    """A writer that writes down what it is told to delete, and says later that it has."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int | None]] = []
        self.tell: list[Callable[[], None]] = []

    def delete_before(self, journal: Journal, segment: int, *, then: Callable[[], None]) -> None:
        self.done.append((journal.key, segment))
        self.tell.append(then)

    def delete(self, journal: Journal, *, is_damaged: bool, then: Callable[[], None]) -> None:
        self.done.append((f"{journal.key}, damaged" if is_damaged else journal.key, None))
        self.tell.append(then)


def leases() -> tuple[JournalLeases, Deletions, Journal]:
    writer = Deletions()
    journals = JournalLeases(writer, asyncio.get_running_loop())  # type: ignore[arg-type]
    return journals, writer, Journal(key="k", app_id="default", session_id="call-77")


async def test_segments_go_up_to_the_first_that_is_needed_and_the_journal_with_the_last_user() -> None:
    journals, writer, journal = leases()
    for recording_id, segment in (("a", 1), ("b", 3), ("c", 2)):
        journals.acquire(recording_id, journal, first_segment=segment)

    for recording_id in "abc":
        journals.release(recording_id)

    assert writer.done == [("k", 2), ("k", 2), ("k", None)]
    assert journals.holders("k") == []
    waiting = journals.until_released("c")
    assert not waiting.done()  # the writer has not said that it has come so far
    for tell in writer.tell:
        tell()
    await waiting
    assert journals.until_released("c").done()


async def test_a_failed_recording_keeps_its_part_until_it_is_released() -> None:
    journals, writer, journal = leases()
    journals.acquire("bad", journal, first_segment=2)
    journals.acquire("good", journal, first_segment=1)

    journals.retain("bad", for_s=None)
    journals.release("good")
    until_then = list(writer.done)
    journals.release_failed("bad")

    assert until_then == [("k", 2)]
    assert writer.done == [("k", 2), ("k", None)]


async def test_a_failed_recording_is_released_when_its_time_is_over() -> None:
    journals, writer, journal = leases()
    journals.acquire("bad", journal, first_segment=1)
    journals.retain("bad", for_s=0.0)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, over.set)

    await over.wait()

    assert (writer.done, journals.retained) == ([("k", None)], 0)


async def test_nothing_is_deleted_after_a_stop() -> None:
    journals, writer, journal = leases()
    journals.acquire("bad", journal, first_segment=1)
    journals.retain("bad", for_s=0.0)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, over.set)

    journals.stop()
    await over.wait()

    assert writer.done == []


async def test_a_damaged_journal_is_kept_whole_until_the_last_recording_and_then_set_aside() -> None:
    journals, writer, journal = leases()
    journals.acquire("early", journal, first_segment=1)
    journals.acquire("late", journal, first_segment=2)
    journals.note_damage("k")
    journals.note_damage("of another")

    journals.release("early")
    journals.release("late")

    assert writer.done == [("k, damaged", None)]
