"""Frames that came in one read are one record: they lie where they would lie one by one, and count as frames."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import T0_US, Leg, Script
from tests.support.records import frames_record
from wavstream.model.audio import TrackClock
from wavstream.model.options import ChannelLayout, RecordingOptions

HZ, FRAME = 8000, 160
MONO = RecordingOptions(channels=ChannelLayout.MONO)


def read(leg: Leg, sound: np.ndarray, *, at_s: float, position: int | None = None) -> None:
    """Have frames of 20 ms come in one read, when the last one has been said."""
    start = leg.position if position is None else position
    payloads = [sound[at : at + FRAME].tobytes() for at in range(0, len(sound), FRAME)]
    at_us = round(at_s * 1e6)
    record = frames_record(*payloads, track=leg.facts.first_track, arrival_us=T0_US + at_us, position=start)
    leg.script.add(at_us, 1, record)
    leg.position = start + len(sound)


def read_in_real_time(leg: Leg, sound: np.ndarray, frames: int, *, from_s: float = 0.0) -> None:
    for at in range(0, len(sound), frames * FRAME):
        part = sound[at : at + frames * FRAME]
        read(leg, part, at_s=from_s + (at + len(part) - FRAME) / HZ)


@pytest.mark.parametrize("frames", [2, 5, 10])
def test_a_leg_that_is_read_seldom_lies_where_it_would_lie_frame_by_frame(frames: int) -> None:
    seldom, often = noise(6, seed=1), noise(6, seed=2)
    script = Script().start()
    read_in_real_time(script.open("a"), seldom, frames, from_s=0.5)
    script.open("b").send(often, at_s=0.5)
    made = folded(script.stop(7))
    assert (made.left[HZ // 2 : HZ // 2 + 6 * HZ] == seldom).all()
    assert (made.right[HZ // 2 : HZ // 2 + 6 * HZ] == often).all()
    assert made.integrity.lost_ms == 0


def test_reads_of_any_number_of_frames_make_the_file_of_single_ones() -> None:
    sound = noise(8)
    one_by_one = folded(Script().start(MONO).open("a").send(sound, at_s=0).script.stop(9))
    script = Script().start(MONO)
    leg = script.open("a")
    ends = np.minimum(np.cumsum([2, 3, 5, 4, 6] * 21), 400)
    for begin, end in pairwise([0, *ends.tolist()]):
        if end > begin + 1:
            read(leg, sound[begin * FRAME : end * FRAME], at_s=(end - 1) * 0.02)
        elif end > begin:
            leg.frame(sound[begin * FRAME : end * FRAME], at_us=begin * 20_000)
    made = folded(script.stop(9))
    assert (made.samples == one_by_one.samples).all()
    assert made.account == one_by_one.account


def test_a_read_that_comes_again_is_so_many_duplicate_frames() -> None:
    sound = noise(4)
    script = Script().start(MONO)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    read_in_real_time(leg, sound, 5)
    read(leg, sound[-5 * FRAME :], at_s=4.0, position=len(sound) - 5 * FRAME)
    made = folded(script.stop(5))
    assert made.integrity.duplicate_frames == 5
    assert (made.left[: 4 * HZ] == sound).all()


@pytest.mark.parametrize("doubled", [[(16, 21)], [(16, 16)], [(30, 35), (41, 41), (90, 93)]])
@pytest.mark.parametrize("frames", [2, 5, 9])
def test_a_frame_that_came_before_within_a_read_is_known_again(frames: int, doubled: list[tuple[int, int]]) -> None:
    sound = noise(4)
    numbers = [*range(200)]
    for number, behind in doubled:
        numbers.insert(numbers.index(behind) + 1, number)
    script = Script().start(MONO)
    script.open(script.facts("a", clock=TrackClock.TIMESTAMPED)).send_numbers(sound, numbers)
    made = folded(script.stop(5).read_together(frames))
    assert (made.integrity.duplicate_frames, made.integrity.clock_restarts) == (len(doubled), 0)
    assert (made.left[: 4 * HZ] == sound).all()


def test_a_read_that_was_overtaken_is_so_many_reordered_frames() -> None:
    sound = noise(4)
    script = Script().start(MONO)
    leg = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED))
    for number in [*range(20), 21, 20, *range(22, 40)]:
        at, at_s = number * 5 * FRAME, (max(number, 21) if number == 20 else number) * 0.1 + 0.08
        read(leg, sound[at : at + 5 * FRAME], at_s=at_s, position=at)
    made = folded(script.stop(5))
    assert made.integrity.reordered_frames == 5
    assert (made.left[: 4 * HZ] == sound).all()


def test_what_an_older_stream_says_too_is_so_many_redundant_frames() -> None:
    sound = noise(4)
    script = Script().start(MONO)
    read_in_real_time(script.open("a"), sound, 5)
    read_in_real_time(script.open("a"), sound, 5)
    made = folded(script.stop(5))
    assert made.integrity.redundant_frames == 200
    assert (made.left[: 4 * HZ] == sound).all()


def read_by_a_loop(leg: Leg, sound: np.ndarray, *, phase_s: float, late_s: Callable[[float], float], mark: int) -> None:
    """Have frames read as a server does: ``mark`` together, or what waits by a visit each 150 ms.

    ``late_s``: by how much the loop comes too late to what is due at a moment.
    """
    came_s = phase_s + np.arange(len(sound) // FRAME) * 0.02
    taken, read_s, visit_s, free_s = 0, 0.0, 0.15, 0.0
    while taken < len(came_s):
        full_s = float(came_s[min(taken + mark, len(came_s)) - 1])
        due_s = min(full_s, visit_s)
        at_s = free_s = max(free_s, due_s + late_s(due_s))
        if due_s == visit_s:
            visit_s += 0.15
        waiting = int(np.searchsorted(came_s, at_s, side="right"))
        is_stale = at_s - read_s >= 0.075
        while waiting > taken and (full_s <= at_s or is_stale):
            end = min(taken + mark, waiting)
            part = sound[taken * FRAME : end * FRAME]
            if end > taken + 1:
                read(leg, part, at_s=at_s)
            else:
                leg.frame(part, at_us=round(at_s * 1e6))
            taken, read_s = end, at_s


LATE = {
    "a little": lambda at_s, rng: rng.uniform(0, 0.012),
    "at the start": lambda at_s, rng: rng.uniform(0.008, 0.03) if at_s < 2.5 else rng.uniform(0, 0.004),
    "much at the start": lambda at_s, rng: rng.uniform(0.1, 0.3) if at_s < 1 else rng.uniform(0, 0.01),
    "but for a moment": lambda at_s, rng: rng.uniform(0, 0.001) if 6 < at_s < 7 else rng.uniform(0.009, 0.018),
    "ever more": lambda at_s, rng: rng.uniform(0.6, 1) * 0.01 * at_s / 12,
    "at the end": lambda at_s, rng: rng.uniform(0.03, 0.08) if at_s > 6.5 else rng.uniform(0, 0.004),
    "in waves": lambda at_s, rng: 0.009 * (1 + np.sin(at_s)) + rng.uniform(0, 0.003),
}


@pytest.mark.parametrize("mark", [5, 15], ids=["woken", "by visits"])
@pytest.mark.parametrize("clock_s", [0.45, 1.8])
@pytest.mark.parametrize("late", LATE)
def test_a_loop_that_is_late_bends_no_track_and_lays_no_silence_into_it(late: str, clock_s: float, mark: int) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sound = noise(12, seed=seed)
        script = Script().start(MONO)
        leg = script.open("a")
        phase_s = rng.uniform(0, 0.02)
        read_by_a_loop(leg, sound, phase_s=phase_s, late_s=lambda at_s: LATE[late](at_s, rng), mark=mark)  # noqa: B023
        made = folded(script.stop(12.4), clock_s=clock_s)
        begin = int(np.flatnonzero(made.left)[0])
        said = made.left[begin : begin + len(sound)]
        assert (said == sound[: len(said)]).all(), seed
        assert len(said) == len(sound), seed
        assert made.integrity.gaps == (), seed
