"""The clock of the core."""

from __future__ import annotations

from wavstream.clock import UnixClock


def test_the_clock_goes_on_behind_a_journal_that_was_written_by_a_clock_ahead_of_it() -> None:
    clock = UnixClock()
    ahead_us = clock.now_us() + 3_600_000_000

    clock.not_before(ahead_us)

    assert clock.now_us() >= ahead_us


def test_a_journal_of_the_past_does_not_move_the_clock() -> None:
    clock = UnixClock()
    before_us = clock.now_us()

    clock.not_before(before_us - 3_600_000_000)

    assert before_us <= clock.now_us() < before_us + 3_600_000_000
