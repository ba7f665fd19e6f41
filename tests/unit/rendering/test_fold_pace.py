"""How soon the file grows, and that nothing odd holds it up or cuts into what is being said."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import Script
from wavstream.model.audio import Track, TrackClock
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.fold import Fold

BOTH = (Track.INBOUND, Track.OUTBOUND)
RATE_16K = RecordingOptions(sample_rate=16000, pause_behavior=PauseBehavior.SILENCE)


def written_s(script: Script) -> float:
    """How much of a call that has not ended is in its file."""
    fold = Fold(script.recording_id)
    fold.feed(script.items())
    return fold.account().samples / fold.account().sample_rate


def test_a_resampled_leg_is_one_unbroken_stretch() -> None:
    script = Script().start(RecordingOptions(sample_rate=16000))
    script.open("a").send(noise(6.0), at_s=0.0)
    made = folded(script.stop(6.0))
    resampler = Resampler(8000, 16000)
    whole = np.concatenate((resampler.feed(noise(6.0)), resampler.finish()))
    assert np.abs(made.left.astype(int) - whole).max() <= 1


def test_what_is_withheld_from_a_resampled_leg_holds_nothing_up() -> None:
    script = Script().start(RATE_16K)
    script.open("a").send(noise(8.0), at_s=0.0).withhold(13600, at_s=8.0)
    script.pause(8.0)
    assert written_s(script) == pytest.approx(10 - 2, abs=0.1)


def test_what_is_redundant_of_a_resampled_leg_holds_nothing_up() -> None:
    script = Script().start(RATE_16K)
    both = np.stack((noise(9.7), noise(9.7)), axis=1)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b", at_s=4.0).send(noise(5.7), at_s=4.0)
    assert written_s(script) == pytest.approx(10 - 2, abs=0.1)


def test_what_a_leg_hears_is_waited_for_too_whoever_says_it() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", tracks=BOTH))
    leg.send(noise(40.0), at_s=0.0, track=0)
    leg.position = 0
    leg.send(noise(5.0), at_s=0.0, track=1)
    script.open("b", at_s=1.0).send(noise(39.0), at_s=1.0)
    assert written_s(script) == pytest.approx(10.0, abs=0.6)


def test_long_frames_of_suppressed_silence_are_where_they_end_and_never_late() -> None:
    script = Script().start()
    script.open("b").send(noise(20.0), at_s=0.0)
    leg = script.open(script.facts("a", clock=TrackClock.ARRIVAL))
    for number in range(15):
        leg.send(noise(0.4), at_s=0.7 + 1.237 * number, ptime_ms=200)
    made = folded(script.stop(20.0))
    assert made.integrity.late_ms == 0
    starts = np.flatnonzero(np.diff((made.left != 0).astype(int), prepend=0) == 1) / 8000
    assert starts == pytest.approx([0.52 + 1.237 * number for number in range(15)], abs=0.001)


def test_a_first_long_frame_after_short_ones_is_late_for_its_place_but_not_lost() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", clock=TrackClock.ARRIVAL))
    leg.send(noise(3.0), at_s=0.0).send(noise(1.0, seed=2), at_s=6.49, ptime_ms=1000)
    made = folded(script.stop(8.0))
    assert made.integrity.late_ms == 0
    said = made.left[24000:]
    assert (said[said != 0] == noise(1.0, seed=2)).all()


def test_spurts_that_come_later_and_later_are_not_stretched() -> None:
    script = Script().start()
    leg, sound = script.open(script.facts("a", clock=TrackClock.ARRIVAL)), noise(60.0)
    leg.send(sound, at_s=0.0, speed=1 - 500e-6)
    made = folded(script.stop(60.1))
    assert (made.left[: 60 * 8000] == sound).all()
    assert made.integrity.drift_ppm == {"a": 0}


def test_a_pause_of_a_sender_ahead_of_the_clock_lasts_from_pen_to_pen() -> None:
    script = Script().start()
    sound = noise(100.0)
    script.open("a").send(sound, at_s=0.0, speed=10.0)
    script.pause(5.0, journaled=True).resume(9.0)
    made = folded(script.stop(10.0))
    (pause,) = made.integrity.pauses
    assert (pause.start_ms, pause.length_ms) == pytest.approx((48_000, 40_000), abs=50)
    begin, end = pause.start_ms * 8, (pause.start_ms + pause.length_ms) * 8
    assert (made.left == np.concatenate((sound[:begin], sound[end:]))).all()
    assert made.integrity.paused_ms == pause.length_ms


def test_a_burst_that_comes_in_parts_moves_nothing() -> None:
    script = Script().start()
    sound = noise(12.0)
    due_s = np.arange(600) * 0.02
    # From 4 s on the sender is silent, sends three times as fast from 6 s on, and has caught up at 7 s.
    catching_up = np.where(due_s < 4.0, due_s, np.maximum(due_s, 6.0 + (due_s - 4.0) / 3))
    script.open("a").send(sound, at_s=0, arrivals_s=catching_up)
    made = folded(script.stop(12.0))
    assert (made.left == sound).all()
    assert made.integrity.gaps == ()
