"""Legs whose vendor gives media time: loss, doubles, order, delays, and timestamps that are rounded or jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import Folded, folded, noise
from tests.support.journal_script import Leg, Script
from wavstream.journal.events import StreamSnapshot
from wavstream.model.audio import Track, TrackClock
from wavstream.rendering.fold import Fold

T0_US = 1_800_000_000_000_000
EPOCH_SAMPLES = 1_790_000_000 * 8000


def a_leg(script: Script, *, rate_hz: int = 8000, at_s: float = 0.0) -> Leg:
    return script.open(script.facts("a", clock=TrackClock.TIMESTAMPED, rate_hz=rate_hz), at_s=at_s)


def sent(numbers: list[int], sound: NDArray[np.int16]) -> Folded:
    """Return a file of these frames of the sound, one each 20 ms."""
    script = Script().start()
    a_leg(script).send_numbers(sound, numbers)
    return folded(script.stop(len(numbers) * 0.02))


@pytest.mark.parametrize("first", range(190, 240, 3))
def test_frames_lost_doubled_and_swapped_come_out_in_place(first: int) -> None:
    sound = noise(10.0)
    numbers = [*range(500)]
    numbers.insert(first + 4, numbers.pop(first + 5))
    numbers.insert(first + 9, numbers.pop(first))
    numbers.insert(first + 28, first + 20)
    numbers.remove(first + 40)
    made = sent(numbers, sound)
    expected = sound.copy()
    expected[(first + 40) * 160 :][:160] = 0
    assert (made.left == expected).all()
    told = made.integrity
    assert (told.duplicate_frames, told.reordered_frames, told.lost_ms, told.late_ms) == (1, 2, 20, 0)
    (gap,) = told.gaps
    assert (gap.leg, gap.track, gap.start_ms) == ("a", Track.INBOUND, (first + 40) * 20)
    assert (gap.length_ms, gap.cause) == (20, "loss")


def test_a_double_that_comes_alone_is_dropped() -> None:
    script = Script().start()
    a_leg(script).send_numbers(noise(4.0), range(200)).send_numbers(noise(4.0), [199], at_s=4.3)
    made = folded(script.stop(5.5, end_s=4.0))
    assert (made.left == noise(4.0)).all()
    assert made.integrity.duplicate_frames == 1


def test_a_frame_that_was_overtaken_after_a_delivery_gap_comes_out_in_place() -> None:
    script = Script().start()
    due_s = np.arange(500) * 0.02
    late_s = np.where(due_s < 4.0, due_s, np.where(due_s < 8.0, due_s + 0.95, np.maximum(due_s, 8.95)))
    late_s[200] = 5.05
    a_leg(script).send(noise(10.0), at_s=0.0, arrivals_s=late_s)
    made = folded(script.stop(11.0, end_s=10.0))
    assert (made.left == noise(10.0)).all()
    assert (made.integrity.reordered_frames, made.integrity.gaps) == (1, ())


def test_a_clock_that_drifts_is_believed() -> None:
    script = Script().start()
    a_leg(script).send(noise(120.0), at_s=0.2, ptime_ms=200, speed=1 + 2e-4)
    made = folded(script.stop(121.0))
    at = int(np.flatnonzero(made.left)[0])
    assert (made.left[at : at + 960000] == noise(120.0)).all()
    assert made.integrity.drift_ppm == {"a": pytest.approx(200, abs=2)}


def test_the_first_frames_may_be_swapped_too() -> None:
    made = sent([1, 0, *range(2, 200)], noise(4.0))
    assert (made.left == noise(4.0)).all()
    assert (made.integrity.reordered_frames, made.integrity.lost_ms) == (1, 0)


def test_a_frame_that_was_overtaken_for_longer_than_the_window_is_late() -> None:
    numbers = [*range(500)]
    numbers.insert(425, numbers.pop(380))
    made = sent(numbers, noise(10.0))
    assert not made.left[380 * 160 : 381 * 160].any()
    assert (made.left[381 * 160 :] == noise(10.0)[381 * 160 :]).all()
    told = made.integrity
    assert (told.late_frames, told.late_ms, told.reordered_frames, told.lost_ms) == (1, 20, 0, 20)


@pytest.mark.parametrize("until_s", [4.0, 10.0])
def test_a_delivery_gap_is_no_loss_and_moves_nothing(until_s: float) -> None:
    script = Script().start()
    due_s = np.arange(750) * 0.02
    late_s = np.where(due_s < until_s, due_s + 3.0, np.maximum(due_s, until_s + 3.0))
    a_leg(script).send(noise(15.0), at_s=0.0, arrivals_s=np.where(due_s < 4.0, due_s, late_s))
    made = folded(script.stop(18.0))
    assert (made.left[: 15 * 8000] == noise(15.0)).all()
    assert (made.integrity.gaps, made.integrity.late_ms, made.integrity.lost_ms) == ((), 0, 0)


def test_timestamps_that_do_not_count_a_mute_leave_a_gap_of_its_length() -> None:
    script = Script().start()
    due_s = np.arange(750) * 0.02
    a_leg(script).send(noise(15.0), at_s=0.0, arrivals_s=np.where(due_s < 4.0, due_s, due_s + 3.0))
    made = folded(script.stop(18.0))
    assert (made.left[:32000] == noise(15.0)[:32000]).all()
    assert not made.left[32000:56000].any()
    assert (made.left[56000:] == noise(15.0)[32000:]).all()
    assert [(gap.start_ms, gap.length_ms, gap.cause) for gap in made.integrity.gaps] == [(4000, 3000, "stall")]
    assert (made.integrity.late_ms, made.integrity.lost_ms) == (0, 0)


def test_a_time_in_which_nothing_was_sent_and_that_the_timestamps_count_is_silence_and_no_loss() -> None:
    script = Script().start()
    leg = a_leg(script).send(noise(4.0), at_s=0.0).skip(30 * 8000)
    leg.send(noise(4.0, seed=2), at_s=34.0)
    made = folded(script.stop(38.0))
    assert (made.left[34 * 8000 :] == noise(4.0, seed=2)).all()
    assert [(gap.start_ms, gap.length_ms, gap.cause) for gap in made.integrity.gaps] == [(4000, 30000, "silence")]
    assert (made.integrity.clock_restarts, made.integrity.lost_ms) == (0, 0)


def test_of_a_backlog_that_was_cut_what_is_left_is_in_place() -> None:
    script = Script().start()
    sound, leg = noise(20.0), a_leg(script)
    leg.send(sound[:32000], at_s=0.0)
    leg.send(sound[32000:40000], at_s=14.0, speed=1e9).skip(5 * 8000)
    leg.send(sound[80000:112000], at_s=14.0, speed=1e9).send(sound[112000:], at_s=14.02)
    made = folded(script.stop(20.1))
    # Of what came after 10 s the stall wait has only 3 s left.
    assert (made.left[11 * 8000 : 160000] == sound[11 * 8000 :]).all()
    assert (made.integrity.lost_ms, made.integrity.clock_restarts) == (5000, 0)
    assert [gap.length_ms for gap in made.integrity.gaps] == [5000]


def test_a_sender_faster_than_real_time_may_lose_frames_and_is_in_place() -> None:
    script = Script().start()
    sound = noise(100.0)
    a_leg(script).send(sound[:400000], at_s=0.0, speed=10.0).skip(12000).send(sound[412000:], at_s=5.15, speed=10.0)
    made = folded(script.stop(10.2))
    sound[400000:412000] = 0
    assert (made.left[:800000] == sound).all()
    assert (made.integrity.lost_ms, made.integrity.clock_restarts) == (1500, 0)


def test_the_clock_of_a_sender_may_count_from_1970() -> None:
    script = Script().start()
    a_leg(script).send_numbers(noise(4.0), [*range(100), *range(101, 200)], stamps=lambda at: EPOCH_SAMPLES + at)
    made = folded(script.stop(4.0))
    assert (made.left[101 * 160 : 32000] == noise(4.0)[101 * 160 :]).all()
    assert (made.integrity.lost_ms, made.integrity.clock_restarts) == (20, 0)


def test_timestamps_in_whole_milliseconds_chop_nothing() -> None:
    script = Script().start()
    sound, leg = noise(20.0, rate_hz=11025), a_leg(script, rate_hz=11025)
    for number, at in enumerate(range(0, len(sound), 256)):
        leg.position = int(at / 11.025) * 11025 // 1000
        leg.frame(sound[at : at + 256], at_us=round(number * 256e6 / 11025))
    made = folded(script.stop(20.0))
    assert (made.left[: len(sound)] == sound).all()
    assert (made.integrity.lost_ms, made.integrity.gaps) == (0, ())


def test_timestamps_that_jitter_chop_nothing_and_two_frames_of_one_timestamp_are_not_doubles() -> None:
    jitter = np.random.default_rng(3).integers(-9 * 8, 10 * 8, 1000)
    jitter[500], jitter[700] = -240, -160
    script = Script().start()
    sound = noise(20.0)
    a_leg(script).send_numbers(sound, range(1000), stamps=lambda at: 8000 + at + int(jitter[at // 160]))
    made = folded(script.stop(20.0))
    assert (made.left == sound).all()
    told = made.integrity
    assert (told.lost_ms, told.duplicate_frames, told.reordered_frames, told.clock_restarts) == (0, 0, 0, 0)


def test_errors_of_timestamps_do_not_add_up() -> None:
    script = Script().start()
    leg, sound = a_leg(script), noise(19.98)
    for number, at in enumerate(range(0, len(sound), 480)):
        leg.position = at * 101 // 100
        leg.frame(sound[at : at + 480], at_us=40_000 + number * 60_600)
    made = folded(script.stop(20.2))
    (at,) = np.flatnonzero(made.left == sound[-1])[-1:]
    assert at == pytest.approx((len(sound) - 480) * 1.01 + 480, abs=80)
    lengths = {gap.length_ms for gap in made.integrity.gaps}
    assert lengths == {10}
    assert len(made.integrity.gaps) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("ptime_ms", [10, 60])
def test_a_loss_and_a_double_are_seen_in_frames_of_any_length(ptime_ms: int) -> None:
    script = Script().start()
    frame = 8 * ptime_ms
    leg, sound = a_leg(script), noise(6.0)
    for number in (*range(50), 49, *range(51, 100)):
        leg.position = number * frame
        leg.frame(sound[number * frame : (number + 1) * frame], at_us=number * ptime_ms * 1000)
    made = folded(script.stop(6.0))
    end, after = 100 * frame, 80 if ptime_ms == 10 else 0
    assert (made.left[51 * frame + after : end + after] == sound[51 * frame : end]).all()
    assert (made.integrity.lost_ms, made.integrity.duplicate_frames) == (ptime_ms, 1)


def test_two_tracks_of_one_socket_each_have_their_own_media_time() -> None:
    script = Script().start()
    facts = script.facts("a", clock=TrackClock.TIMESTAMPED, tracks=(Track.INBOUND, Track.OUTBOUND))
    leg = script.open(facts)
    leg.send_numbers(noise(4.0), range(200), stamps=lambda at: at + 9_000_000)
    leg.send_numbers(noise(4.0, seed=2), [*range(100), *range(102, 200)], track=1)
    made = folded(script.stop(4.0))
    assert (made.left == noise(4.0)).all()
    assert (made.right[:16000] == noise(4.0, seed=2)[:16000]).all()
    assert (made.right[102 * 160 :] == noise(4.0, seed=2)[102 * 160 :]).all()
    assert [(gap.track, gap.length_ms) for gap in made.integrity.gaps] == [(Track.OUTBOUND, 40)]


def from_the_middle(*, floor_s: float, position_s: float, arrivals_s: NDArray[np.floating[Any]]) -> Folded:
    """Return a recording that starts 600 s into a stream; ``floor_s``: its smallest lag, from the start on."""
    script = Script()
    facts = script.facts("a", clock=TrackClock.TIMESTAMPED)
    snapshot = StreamSnapshot(
        facts=facts,
        joined_us=T0_US - 600_000_000,
        position=round(position_s * 8000),
        floor_us=T0_US + round(floor_s * 1e6),
    )
    script.start(streams=(snapshot,))
    Leg(script, facts, 600 * 8000).send(noise(6.0), at_s=0, arrivals_s=arrivals_s)
    return folded(script.stop(6.0))


def test_a_recording_that_starts_in_a_stall_knows_what_was_said_when() -> None:
    due_s = np.arange(300) * 0.02
    made = from_the_middle(floor_s=-600.0, position_s=600.0, arrivals_s=np.maximum(due_s, 2.9))
    assert (made.left == noise(6.0)).all()


@pytest.mark.parametrize("floor_s", [-4200.0, -1200.0])
def test_what_wild_timestamps_before_the_recording_left_behind_moves_nothing(floor_s: float) -> None:
    made = from_the_middle(floor_s=floor_s, position_s=4200.0, arrivals_s=np.arange(300) * 0.02)
    assert (made.left == noise(6.0)).all()
    assert made.integrity.clock_restarts == 0


def test_a_hole_holds_the_file_up_for_no_longer_than_the_window() -> None:
    script = Script().start()
    a_leg(script).send_numbers(noise(10.0), [*range(300), *range(301, 500)])
    fold = Fold("rec-1")
    audio = fold.feed(script.items())
    assert len(audio) // 4 / 8000 > 8.9 - 2
