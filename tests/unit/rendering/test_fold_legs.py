"""Codecs, rates, channels, layouts and redundant tracks, in a whole file."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import Script
from tests.support.listening import beeps, find_beeps
from wavstream.model.audio import Channel, Codec, Track
from wavstream.model.options import ChannelLayout, RecordingOptions, TrackChoice

BOTH = (Track.INBOUND, Track.OUTBOUND)
MONO = RecordingOptions(channels=ChannelLayout.MONO)


def test_legs_of_different_codec_and_rate_are_in_step_at_the_higher_rate() -> None:
    script = Script().start()
    low = script.open(script.facts("a", codec=Codec.PCMU))
    high = script.open(script.facts("b", rate_hz=16000))
    low.send(beeps(12.0, rate_hz=8000, frequency_hz=600, offset_s=0.5), at_s=0.0)
    high.send(beeps(12.0, rate_hz=16000, frequency_hz=1000, offset_s=0.5), at_s=0.0)
    made = folded(script.stop(12.0))
    assert made.account.sample_rate == 16000
    assert made.account.samples == 12 * 16000
    expected = [0.5 + second for second in range(12)]
    assert find_beeps(made.left, 16000, 600) == pytest.approx(expected, abs=0.003)
    assert find_beeps(made.right, 16000, 1000) == pytest.approx(expected, abs=0.001)
    assert made.integrity.late_ms == made.integrity.lost_ms == 0


def test_a_later_leg_of_a_higher_rate_is_resampled_to_the_files_rate() -> None:
    script = Script().start()
    script.open("a").send(noise(10.0), at_s=0.0)
    high = script.open(script.facts("b", rate_hz=48000), at_s=6.0)
    high.send(beeps(4.0, rate_hz=48000, frequency_hz=1000), at_s=6.0)
    made = folded(script.stop(10.0))
    assert made.account.sample_rate == 8000
    assert (made.left == noise(10.0)).all()
    assert find_beeps(made.right, 8000, 1000) == pytest.approx([6, 7, 8, 9], abs=0.003)


def test_a_rate_that_was_asked_for_wins() -> None:
    script = Script().start(RecordingOptions(sample_rate=16000))
    script.open("a").send(beeps(3.0, rate_hz=8000, frequency_hz=600), at_s=0.0)
    made = folded(script.stop(3.0))
    assert (made.account.sample_rate, made.account.samples) == (16000, 48000)
    assert find_beeps(made.left, 16000, 600) == pytest.approx([0, 1, 2], abs=0.003)


def test_a_resampled_leg_that_stalls_and_bursts_moves_nothing() -> None:
    script = Script().start(RecordingOptions(sample_rate=16000))
    due_s = np.arange(500) * 0.02
    arrivals = np.where((due_s >= 3) & (due_s < 4.5), 4.5, due_s)
    script.open("a").send(beeps(10.0, rate_hz=8000, frequency_hz=600), at_s=0, arrivals_s=arrivals)
    made = folded(script.stop(10.0))
    assert find_beeps(made.left, 16000, 600) == pytest.approx(range(10), abs=0.003)
    assert made.account.samples == 160000


def test_a_stream_of_two_channels_has_what_is_said_left_and_what_is_heard_right() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", channels=2, tracks=BOTH))
    sound = np.stack((noise(3.0), noise(3.0, seed=2)), axis=1)
    leg.send(sound, at_s=0.0)
    made = folded(script.stop(3.0))
    assert (made.samples == sound).all()
    told = [(leg.leg, leg.track, leg.channel) for leg in made.account.legs]
    assert told == [("a", Track.INBOUND, Channel.LEFT), ("a", Track.OUTBOUND, Channel.RIGHT)]


def test_two_tracks_in_frames_of_their_own_each_keep_their_clock() -> None:
    script = Script().start()
    leg = script.open(script.facts("a", tracks=BOTH))
    leg.send(noise(3.0), at_s=0.0, track=0)
    leg.position = 0
    leg.send(noise(3.0, seed=2), at_s=0.1, track=1)
    made = folded(script.stop(3.1))
    assert (made.left[:24000] == noise(3.0)).all()
    assert (made.right[800:] == noise(3.0, seed=2)).all()


def test_what_a_leg_hears_is_redundant_while_another_leg_says_it() -> None:
    script = Script().start()
    both = np.stack((noise(9.0), noise(9.0, seed=2)), axis=1)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b", at_s=3.0).send(noise(3.0, seed=3), at_s=3.0).close(6.0)
    made = folded(script.stop(9.0))
    assert (made.left == noise(9.0)).all()
    assert (made.right[:24000] == noise(9.0, seed=2)[:24000]).all()
    assert (made.right[24000:48000] == noise(3.0, seed=3)).all()
    # What is heard comes later than it was said: for half a second.
    assert not made.right[48000:52000].any()
    assert (made.right[52000:] == noise(9.0, seed=2)[52000:]).all()
    assert (made.integrity.redundant_frames, made.integrity.redundant_ms) == (175, 3500)
    assert made.integrity.clipped_samples == 0


def test_a_single_track_makes_a_mono_file_of_it() -> None:
    for choice, seed in ((TrackChoice.INBOUND, 1), (TrackChoice.OUTBOUND, 2)):
        script = Script().start(RecordingOptions(track=choice))
        both = np.stack((noise(3.0), noise(3.0, seed=2)), axis=1)
        script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
        made = folded(script.stop(3.0))
        assert made.samples.shape == (24000, 1)
        assert (made.left == noise(3.0, seed=seed)).all()
        assert [leg.track for leg in made.account.legs] == [Track(choice)]


def test_mono_sums_all_legs_and_counts_what_it_clips() -> None:
    script = Script().start(MONO)
    loud = np.full(24000, 20000, np.int16)
    script.open("a").send(loud, at_s=0.0)
    script.open("b").send(loud[:8000], at_s=1.0)
    made = folded(script.stop(3.0))
    assert made.samples[:, 0].tolist() == [20000] * 8000 + [32767] * 8000 + [20000] * 8000
    assert made.integrity.clipped_samples == 8000
    assert [leg.channel for leg in made.account.legs] == [None, None]


def test_of_three_legs_the_first_is_left_and_the_others_share_the_right() -> None:
    script = Script().start()
    one, two, three = noise(3.0) // 4, noise(3.0, seed=2) // 4, noise(3.0, seed=3) // 4
    for leg, sound in (("x", one), ("y", two), ("z", three)):
        script.open(leg).send(sound, at_s=0.0)
    made = folded(script.stop(3.0))
    assert (made.left == one).all()
    assert (made.right == two + three).all()


def test_the_order_of_arrival_is_that_of_the_session_not_of_the_recording() -> None:
    script = Script().start(leg_order=("x", "y"))
    script.open("y").send(noise(3.0, seed=2), at_s=0.0)
    script.open("x").send(noise(3.0), at_s=0.0)
    made = folded(script.stop(3.0))
    assert (made.left == noise(3.0)).all()


def test_an_explicit_channel_is_kept() -> None:
    script = Script().start()
    script.open(script.facts("a", channel=Channel.RIGHT)).send(noise(3.0), at_s=0.0)
    made = folded(script.stop(3.0))
    assert (made.right == noise(3.0)).all()
    assert not made.left.any()


def test_frames_of_changing_length_are_contiguous() -> None:
    script = Script().start()
    leg, sound = script.open("a"), noise(4.0)
    at = 0
    for number, length in enumerate([160, 80, 240, 160] * 50):
        leg.frame(sound[at : at + length], at_us=number * 20_000)
        at += length
    made = folded(script.stop(4.0))
    assert (made.left == sound).all()
