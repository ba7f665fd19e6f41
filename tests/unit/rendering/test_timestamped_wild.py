"""Impossible timestamps: no audio is lost to them, no gap of an hour comes of them, and what follows is in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.support.folding import Folded, folded, noise
from tests.support.journal_script import Script
from wavstream.model.audio import Track, TrackClock

HOUR = 3600 * 8000
TEN_HOURS = 10 * HOUR


def in_real_time(number: int) -> float:
    """When a frame arrives: each 25th is 60 ms late, and those behind it are not before it."""
    return max(number * 0.02, number // 25 * 25 * 0.02 + 0.06)


def stamped(stamps: Callable[[int], int], *, arrivals_s: Callable[[int], float] = in_real_time) -> Folded:
    """Return a leg that sends 10 s; ``stamps``: the timestamp of each frame, by its number."""
    script, sound = Script().start(), noise(10.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    for number in range(500):
        leg.position = TEN_HOURS + stamps(number)
        leg.frame(sound[number * 160 : (number + 1) * 160], at_us=round(arrivals_s(number) * 1e6))
    return folded(script.stop(arrivals_s(499) + 0.02))


@pytest.mark.parametrize(
    ("name", "stamps", "restarts"),
    [
        ("starts again at 0", lambda n: n * 160 if n < 250 else (n - 250) * 160 - TEN_HOURS, 1),
        ("runs ahead by an hour", lambda n: n * 160 + HOUR * (n >= 250), 1),
        ("falls back by half a second", lambda n: n * 160 - 4000 * (n >= 250), 1),
        ("a stray", lambda n: n * 160 + HOUR * (n == 250), 1),
        ("the first is a stray", lambda n: n * 160 + HOUR * (n == 0), 1),
        ("the second is a stray, before the anchor is known", lambda n: n * 160 + HOUR * (n == 1), 1),
        ("a stray each second", lambda n: n * 160 - HOUR * (n % 50 == 25) * (n // 50), 9),
        ("to and fro", lambda n: n * 160 + HOUR * (n % 2), 1),
        ("between two clocks now and then", lambda n: n * 160 + HOUR * (n // 50 % 2), 1),
    ],
)  # fmt: skip
def test_timestamps_that(name: str, stamps: Callable[[int], int], restarts: int) -> None:
    made = stamped(stamps)
    assert made.left.shape == (80000,)
    assert (made.left == noise(10.0)).all()
    told = made.integrity
    assert (told.lost_ms, told.late_ms, told.duplicate_frames, told.gaps) == (0, 0, 0, ())
    assert told.clock_restarts == restarts


def test_timestamps_that_only_ever_run_backwards_lose_nothing() -> None:
    made = stamped(lambda number: -number * 160)
    assert np.count_nonzero(made.left) == 80000
    assert made.left.shape[0] < 10.3 * 8000
    assert made.integrity.lost_ms == 0


@pytest.mark.parametrize(
    ("name", "stamps", "longer_ms"),
    [
        ("count samples as milliseconds", lambda n: n * 160 * 8, 2000),
        ("jump by a second with each frame", lambda n: n * 8000, 2000),
        ("jump by a second and a half with each frame", lambda n: n * 12000, 2000),
        ("jump by an hour with each frame", lambda n: n * HOUR, 0),
        ("run by half too fast", lambda n: n * 240, 2300),
        ("run at half the speed", lambda n: n * 80, 0),
        ("count frames as milliseconds", lambda n: n * 8, 0),
        ("count whole seconds", lambda n: n // 50 * 8000, 0),
        ("stand still", lambda _: 0, 0),
    ],
)  # fmt: skip
def test_a_clock_that_counts_something_else_is_given_up_with_timestamps_that(
    name: str, stamps: Callable[[int], int], longer_ms: int
) -> None:
    made = stamped(stamps)
    assert (made.left[made.left != 0] == noise(10.0)).all()
    assert made.left.shape[0] <= 80000 + 8 * longer_ms
    told = made.integrity
    assert (told.clock_restarts, told.late_ms, told.duplicate_frames) == (5, 0, 0)
    assert told.lost_ms <= longer_ms


def test_a_clock_that_is_given_up_is_believed_again_once_it_is_steady() -> None:
    script, sound = Script().start(), noise(20.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    numbers = [number for number in range(1000) if number not in (540, 800)]
    leg.send_numbers(sound, numbers, stamps=lambda at: at if at < 250 * 160 or at >= 500 * 160 else 0)
    made = folded(script.stop(20.0))
    assert (made.left[800 * 160 : 999 * 160] == sound[801 * 160 :]).all()
    assert not made.left[799 * 160 : 800 * 160].any()
    assert [gap.length_ms for gap in made.integrity.gaps] == [20]


def test_where_a_clock_is_given_up_audio_lies_where_it_arrives_and_bursts_do_not_add_up() -> None:
    burst = np.arange(500) // 10 * 0.2
    burst[100:] += 3.0
    made = stamped(lambda _: 0, arrivals_s=lambda number: float(burst[number]))
    every = np.lib.stride_tricks.sliding_window_view(made.left, 8)
    frames = [noise(10.0)[number * 160 :][:8] for number in (10, 99, 100, 499)]
    at_s = [int(np.flatnonzero((every == frame).all(axis=1))[0]) / 8000 for frame in frames]
    assert at_s == pytest.approx([0.2, 1.98, 5.0, 12.98], abs=0.2)


def test_the_silence_where_a_clock_is_given_up_is_not_taken_for_doubled_frames() -> None:
    script, sound = Script().start(), noise(10.0)
    sound[160 * 50 : 160 * 200] = 0
    script.open(script.facts("a", clock=TrackClock.TIMESTAMPED)).send_numbers(sound, range(500), stamps=lambda _: 0)
    made = folded(script.stop(10.0))
    assert (made.left == sound).all()
    assert made.integrity.duplicate_frames == 0


@pytest.mark.parametrize(("ppm", "longer_s", "restarts"), [(1500, 1.8, False), (10_000, 2 + 2.4, True)])
def test_a_clock_that_drifts_against_its_audio_is_believed_and_one_that_runs_away_is_not(
    ppm: int, longer_s: float, restarts: bool
) -> None:
    script, sound = Script().start(), noise(1200.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    for number in range(6_000):
        leg.position = number * 1600 * (1_000_000 + ppm) // 1_000_000
        leg.frame(sound[number * 1600 : (number + 1) * 1600], at_us=number * 200_000)
    made = folded(script.stop(1210.0))
    end = int(np.flatnonzero(made.left)[-1]) + 1
    assert end / 8000 == pytest.approx(1200 + longer_s, abs=0.1)
    assert (made.integrity.clock_restarts > 0) is restarts


@pytest.mark.parametrize(("silence_s", "restarts"), [(3, 0), (40, 1)])
def test_a_burst_has_the_silences_of_its_call_up_to_half_a_minute(silence_s: int, restarts: int) -> None:
    made = stamped(lambda n: n * 160 + silence_s * 8000 * (n >= 450), arrivals_s=lambda n: 0.0001 * n)
    assert (made.left[:72000] == noise(10.0)[:72000]).all()
    again = 72000 + (0 if restarts else silence_s * 8000)
    assert (made.left[again : again + 8000] == noise(10.0)[72000:]).all()
    assert made.integrity.clock_restarts == restarts


def test_a_file_sent_at_once_may_lack_a_quarter_but_a_minute_at_most() -> None:
    script, sound = Script().start(), noise(600.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    for number in range(600):
        leg.position = number * 9600
        leg.frame(sound[number * 8000 : (number + 1) * 8000], at_us=number * 1000)
    made = folded(script.stop(700.0))
    assert made.integrity.lost_ms == pytest.approx(62_000, abs=300)
    assert made.fold.remarks == ["leg a, inbound: timestamps run faster than the call; its audio goes on by arrival"]
    assert (made.left[9600 * 290 : 9600 * 290 + 8000] == sound[8000 * 290 : 8000 * 291]).all()


def test_a_loss_after_a_restart_is_seen() -> None:
    script, sound = Script().start(), noise(10.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    numbers = [number for number in range(500) if number != 300]
    leg.send_numbers(sound, numbers, stamps=lambda at: at + HOUR if at < 250 * 160 else at - 250 * 160)
    made = folded(script.stop(10.0))
    sound[300 * 160 : 301 * 160] = 0
    assert (made.left == sound).all()
    assert (made.integrity.lost_ms, made.integrity.clock_restarts) == (20, 1)


def test_a_clock_that_starts_again_after_an_outage_goes_on_where_it_arrived() -> None:
    made = stamped(
        lambda number: number * 160 if number < 250 else (number - 250) * 160 - TEN_HOURS,
        arrivals_s=lambda number: number * 0.02 + 30.0 * (number >= 250),
    )
    assert (made.left[: 5 * 8000] == noise(10.0)[: 5 * 8000]).all()
    assert (made.left[35 * 8000 :] == noise(10.0)[5 * 8000 :]).all()
    assert [(gap.start_ms, gap.length_ms) for gap in made.integrity.gaps] == [(5000, 30000)]


@pytest.mark.parametrize("later", [70, 200])
def test_a_frame_that_turns_up_seconds_later_moves_what_follows_by_its_length_at_most(later: int) -> None:
    script, sound = Script().start(), noise(10.0)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    numbers = [*range(500)]
    numbers.insert(200 + later, numbers.pop(200))
    leg.send_numbers(sound, numbers)
    made = folded(script.stop(10.0))
    at = (201 + later) * 160
    assert (made.left[201 * 160 : at] == sound[201 * 160 : at]).all()
    assert (made.left[at + 160 : 80160] == sound[at:]).all()


def test_the_log_is_told_once_a_stream() -> None:
    script = Script().start()
    facts = script.facts("a", clock=TrackClock.TIMESTAMPED, tracks=(Track.INBOUND, Track.OUTBOUND))
    leg = script.open(facts)
    for track in (0, 1):
        leg.send_numbers(noise(4.0), range(200), track=track, stamps=lambda at: at + HOUR * (at // 16000) ** 2)
    made = folded(script.stop(4.0))
    (remark,) = made.fold.remarks
    assert remark == "leg a, inbound: timestamps jumped ahead by 3600.0 s; its audio goes on by arrival"


def test_timestamps_at_the_ends_of_what_a_record_holds_do_no_harm() -> None:
    ends = np.array([0, 2**45, 0, 2**45])
    made = stamped(lambda number: number * 160 - TEN_HOURS + int(ends[number // 130]))
    assert (made.left == noise(10.0)).all()
