from __future__ import annotations

from tests.unit.journal.support import KEY
from wavstream.journal.journal import Journal


def make_journal(*, segment_bytes: int = 1000) -> Journal:
    return Journal(key=KEY, app_id="default", session_id="call-77", segment_bytes=segment_bytes)


def test_a_flush_cuts_one_batch_of_what_was_appended_and_the_append_method_stays_good() -> None:
    journal = make_journal()
    append = journal.append

    append(b"head")
    append(b"payload")
    assert journal.flush()
    append(b"more")
    assert journal.flush()

    assert list(journal.queue) == [(1, b"headpayload", False), (1, b"more", False)]
    assert journal.unsubmitted_bytes == 15


def test_a_flush_of_nothing_queues_nothing() -> None:
    journal = make_journal()
    assert not journal.flush()
    assert not journal.queue


def test_a_flush_of_nothing_still_tells_of_what_a_rotation_left_to_submit() -> None:
    journal = make_journal()
    journal.append(b"last words")
    journal.rotate()
    assert journal.flush()


def test_a_segment_ends_with_the_batch_that_fills_it() -> None:
    journal = make_journal(segment_bytes=10)
    for payload in (b"12345", b"67890", b"abc"):
        journal.append(payload)
        journal.flush()
    assert list(journal.queue) == [(1, b"12345", False), (1, b"67890", False), (2, b"abc", False)]


def test_a_rotation_keeps_what_was_appended_before_it_in_the_old_segment() -> None:
    journal = make_journal()
    journal.append(b"before")
    assert journal.rotate() == journal.segment == 2
    journal.append(b"after")
    journal.flush()
    assert list(journal.queue) == [(1, b"before", False), (2, b"after", False)]


def test_a_rotation_of_an_empty_segment_leaves_no_gap_in_the_numbers() -> None:
    journal = make_journal()
    assert journal.rotate() == 1
    journal.append(b"x")
    assert journal.rotate() == 2
    assert journal.rotate() == 2


def test_the_batch_of_an_event_says_so_and_the_next_one_does_not() -> None:
    journal = make_journal()
    journal.append(b"audio")
    journal.append_event(b"event")
    journal.flush()
    journal.append(b"audio")
    journal.flush()
    assert list(journal.queue) == [(1, b"audioevent", True), (1, b"audio", False)]
