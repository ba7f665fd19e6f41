"""Streams of one leg side by side: one is mixed, and the next takes over when it ends."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import Leg, Script
from wavstream.model.audio import Track, TrackClock

BOTH = (Track.INBOUND, Track.OUTBOUND)


def a_stream(script: Script, *, at_s: float = 0.0, tracks: tuple[Track, ...] = BOTH) -> Leg:
    """Return a stream whose media time counts from its own opening."""
    return script.open(script.facts("a", clock=TrackClock.TIMESTAMPED, tracks=tracks), at_s=at_s)


def test_of_two_streams_of_a_leg_only_the_first_is_mixed() -> None:
    script = Script().start()
    sounds = noise(6.0), noise(6.0, seed=2)
    streams = [a_stream(script), a_stream(script, at_s=1.0)]
    for stream, first in zip(streams, (0, 50), strict=True):
        for track, sound in enumerate(sounds):
            stream.send_numbers(sound, range(first, 300), at_s=first * 0.02, track=track)
    made = folded(script.stop(6.0))
    assert (made.left == sounds[0]).all()
    assert (made.right == sounds[1]).all()
    told = made.integrity
    assert (told.redundant_frames, told.redundant_ms, told.gaps, told.clipped_samples) == (500, 10000, (), 0)
    assert [(leg.leg, leg.track, leg.joined_ms, leg.left_ms) for leg in made.account.legs] == [
        ("a", Track.INBOUND, 0, 6000),
        ("a", Track.OUTBOUND, 0, 6000),
    ]


@pytest.mark.parametrize("is_clean", [True, False])
@pytest.mark.parametrize("behind_ms", [0, 70])
def test_the_next_stream_goes_on_to_the_sample_where_the_first_ended(behind_ms: int, is_clean: bool) -> None:
    script, sound = Script().start(), noise(8.0)
    first, second = a_stream(script, tracks=BOTH[:1]), a_stream(script, at_s=0.01, tracks=BOTH[:1])
    first.send_numbers(sound, range(205))
    first.close(4.09, clean=is_clean)
    # For some frames around the end of the first stream the second one is slower than it.
    slow_s = [0.02 * n + (behind_ms / 1000 if 190 <= n < 220 else 0) for n in range(1, 400)]
    second.send(sound[160:], at_s=0.02, arrivals_s=slow_s)
    made = folded(script.stop(8.0))
    assert (made.left == sound).all()
    assert (made.integrity.redundant_frames, made.integrity.redundant_ms) == (204, 4080)
    assert made.integrity.gaps == ()
    assert [leg.left_ms for leg in made.account.legs] == [8000]


def test_a_stream_that_was_only_ever_beside_another_leaves_no_trace() -> None:
    script, sound = Script().start(), noise(10.0)
    first = a_stream(script, tracks=BOTH[:1]).send_numbers(sound, range(300))
    second = a_stream(script, at_s=1.0, tracks=BOTH[:1])
    second.send_numbers(sound, [*range(50, 80), *range(90, 120)], at_s=1.0).close(3.0)
    first.close(6.0, clean=False)
    third = a_stream(script, at_s=8.0, tracks=BOTH[:1])
    third.send_numbers(sound, range(400, 500), at_s=8.0)
    made = folded(script.stop(10.0))
    sound[48000:64000] = 0
    assert (made.left == sound).all()
    assert [(gap.start_ms, gap.length_ms, gap.cause) for gap in made.integrity.gaps] == [(6000, 2000, "reconnect")]
    assert (made.integrity.lost_ms, made.integrity.redundant_frames) == (0, 60)


def test_a_stream_beside_another_holds_nobody_up() -> None:
    script = Script().start()
    a_stream(script, tracks=BOTH[:1]).send_numbers(noise(8.0), range(400))
    a_stream(script, at_s=1.0, tracks=BOTH[:1])
    audio = folded(script).samples
    assert audio.shape[0] > (7.5 - 2) * 8000


def test_tracks_of_two_streams_of_one_leg_are_both_mixed() -> None:
    script = Script().start()
    for track, seed in zip(BOTH, (1, 2), strict=True):
        a_stream(script, tracks=(track,)).send_numbers(noise(4.0, seed=seed), range(200))
    made = folded(script.stop(4.0))
    assert (made.samples == np.stack((noise(4.0), noise(4.0, seed=2)), axis=1)).all()


def test_a_redundant_track_is_in_place_once_it_is_mixed_and_what_it_lost_before_is_told() -> None:
    script = Script().start()
    script.open("b").send(noise(4.0, seed=2), at_s=0.0).close(4.0)
    script.open("a").send(noise(8.0), at_s=0.0)
    heard = a_stream(script, at_s=1.0, tracks=BOTH[1:])
    heard.send_numbers(noise(7.0, seed=3), [*range(120), *range(121, 350)], at_s=1.0)
    made = folded(script.stop(8.0))
    assert (made.left == noise(8.0)).all()
    assert (made.right[:32000] == noise(4.0, seed=2)).all()
    # What b has said covers half a second after it.
    assert not made.right[32000:36000].any()
    assert (made.right[36000:] == noise(7.0, seed=3)[28000:]).all()
    assert (made.integrity.lost_ms, [gap.cause for gap in made.integrity.gaps]) == (20, ["loss"])
