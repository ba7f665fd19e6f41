"""Where samples belong: joins, stalls, gaps, suppressed silence, drift, reconnects."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import Leg, Script
from tests.support.listening import beeps, find_beeps
from wavstream.journal import events
from wavstream.model.audio import Track, TrackClock
from wavstream.model.recording import Gap
from wavstream.rendering.fold import Fold
from wavstream.rendering.timeline.render_stats import MAX_GAPS, RenderStats


def stalled(leg: Leg, samples: np.ndarray[tuple[int], np.dtype[np.int16]], *, from_s: float, for_s: float) -> None:
    """Send in real time from 0 on, but what is due in the stall comes in a burst at its end."""
    due_s = np.arange(len(samples) // 160) * 0.02
    leg.send(samples, at_s=0, arrivals_s=np.where((due_s >= from_s) & (due_s < from_s + for_s), from_s + for_s, due_s))


def test_a_leg_that_joins_late_is_heard_when_it_joined() -> None:
    script = Script().start()
    script.open("a").send(noise(5.0), at_s=0.0)
    script.open("b", at_s=1.7).send(beeps(3.3, rate_hz=8000, frequency_hz=600), at_s=1.71)
    made = folded(script.stop(5.0))
    assert find_beeps(made.right, 8000, 600)[0] == pytest.approx(1.7, abs=0.02)
    assert made.samples.shape[0] == pytest.approx(40000, abs=160)


def test_legs_of_different_ptime_are_aligned() -> None:
    script = Script().start()
    sound = beeps(6.0, rate_hz=8000, frequency_hz=600)
    script.open("a").send(sound, at_s=0.02, ptime_ms=20)
    script.open("b").send(sound, at_s=0.2, ptime_ms=200)
    made = folded(script.stop(6.2))
    assert find_beeps(made.right, 8000, 600) == pytest.approx(find_beeps(made.left, 8000, 600), abs=0.005)


@pytest.mark.parametrize("stall_s", [0.3, 1.5, 2.5, 5.0, 8.0, 20.0])
def test_a_stall_and_then_a_burst_adds_nothing_and_moves_nothing(stall_s: float) -> None:
    script = Script().start()
    a, b = noise(30.0), noise(30.0, seed=2)
    script.open("a").send(a, at_s=0.0)
    stalled(script.open("b"), b, from_s=4.1, for_s=stall_s)
    made = folded(script.stop(30.0))
    assert made.samples.shape == (240000, 2)
    assert (made.left == a).all()
    assert (made.right == b).all()
    assert made.integrity.gaps == ()
    assert made.integrity.late_frames == 0


def test_a_stall_in_the_first_2_s_moves_nothing_either() -> None:
    script = Script().start()
    stalled(script.open("a"), noise(8.0), from_s=0.5, for_s=1.5)
    made = folded(script.stop(8.0))
    assert (made.left == noise(8.0)).all()


def test_a_burst_after_the_hold_keeps_its_place_and_what_is_written_by_then_is_late() -> None:
    script = Script().start()
    a, b = noise(45.0), noise(45.0, seed=2)
    script.open("a").send(a, at_s=0.0)
    stalled(script.open("b"), b, from_s=8.0, for_s=32.0)
    made = folded(script.stop(45.0))
    assert (made.left == a).all()
    assert made.integrity.late_ms == 2000
    assert made.integrity.late_frames == 100
    assert not made.right[64000:80000].any()
    assert (made.right[80000:] == b[80000:]).all()


def test_a_sender_that_said_nothing_for_a_while_leaves_a_gap() -> None:
    script = Script().start()
    leg, sound = script.open("a"), noise(10.0)
    leg.send(sound[:32000], at_s=0.0)
    leg.send(sound[32000:], at_s=5.48)
    made = folded(script.stop(11.48))
    (gap,) = made.integrity.gaps
    assert (gap.leg, gap.start_ms, gap.length_ms, gap.cause) == ("a", 4000, 1480, "stall")
    assert (made.left[:32000] == sound[:32000]).all()
    assert not made.left[32000:43840].any()
    assert (made.left[43840:] == sound[32000:]).all()
    assert made.integrity.late_ms == 0


def test_two_gaps_in_a_row_are_both_found() -> None:
    script = Script().start()
    leg, sound = script.open("a"), noise(10.0)
    leg.send(sound[:32000], at_s=0.0)
    leg.send(sound[32000:34400], at_s=5.0)
    leg.send(sound[34400:], at_s=6.0)
    made = folded(script.stop(11.7))
    assert [(gap.start_ms, gap.length_ms) for gap in made.integrity.gaps] == [(4000, 1000), (5300, 700)]
    assert (made.left[40000:42400] == sound[32000:34400]).all()
    assert (made.left[48000:] == sound[34400:]).all()


def test_what_is_behind_at_the_stop_is_in_the_file() -> None:
    script = Script().start()
    leg, sound = script.open("a"), noise(5.0)
    leg.send(sound[:32000], at_s=0.0)
    leg.send(sound[32000:], at_s=5.0)
    made = folded(script.stop(5.5))
    behind = sound[32000 : 32000 + 26 * 160]
    assert (made.left[40000:] == behind).all()
    assert [gap.length_ms for gap in made.integrity.gaps] == [1000]


def test_frames_that_were_never_journaled_are_lost_and_leave_their_silence() -> None:
    script = Script().start()
    leg, sound = script.open("a"), noise(6.0)
    leg.send(sound[:16000], at_s=0.0).skip(1600).send(sound[17600:], at_s=2.2)
    made = folded(script.stop(6.0))
    assert made.integrity.lost_ms == 200
    assert (made.left[:16000] == sound[:16000]).all()
    assert not made.left[16000:17600].any()
    assert (made.left[17600:] == sound[17600:]).all()


def test_suppressed_silence_is_silence_in_the_file() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", clock=TrackClock.ARRIVAL))
    sound = noise(4.0)
    leg.send(sound[:16000], at_s=0.0).send(sound[16000:], at_s=5.0)
    made = folded(script.stop(7.0))
    assert made.account.samples == 56000
    assert (made.left[:16000] == sound[:16000]).all()
    assert not made.left[16000:40000].any()
    assert (made.left[40000:] == sound[16000:]).all()
    assert made.integrity.gaps == ()


def test_many_spurts_are_each_where_they_arrived_and_hold_nobody_up() -> None:
    script = Script().start()
    script.open("a").send(noise(30.0), at_s=0.0)
    leg = script.open(script.facts("b", clock=TrackClock.ARRIVAL))
    spurts = [0.5 + 1.237 * number for number in range(20)]
    for at_s in spurts:
        leg.send(beeps(0.1, rate_hz=8000, frequency_hz=600), at_s=at_s)
    made = folded(script.stop(30.0))
    assert find_beeps(made.right, 8000, 600) == pytest.approx(spurts, abs=0.005)
    assert made.integrity.late_frames == 0


def test_early_frames_of_a_spurt_follow_it() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", clock=TrackClock.ARRIVAL))
    leg.send(noise(2.0), at_s=3.0, speed=4.0)
    made = folded(script.stop(6.0))
    assert (made.left[24000:40000] == noise(2.0)).all()


@pytest.mark.parametrize(("ptime_ms", "speed"), [(20, 10.0), (2000, 1000.0)])
def test_a_sender_faster_than_real_time_is_contiguous_to_the_bit(ptime_ms: int, speed: float) -> None:
    script = Script().start()
    sound = noise(400.0)
    script.open("a").send(sound, at_s=0.01, ptime_ms=ptime_ms, speed=speed)
    fold = Fold("rec-1")
    items = script.stop(45.0).items()
    audio = np.frombuffer(fold.feed(items), "<i2").reshape(-1, 2)
    # It starts where its first frame arrived.
    begin = 80
    assert len(audio) == begin + 400 * 8000
    assert (audio[begin:, 0] == sound).all()
    integrity = fold.account().integrity
    assert (integrity.gaps, integrity.late_ms, integrity.drift_ppm) == ((), 0, {"a": 0})


def test_a_fast_sender_is_written_before_the_clock_gets_there() -> None:
    script = Script().start()
    script.open("a").send(noise(100.0), at_s=0.0, speed=10.0)
    fold = Fold("rec-1")
    assert len(fold.feed(script.items())) > 97 * 8000 * 4


def test_a_backlog_at_the_join_was_said_before_it() -> None:
    script = Script().start()
    leg, sound = script.open("a", at_s=1.0), noise(5.0)
    leg.frame(sound[:8000], at_us=1_000_000).send(sound[8000:], at_s=1.02)
    made = folded(script.stop(6.0))
    assert (made.left[160:40160] == sound).all()


@pytest.mark.parametrize(("ppm", "length_s"), [(200, 3600), (-200, 1200)])
def test_a_leg_whose_clock_drifts_stays_with_the_other(ppm: int, length_s: int) -> None:
    """By itself it would be 720 ms away at the end of the hour; 20 minutes are 20 times what drift is measured over."""
    script = Script().start()
    spacing = 60
    for leg, fast in (("a", 0.0), ("b", ppm / 1e6)):
        clicks = np.zeros(round(length_s * 8000 * (1 + fast)), np.int16)
        for second in range(spacing, length_s, spacing):
            at = round(second * 8000 * (1 + fast))
            clicks[at : at + 8] = 8000
        script.open(leg).send(clicks, at_s=0.2, ptime_ms=200, speed=1 + fast)
    made = folded(script.stop(length_s + 0.2))
    left, right = (np.flatnonzero(channel > 4000) for channel in (made.left, made.right))
    left, right = (edges[np.diff(edges, prepend=-100) > 50] for edges in (left, right))
    assert len(left) == len(right) == length_s // spacing - 1
    assert np.abs(left - right).max() < 160
    drift = made.integrity.drift_ppm
    assert drift["a"] == 0
    assert drift["b"] == pytest.approx(ppm, abs=2)


def test_a_stream_that_was_lost_and_comes_back_is_the_same_leg() -> None:
    script = Script().start()
    script.open("a").send(noise(10.0), at_s=0.0)
    script.open("b").send(noise(3.0, seed=2), at_s=0.0).close(3.0, clean=False)
    script.open("b", at_s=6.0).send(noise(4.0, seed=3), at_s=6.0)
    made = folded(script.stop(10.0))
    assert (made.right[:24000] == noise(3.0, seed=2)).all()
    assert not made.right[24000:48000].any()
    assert (made.right[48000:] == noise(4.0, seed=3)).all()
    assert [(leg.leg, leg.joined_ms, leg.left_ms) for leg in made.account.legs] == [("a", 0, 10000), ("b", 0, 10000)]
    (gap,) = made.integrity.gaps
    assert (gap.leg, gap.start_ms, gap.length_ms, gap.cause) == ("b", 3000, 3000, "reconnect")


def test_a_session_without_any_stream_for_a_while_goes_on_where_the_time_is() -> None:
    script = Script().start()
    script.open("a").send(noise(3.0), at_s=0.0).close(3.0, clean=False)
    script.open("a", at_s=28.0).send(noise(4.0, seed=3), at_s=28.0)
    made = folded(script.stop(32.0))
    assert made.account.samples == 32 * 8000
    assert (made.left[28 * 8000 :] == noise(4.0, seed=3)).all()


def test_a_restart_of_the_server_loses_every_stream() -> None:
    script = Script().start()
    for leg in ("a", "b"):
        script.open(leg).send(noise(3.0), at_s=0.0)
    script.event(5.0, events.ServerStarted())
    script.open("a", at_s=6.0).send(noise(2.0, seed=3), at_s=6.0)
    made = folded(script.stop(8.0))
    assert made.account.samples == 64000
    assert (made.left[48000:] == noise(2.0, seed=3)).all()
    assert [(leg.leg, leg.left_ms) for leg in made.account.legs] == [("a", 8000), ("b", 3000)]
    assert [(gap.leg, gap.cause) for gap in made.integrity.gaps] == [("a", "reconnect")]


def test_a_take_over_is_in_the_receipt_with_what_is_missing_of_each_leg_that_came_back() -> None:
    script = Script().start()
    for leg in ("a", "b"):
        script.open(leg).send(noise(3.0), at_s=0.0)
    taken = events.TakenOver(from_node="one", to_node="two", epoch=2, behind_us=2_000_000)
    script.event(5.0, taken)
    script.event(5.0, events.ServerStarted())
    script.open("a", at_s=6.0).send(noise(2.0, seed=3), at_s=6.0)
    made = folded(script.stop(8.0))
    (told,) = made.integrity.take_overs
    assert (told.from_node, told.to_node, told.at_ms, told.replicated_through_ms) == ("one", "two", 5000, 3000)
    assert told.missing_ms == {"a": 3000}


def test_a_track_that_never_sends_holds_the_others_up_for_the_hold_only() -> None:
    script = Script().start()
    script.open("a").send(noise(40.0), at_s=0.0)
    script.open("b")
    fold = Fold("rec-1")
    audio = fold.feed(script.items())
    assert len(audio) // 4 / 8000 == pytest.approx(10.0, abs=0.5)


def test_gaps_beyond_the_first_thousand_are_only_counted() -> None:
    stats = RenderStats()
    for number in range(MAX_GAPS + 2):
        stats.add_gap(Gap("a", Track.INBOUND, number, 1, "stall"))
    assert (len(stats.gaps), stats.gaps_omitted) == (MAX_GAPS, 2)
