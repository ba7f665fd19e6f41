"""The torture bench itself: it sees what is displaced, lost and doubled, and knows what cannot be known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.folding import noise
from tests.support.torture import Heard, draw_call
from tests.support.torture_links import LINKS, Link, draw_link
from tests.support.torture_measure import Samples, TrackResult, track_result
from tests.support.torture_senders import SENDERS, Sender, draw_sender
from tests.support.torture_truth import ALWAYS_LATE, INSIDE_DELAY, LASTING_STEP, NEVER_ON_TIME, unknowable
from wavstream.model.audio import Channel, TrackClock

FRAME = 160
SECOND = 8000


def _heard(length_s: float = 2.0) -> Heard:
    sound = noise(length_s)
    begins_us = np.arange(len(sound) // FRAME, dtype=np.int64) * 20_000
    return Heard("talks", Channel.LEFT, sound, FRAME, SECOND, begins_us, is_stretched=False)


def _channel(heard: Heard, *, begin: int = 0, length_s: float = 4.0) -> Samples:
    channel = np.zeros(round(length_s * SECOND), np.int16)
    channel[begin : begin + len(heard.noise)] = heard.noise
    return channel


def _worst_ms(result: TrackResult) -> float:
    return float(np.abs(result.errors_ms).max())


def test_a_track_in_its_place_has_no_error() -> None:
    heard = _heard()
    result = track_result(heard, _channel(heard), 0)
    assert len(result.errors_ms) == 20
    assert (_worst_ms(result), result.lost_ms, result.doubled_ms, result.foreign_ms) == (0, 0, 0, 0)


def test_a_file_that_begins_before_the_recording_is_no_error() -> None:
    heard = _heard()
    assert _worst_ms(track_result(heard, _channel(heard, begin=800), -800)) == 0


def test_a_frame_that_is_displaced_makes_the_error_of_its_pieces() -> None:
    heard = _heard()
    channel = _channel(heard)
    channel[8000:16000] = 0
    channel[8080:16080] = heard.noise[8000:]
    result = track_result(heard, channel, 0)
    assert result.errors_ms.tolist() == [0.0] * 10 + [10.0] * 10
    assert result.lost_ms == 0


def test_a_frame_that_is_cut_is_followed_behind_the_cut() -> None:
    heard = _heard()
    channel = _channel(heard)
    channel[4000:4040] = 0
    result = track_result(heard, channel, 0)
    assert _worst_ms(result) == 0
    assert result.lost_ms == 5


def test_a_piece_that_is_lost_has_no_error_but_is_counted() -> None:
    heard = _heard()
    channel = _channel(heard)
    channel[1600:2400] = 0
    result = track_result(heard, channel, 0)
    assert len(result.errors_ms) == 19
    assert result.lost_ms == 100


def test_what_is_in_the_file_twice_is_seen() -> None:
    heard = _heard()
    channel = _channel(heard)
    channel[20000:20160] = heard.noise[160:320]
    assert track_result(heard, channel, 0).doubled_ms == 20


def test_what_nobody_said_is_seen() -> None:
    heard = _heard()
    channel = _channel(heard)
    channel[20000:20080] = noise(0.01, seed=9)
    assert track_result(heard, channel, 0).foreign_ms == 10


@pytest.mark.parametrize("late", [0, 24, 4_000])
def test_a_track_that_was_stretched_is_found_wherever_it_is(late: int) -> None:
    heard = _heard()
    smooth = np.convolve(heard.noise.astype(np.float64) - 4500, (0.25, 0.5, 0.25), "same").astype(np.int16)
    heard = replace(heard, noise=smooth, is_stretched=True)
    made = np.interp(np.arange(0, len(smooth) - 1, 0.9995), np.arange(len(smooth)), smooth)
    channel = np.zeros(32000, np.int16)
    channel[late : late + len(made)] = made
    result = track_result(heard, channel, 0)
    # 0.05 % of 2 s is 1 ms.
    assert np.abs(result.errors_ms - late / 8).max() <= 1.1
    assert result.lost_ms == 0


def test_a_track_that_was_stretched_and_is_not_there_is_lost() -> None:
    heard = replace(_heard(), is_stretched=True)
    other = replace(heard, noise=noise(2.0, seed=5) - np.int16(4500))
    assert track_result(replace(heard, noise=heard.noise - np.int16(4500)), _channel(other), 0).lost_ms == 2000


def _words(clock: TrackClock) -> Sender:
    """One second of speech, two of silence, one of speech."""
    sender = Sender("words", clock, SECOND, 20, 4_000_000, is_marked=clock is TrackClock.TIMESTAMPED)
    sender.add(sender.due(np.concatenate([np.arange(50), np.arange(150, 200)])))
    return sender


def _why(sender: Sender, link: Link) -> list[str]:
    sent_us = sender.tracks[0].sent_us
    arrival_us = link.carry(sent_us, sender.ptime_us, np.random.default_rng(1))
    return unknowable(sender, link, [arrival_us], [link.stream_of(arrival_us)])


def _stalled(begin_s: float, end_s: float) -> Link:
    return Link(4_000_000, stalls=[(round(begin_s * 1e6), round(end_s * 1e6))])


def test_a_silence_that_begins_inside_a_stall_is_unknowable() -> None:
    assert _why(_words(TrackClock.CONTIGUOUS), _stalled(0.5, 2.0)) == [INSIDE_DELAY]


def test_a_stall_that_begins_in_silence_is_known_by_what_comes_on_time_behind_it() -> None:
    assert _why(_words(TrackClock.CONTIGUOUS), _stalled(2.0, 3.5)) == []


def test_a_word_of_which_nothing_is_on_time_is_unknowable() -> None:
    assert _why(_words(TrackClock.ARRIVAL), _stalled(2.0, 4.1)) == [NEVER_ON_TIME]


def test_timestamps_that_count_silence_tell_of_any_stall() -> None:
    assert _why(_words(TrackClock.TIMESTAMPED), _stalled(0.5, 2.0)) == []


@pytest.mark.parametrize(("clock", "why"), [(TrackClock.CONTIGUOUS, [LASTING_STEP]), (TrackClock.TIMESTAMPED, [])])
def test_a_step_of_delay_to_the_end_is_known_by_timestamps_that_had_counted_silence(
    clock: TrackClock, why: list[str]
) -> None:
    link = Link(4_000_000, steps=[(3_500_000, 9_000_000, 500_000)], lasts_from_us=3_500_000)
    assert _why(_words(clock), link) == why


def test_a_delay_that_a_stream_has_from_its_first_frame_to_its_last_is_unknowable_by_any_clock() -> None:
    link = Link(4_000_000, steps=[(0, 9_000_000, 500_000)])
    assert _why(_words(TrackClock.TIMESTAMPED), link) == [ALWAYS_LATE]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_only_ever_adds_delay_and_keeps_the_order(name: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        sent_us = draw_sender("leaves silence out", 30.0, rng).tracks[0].sent_us
        arrival_us = draw_link((name,), 30_000_000, rng).carry(sent_us, 20_000, rng)
        assert (arrival_us >= sent_us).all()
        assert (np.diff(arrival_us) >= 0).all()


@pytest.mark.parametrize("name", SENDERS)
def test_a_call_is_drawn_again_from_its_seed_and_number(name: str) -> None:
    first, second = (draw_call(5, 3, longest_s=30.0, sender=name) for _ in range(2))
    other = draw_call(5, 4, longest_s=30.0, sender=name)
    assert first.script.payloads() == second.script.payloads() != other.script.payloads()
