"""When tries follow each other, as data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from wavstream.webhooks.gateway import VOCABULARY

START = datetime(2026, 11, 1, 10, tzinfo=UTC)


def all_tries(trying: timedelta = timedelta()) -> list[float]:
    """Seconds since the fact at which each try begins, if each takes ``trying`` and all fail."""
    tries: list[float] = []
    now: datetime | None = START
    while now is not None:
        tries.append((now - START).total_seconds())
        now = VOCABULARY.retries.next_at(len(tries), begun_at=START, now=now + trying)
    return tries


def test_tries_follow_after_1_5_30_120_and_600_s_and_then_every_600_s_for_a_day() -> None:
    tries = all_tries()

    assert tries[:8] == [0, 1, 6, 36, 156, 756, 1356, 1956]
    assert {later - earlier for earlier, later in pairwise(tries[5:])} == {600}
    assert 86_400 - 600 < tries[-1] <= 86_400


def test_a_delay_is_counted_from_the_end_of_a_try() -> None:
    assert all_tries(timedelta(seconds=5))[:3] == [0, 6, 16]


def test_a_fact_that_is_told_a_day_late_is_tried_once() -> None:
    assert VOCABULARY.retries.next_at(1, begun_at=START, now=START + timedelta(hours=24)) is None


def test_the_last_moment_of_the_day_is_still_used() -> None:
    now = START + timedelta(hours=24, seconds=-1)

    assert VOCABULARY.retries.next_at(1, begun_at=START, now=now) == START + timedelta(hours=24)
