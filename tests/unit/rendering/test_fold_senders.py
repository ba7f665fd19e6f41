"""Where every word of real senders and links lies: each frame is found again to the sample.

A frame of these scripts starts where it arrives if the link is clean, so ``said_s`` is when each frame was said and
``came_s`` is when the link has delivered it.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.folding import Folded, folded, noise
from tests.support.journal_script import Leg, Script
from wavstream.model.audio import Track, TrackClock
from wavstream.model.options import PauseBehavior, RecordingOptions

HZ, FRAME = 8000, 160
BOTH = (Track.INBOUND, Track.OUTBOUND)
SKIP = RecordingOptions(pause_behavior=PauseBehavior.SKIP)
Times = NDArray[np.float64]


def every_20_ms(start_s: float, end_s: float) -> Times:
    return np.arange(round((end_s - start_s) * 50), dtype=np.float64) * 0.02 + start_s


def frames(count: int, *, seed: int = 1) -> NDArray[np.int16]:
    """Sound for so many frames, (n,)."""
    return noise(count / 50, seed=seed)


def errors_ms(channel: NDArray[np.int16], sound: NDArray[np.int16], said_s: Times) -> Times:
    """By how much each frame lies elsewhere than where it was said, in milliseconds; nan: it is not in the file."""
    file, guess, found = channel.tobytes(), 0, []
    for number, at_s in enumerate(said_s):
        wanted = sound[number * FRAME : (number + 1) * FRAME].tobytes()
        at = file.find(wanted, guess)
        at = at if at >= 0 else file.find(wanted)
        if at >= 0:
            guess = at
        found.append(np.nan if at < 0 else (at / 2 / HZ - at_s) * 1000)
    return np.array(found)


def assert_told(made: Folded, *, lost_ms: int = 0) -> None:
    told = made.integrity
    assert (told.lost_ms, told.late_ms, told.late_frames, made.account.before_start_ms) == (lost_ms, 0, 0, 0)


def heard(said_s: Times, came_s: Times | None = None, *, stop_s: float | None = None) -> tuple[Folded, Times]:
    """Return the file of a sender that says frames at these times, beside a leg that talks all the time; and errors."""
    came_s = said_s if came_s is None else came_s
    sound = frames(len(said_s))
    length_s = stop_s or float(max(came_s[-1], said_s[-1])) + 0.1
    script = Script().start()
    script.open("a").send(noise(length_s - 0.1, seed=2), at_s=0.0)
    script.open("b").send(sound, at_s=0, arrivals_s=came_s)
    made = folded(script.stop(length_s))
    errors = errors_ms(made.right, sound, said_s)
    assert not np.isnan(errors).any()
    assert_told(made)
    return made, errors


# ---- silence that nobody sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("each_s", [0.4, 0.2, 0.16])
def test_comfort_noise_in_single_frames_is_where_it_was_said(each_s: float) -> None:
    turns = [every_20_ms(6 * n, 6 * n + 3) for n in range(7)]
    sparse = [np.arange(6 * n + 3, 6 * n + 6, each_s) for n in range(7)]
    _, errors = heard(np.concatenate([part for pair in zip(turns, sparse, strict=True) for part in pair]))
    assert np.abs(errors).max() < 150


def test_120_ms_missing_of_each_500_ms_do_not_add_up() -> None:
    _, errors = heard(np.concatenate([every_20_ms(0.5 * n, 0.5 * n + 0.38) for n in range(80)]))
    assert np.abs(errors).max() < 150


def test_single_words_with_nothing_between_them_are_where_they_were_said() -> None:
    random = np.random.default_rng(3)
    starts = np.cumsum(random.uniform(3.7, 11, 12))
    made, errors = heard(np.concatenate([every_20_ms(at, at + random.uniform(0.2, 0.4)) for at in starts]))
    assert np.abs(errors).max() < 150
    assert {gap.cause for gap in made.integrity.gaps} == {"stall"}


# ---- links that are late -----------------------------------------------------------------------------------------


def slow(said_s: Times, *, from_s: float, for_s: float, by: float) -> Times:
    """Return when a link delivers that is slower than the sender for a while and then twice as fast."""
    came_s, free_s = [], 0.0
    for at_s in said_s:
        pace_s = 0.02 / (1 - by) if from_s <= at_s < from_s + for_s else 0.01
        free_s = max(at_s, free_s + pace_s)
        came_s.append(free_s)
    return np.array(came_s)


ALL_THE_TIME = every_20_ms(0, 60)


@pytest.mark.parametrize(
    "came_s",
    [
        slow(ALL_THE_TIME, from_s=10, for_s=24, by=0.05),
        slow(ALL_THE_TIME, from_s=10, for_s=10, by=0.2),
        np.maximum.accumulate(np.where((ALL_THE_TIME >= 10) & (ALL_THE_TIME < 14), ALL_THE_TIME + 0.8, ALL_THE_TIME)),
        np.maximum.accumulate(np.where(ALL_THE_TIME < 2.5, ALL_THE_TIME + 0.5, ALL_THE_TIME)),
    ],
    ids=["5 % too slow for 24 s", "20 % too slow for 10 s", "0.8 s late for 4 s", "0.5 s late at first"],
)
def test_a_link_that_was_late_for_a_while_leaves_no_hole(came_s: Times) -> None:
    made, errors = heard(ALL_THE_TIME, came_s)
    assert np.abs(errors).max() < 50
    assert made.integrity.gaps == ()


def test_a_hang_up_inside_a_stall_displaces_nothing() -> None:
    said_s = every_20_ms(0, 30)
    made, errors = heard(said_s, np.where(said_s < 26, said_s, np.maximum(said_s, 30)), stop_s=30.05)
    assert np.abs(errors).max() < 1
    assert made.integrity.gaps == ()


def test_jitter_in_the_last_frames_leaves_them_in_one_piece() -> None:
    said_s = every_20_ms(0, 30)
    delay_s = np.where(said_s > 29.2, np.random.default_rng(4).uniform(0.15, 0.45, len(said_s)), 0)
    made, errors = heard(said_s, np.maximum.accumulate(said_s + delay_s))
    assert np.abs(errors).max() < 1
    assert made.integrity.gaps == ()


# ---- one clock for both tracks -----------------------------------------------------------------------------------


def twilio(script: Script) -> Leg:
    return script.open(script.facts("a", clock=TrackClock.TIMESTAMPED, tracks=BOTH))


def send_stamped(leg: Leg, sound: NDArray[np.int16], said_s: Times, came_s: Times, *, track: int) -> None:
    for number, (stamp_s, at_s) in enumerate(zip(said_s, came_s, strict=True)):
        leg.position = round(stamp_s * HZ)
        leg.frame(sound[number * FRAME : (number + 1) * FRAME], at_us=round(at_s * 1e6), track=track)


@pytest.mark.parametrize(
    ("said_s", "came_s"),
    [
        (every_20_ms(0, 20), every_20_ms(0.28, 20.28)),
        (every_20_ms(8, 11), np.maximum(every_20_ms(8, 11), 9.5)),
        (every_20_ms(2, 5), np.maximum(every_20_ms(2, 5), 3.5)),
        (every_20_ms(8, 13), np.full(250, 8.0)),
        (every_20_ms(0, 5), np.full(250, 0.01)),
    ],
    ids=[
        "280 ms later on the wire",
        "a prompt that a stall delivers late",
        "the first prompt, that a stall delivers late",
        "5 s sent at once",
        "5 s sent at once as the first",
    ],
)
def test_what_a_leg_hears_is_where_the_clock_of_both_tracks_says(said_s: Times, came_s: Times) -> None:
    script = Script().start()
    leg, inbound, outbound = twilio(script), frames(1000), frames(len(said_s), seed=2)
    send_stamped(leg, inbound, every_20_ms(0, 20), every_20_ms(0, 20), track=0)
    send_stamped(leg, outbound, said_s, came_s, track=1)
    made = folded(script.stop(20.5))
    assert np.abs(errors_ms(made.left, inbound, every_20_ms(0, 20))).max() < 1
    assert np.abs(errors_ms(made.right, outbound, said_s)).max() < 50
    assert_told(made)


def test_prompts_with_nothing_between_them_lose_nothing() -> None:
    script = Script().start()
    said_s = np.concatenate([every_20_ms(at, at + 2) for at in (1, 6, 12, 18)])
    leg, inbound, outbound = twilio(script), frames(1000), frames(len(said_s), seed=2)
    send_stamped(leg, inbound, every_20_ms(0, 20), every_20_ms(0, 20), track=0)
    send_stamped(leg, outbound, said_s, said_s, track=1)
    made = folded(script.stop(20))
    assert np.abs(errors_ms(made.right, outbound, said_s)).max() < 1
    assert_told(made)
    assert {gap.cause for gap in made.integrity.gaps} == {"silence"}


@pytest.mark.parametrize("mute_s", [10, 2])
def test_timestamps_that_do_not_count_a_mute_go_on_behind_it(mute_s: float) -> None:
    script = Script().start()
    said_s = np.concatenate([every_20_ms(0, 8), every_20_ms(8 + mute_s, 20 + mute_s)])
    leg, sound = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED)), frames(len(said_s))
    send_stamped(leg, sound, every_20_ms(0, 20), said_s, track=0)
    made = folded(script.stop(20 + mute_s))
    assert np.abs(errors_ms(made.left, sound, said_s)).max() < 150
    assert_told(made)


def test_a_sender_that_stamps_when_it_sends_is_as_long_as_the_call() -> None:
    said_s = every_20_ms(0, 40)
    sent_s = said_s.copy()
    for at_s in (6, 12, 18, 24, 30):
        held = (said_s >= at_s) & (said_s < at_s + 0.5)
        # The queue is sent at once, each frame a moment after the one before it.
        sent_s[held] = at_s + 0.481 + np.arange(held.sum()) * 0.0005
    script = Script().start()
    leg, sound = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED)), frames(len(said_s))
    send_stamped(leg, sound, sent_s, sent_s, track=0)
    made = folded(script.stop(40))
    assert np.abs(errors_ms(made.left, sound, said_s)).max() < 50
    assert made.account.samples == pytest.approx(40 * HZ, abs=FRAME)
    assert_told(made)
    assert made.integrity.gaps == ()


# ---- who says what -----------------------------------------------------------------------------------------------


def test_a_voice_whose_own_stream_sends_nothing_is_heard_in_the_fork_that_carries_it() -> None:
    script = Script().start()
    both = np.stack((noise(14), noise(14, seed=2)), axis=1)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b")
    made = folded(script.stop(14.0))
    assert (made.right == both[:, 1]).all()
    assert made.integrity.redundant_ms == 0


def test_a_voice_whose_own_stream_stops_is_heard_in_the_fork_from_then_on() -> None:
    script = Script().start()
    both = np.stack((noise(14), noise(14, seed=2)), axis=1)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b").send(both[: 5 * HZ, 1], at_s=0.0)
    made = folded(script.stop(14.0))
    assert (made.right[: 5 * HZ] == both[: 5 * HZ, 1]).all()
    assert (made.right[round(5.5 * HZ) :] == both[round(5.5 * HZ) :, 1]).all()
    assert made.integrity.redundant_ms == 5500


@pytest.mark.parametrize("loudness", [0, 40])
def test_music_that_a_leg_hears_is_in_the_file_while_the_other_leg_sends_silence(loudness: int) -> None:
    script = Script().start()
    both = np.stack((noise(14), noise(14, seed=2)), axis=1)
    quiet = (noise(14, seed=3) % (loudness + 1)).astype(np.int16)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b").send(quiet, at_s=0.0)
    made = folded(script.stop(14.0))
    assert (made.right == both[:, 1] + quiet).all()
    assert made.integrity.redundant_ms == 0


@pytest.mark.parametrize("gain", [0.25, 1.0, 4.0])
def test_a_voice_that_both_streams_bring_is_in_the_file_once_whatever_their_gains(gain: float) -> None:
    script = Script().start()
    voice = (noise(14, seed=2) // 4).astype(np.int16)
    heard_later = np.concatenate((np.zeros(800, np.int16), voice))[: len(voice)]
    both = np.stack((noise(14), np.rint(heard_later * gain).astype(np.int16)), axis=1)
    script.open(script.facts("a", channels=2, tracks=BOTH)).send(both, at_s=0.0)
    script.open("b").send(voice, at_s=0.0)
    made = folded(script.stop(14.0))
    assert (made.right == voice).all()
    assert made.integrity.redundant_ms == 14_000


# ---- backlogs ----------------------------------------------------------------------------------------------------


def test_what_was_said_in_an_outage_and_is_sent_on_return_is_where_it_was_said() -> None:
    script, said_s = Script().start(), every_20_ms(0, 30)
    sound = frames(len(said_s))
    script.open("a").send(noise(30, seed=2), at_s=0.0)
    script.open("b").send(sound[: 10 * HZ], at_s=0.0).close(10.0, clean=False)
    script.open("b", at_s=15.0).send(sound[10 * HZ :], at_s=0, arrivals_s=np.maximum(said_s[500:], 15.001))
    made = folded(script.stop(30))
    assert np.abs(errors_ms(made.right, sound, said_s)).max() < 100
    assert_told(made)


def test_a_backlog_of_the_connect_is_where_it_was_said() -> None:
    said_s = every_20_ms(2, 20)
    script, sound = Script().start(), frames(len(said_s))
    script.open("a").send(noise(20, seed=2), at_s=0.0)
    script.open("b", at_s=3.0).send(sound, at_s=0, arrivals_s=np.maximum(said_s, 3.0))
    made = folded(script.stop(20))
    assert np.abs(errors_ms(made.right, sound, said_s)).max() < 100
    assert_told(made)


def test_a_pause_cuts_what_was_said_in_it_and_nothing_that_a_backlog_said_before() -> None:
    said_s = every_20_ms(2, 20)
    script, sound = Script().start(SKIP), frames(len(said_s))
    script.open("a").send(noise(20, seed=2), at_s=0.0)
    script.open("b", at_s=3.0).send(sound, at_s=0, arrivals_s=np.maximum(said_s, 3.0))
    script.pause(5.0, journaled=True).resume(8.0)
    made = folded(script.stop(20))
    kept = (said_s < 4.98) | (said_s >= 8.0)
    errors = errors_ms(made.right, sound, np.where(said_s < 6, said_s, said_s - 3))
    assert np.abs(errors[kept]).max() < 100
    assert np.isnan(errors[(said_s >= 5.0) & (said_s < 7.98)]).all()
    assert made.integrity.late_ms == 0


# ---- what no sender should do ------------------------------------------------------------------------------------


def test_a_clock_that_runs_backwards_makes_a_file_as_long_as_the_call() -> None:
    script, said_s = Script().start(), every_20_ms(0, 60)
    leg, sound = script.open(script.facts("a", clock=TrackClock.TIMESTAMPED)), frames(len(said_s))
    send_stamped(leg, sound, 3600 - said_s, said_s, track=0)
    made = folded(script.stop(60))
    assert made.account.samples / HZ == pytest.approx(60, abs=0.25)
    assert made.integrity.clock_restarts > 0
    assert any("ran backwards" in remark for remark in made.fold.remarks)


def test_a_sender_at_half_speed_for_an_hour_is_as_long_as_the_call_and_loses_nothing() -> None:
    script, count = Script().start(), 18_000
    sound = frames(count)
    script.open("a").send(sound, at_s=0.0, ptime_ms=100, speed=0.5)
    made = folded(script.stop(3600))
    assert made.account.samples / HZ <= 3600.1
    assert int((made.left != 0).sum()) == len(sound)


def test_a_burst_of_10_minutes_is_in_the_file_whole() -> None:
    script, sound = Script().start(), noise(600)
    script.open("a").send(sound, at_s=1.0, speed=1e6)
    made = folded(script.stop(5))
    assert (made.left[made.left != 0] == sound).all()
    assert made.account.samples / HZ == pytest.approx(600, abs=5)


def test_a_stream_of_one_frame_is_a_file_of_one_frame() -> None:
    script, sound = Script().start(), frames(1)
    script.open("a").send(sound, at_s=3.0)
    made = folded(script.stop(4))
    assert (made.left[3 * HZ : 3 * HZ + FRAME] == sound).all()
    assert made.account.samples == 4 * HZ


def test_a_hundred_thousand_steps_are_followed_and_only_the_first_thousand_listed() -> None:
    # Each frame comes 40 ms after the one before it.
    script, sound = Script().start(), frames(20_000)
    script.open("a").send(sound, at_s=0.0, speed=0.5)
    made = folded(script.stop(800))
    assert int((made.left != 0).sum()) == len(sound)
    assert made.account.samples == pytest.approx(800 * HZ, abs=FRAME)
    assert len(made.integrity.gaps) + made.integrity.gaps_omitted <= 20_000
