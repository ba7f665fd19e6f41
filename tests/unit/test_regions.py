"""What is marked on a file, and where."""

from __future__ import annotations

from wavstream.model.audio import Track
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import Gap, Integrity, Pause, Trimmed
from wavstream.model.regions import Region, regions_of

SKIP, SILENCE = PauseBehavior.SKIP, PauseBehavior.SILENCE


def marked(integrity: Integrity, *, duration_ms: int = 60_000, behavior: PauseBehavior = SKIP) -> list[Region]:
    return regions_of(integrity, (), duration_ms=duration_ms, pause_behavior=behavior)


def places(regions: list[Region]) -> list[tuple[str, float | None, float | None, float]]:
    return [(each.kind, each.start_s, each.end_s, each.length_s) for each in regions]


def gap(start_ms: int, length_ms: int) -> Gap:
    return Gap("b", Track.INBOUND, start_ms, length_ms, "stall")


def test_a_gap_behind_a_pause_that_left_nothing_lies_that_much_earlier() -> None:
    integrity = Integrity(gaps=(gap(20_000, 500),), pauses=(Pause(5_000, 10_000, SKIP),))
    assert places(marked(integrity)) == [("pause", 5.0, 5.0, 10.0), ("gap", 10.0, 10.5, 0.5)]


def test_a_pause_that_left_silence_takes_nothing_away() -> None:
    integrity = Integrity(gaps=(gap(20_000, 500),), pauses=(Pause(5_000, 10_000, SILENCE),))
    assert places(marked(integrity)) == [("pause", 5.0, 15.0, 10.0), ("gap", 20.0, 20.5, 0.5)]


def test_a_pause_of_an_earlier_version_did_what_its_recording_says() -> None:
    integrity = Integrity(pauses=(Pause(5_000, 10_000),))
    assert places(marked(integrity, behavior=SILENCE)) == [("pause", 5.0, 15.0, 10.0)]


def test_what_was_trimmed_moves_all_and_nothing_lies_outside_of_the_file() -> None:
    integrity = Integrity(gaps=(gap(1_000, 500), gap(4_000, 99_000)), trimmed_ms=Trimmed(3_000, 2_000))
    assert places(marked(integrity)) == [
        ("gap", 0.0, 0.0, 0.5),
        ("trimmed", 0.0, 0.0, 3.0),
        ("gap", 1.0, 60.0, 99.0),
        ("trimmed", 60.0, 60.0, 2.0),
    ]


def test_what_has_no_place_is_told_without_one() -> None:
    told = marked(Integrity(late_ms=40, lost_ms=500, after_limit_ms=1_500))
    assert places(told) == [("late", None, None, 0.04), ("lost", None, None, 0.5), ("limit", None, None, 1.5)]
    assert all(each.text.endswith(".") for each in told)
