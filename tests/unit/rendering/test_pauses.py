"""Pauses, exact to the sample."""

from __future__ import annotations

from wavstream.model.options import PauseBehavior
from wavstream.rendering.pauses import Pauses

SKIP, SILENCE = PauseBehavior.SKIP, PauseBehavior.SILENCE


def parts(pauses: Pauses, *ends: int) -> list[tuple[int, bool]]:
    return [(end, behavior is not None) for end, behavior in behaviors(pauses, *ends)]


def behaviors(pauses: Pauses, *ends: int) -> list[tuple[int, PauseBehavior | None]]:
    found, at = [], 0
    for end in ends:
        found += list(pauses.split(at, end, 8000))
        at = end
    return found


def test_a_call_without_pauses_is_one_part() -> None:
    assert parts(Pauses(), 4000, 8000) == [(4000, False), (8000, False)]


def test_a_pause_cuts_the_call_at_its_samples() -> None:
    pauses = Pauses()
    pauses.begin(100_000, SKIP)
    pauses.end(250_125)
    assert parts(pauses, 4000) == [(800, False), (2001, True), (4000, False)]


def test_a_pause_that_lasts_takes_all_that_follows() -> None:
    pauses = Pauses()
    pauses.begin(100_000, SKIP)
    assert parts(pauses, 400, 1600, 4000) == [(400, False), (800, False), (1600, True), (4000, True)]


def test_several_pauses_are_taken_in_turn_however_the_call_is_cut() -> None:
    pauses = Pauses()
    for begin_us, end_us in ((100_000, 200_000), (200_000, 250_000), (300_000, 400_000)):
        pauses.begin(begin_us, SKIP)
        pauses.end(end_us)
    assert parts(pauses, 4000) == [
        (800, False), (1600, True), (2000, True), (2400, False), (3200, True), (4000, False)
    ]  # fmt: skip
    again = Pauses()
    for begin_us, end_us in pauses.spans:
        again.begin(begin_us, SKIP)
        again.end(end_us)
    assert [end for end, paused in parts(again, 1000, 2000, 3200, 4000) if paused] == [1000, 1600, 2000, 3200]


def test_a_pause_without_length_never_was() -> None:
    pauses = Pauses()
    pauses.begin(5, SKIP)
    pauses.end(5)
    assert pauses.spans == []
    assert pauses.since_us is None


def test_each_pause_leaves_in_the_file_what_it_was_begun_with() -> None:
    pauses = Pauses()
    pauses.begin(100_000, SILENCE)
    pauses.end(100_000)
    pauses.begin(100_000, SKIP)
    pauses.end(200_000)
    pauses.begin(300_000, SILENCE)
    assert behaviors(pauses, 4000) == [(800, None), (1600, SKIP), (2400, None), (4000, SILENCE)]
