"""Pauses in a whole file, exact to the sample."""

from __future__ import annotations

import pytest

from tests.support.folding import folded, noise
from tests.support.journal_script import Script
from wavstream.journal import events
from wavstream.model.audio import Track
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.recording import Gap, Pause
from wavstream.rendering import account
from wavstream.rendering.timeline.render_stats import MAX_PAUSES, RenderStats

SILENCE = RecordingOptions(pause_behavior=PauseBehavior.SILENCE)
PAUSE_S, RESUME_S = 3.0051, 5.5073
PAUSE, RESUME = 24041, 44058


def a_paused_call(options: RecordingOptions, *, journaled: bool) -> Script:
    script = Script().start(options)
    for leg, seed in (("a", 1), ("b", 2)):
        stream, sound = script.open(leg), noise(9.0, seed=seed)
        if journaled:
            stream.send(sound, at_s=0.0)
        else:
            stream.send(sound[:24160], at_s=0.0).withhold(20000, at_s=3.02)
            stream.send(sound[44160:], at_s=5.52)
    return script.pause(PAUSE_S, journaled=journaled).resume(RESUME_S).stop(9.0)


@pytest.mark.parametrize("journaled", [True, False])
def test_a_pause_is_cut_out_to_the_sample(journaled: bool) -> None:
    made = folded(a_paused_call(RecordingOptions(), journaled=journaled))
    resumed = RESUME if journaled else 44160
    for channel, seed in ((made.left, 1), (made.right, 2)):
        sound = noise(9.0, seed=seed)
        assert len(channel) == 72000 - (RESUME - PAUSE)
        assert (channel[:PAUSE] == sound[:PAUSE]).all()
        assert (channel[PAUSE + resumed - RESUME :] == sound[resumed:]).all()
    assert made.integrity.pauses == (Pause(3005, 2502),)
    assert made.integrity.lost_ms == 0
    assert made.integrity.paused_audio_in_journal is journaled


@pytest.mark.parametrize("journaled", [True, False])
def test_a_pause_is_silence_to_the_sample(journaled: bool) -> None:
    made = folded(a_paused_call(SILENCE, journaled=journaled))
    resumed = RESUME if journaled else 44160
    for channel, seed in ((made.left, 1), (made.right, 2)):
        sound = noise(9.0, seed=seed)
        assert len(channel) == 72000
        assert (channel[:PAUSE] == sound[:PAUSE]).all()
        assert not channel[PAUSE:resumed].any()
        assert (channel[resumed:] == sound[resumed:]).all()


def test_audio_that_a_pause_keeps_out_is_counted() -> None:
    journaled = folded(a_paused_call(SILENCE, journaled=True)).integrity.paused_ms
    assert journaled == 2 * (RESUME - PAUSE) * 1000 // 8000
    withheld = folded(a_paused_call(SILENCE, journaled=False)).integrity.paused_ms
    assert withheld == 2 * (20000 + 24160 - PAUSE) * 1000 // 8000


def test_a_leg_that_is_withheld_holds_nobody_up() -> None:
    script = a_paused_call(RecordingOptions(), journaled=False)
    made = folded(script)
    assert made.integrity.late_ms == 0
    assert made.integrity.gaps == ()


@pytest.mark.parametrize(("options", "samples"), [(RecordingOptions(), 16000), (SILENCE, 24000)])
def test_a_pause_that_is_open_at_the_stop_ends_with_it(options: RecordingOptions, samples: int) -> None:
    script = Script().start(options)
    script.open("a").send(noise(3.0), at_s=0.0)
    made = folded(script.pause(2.0, journaled=True).stop(3.0))
    assert made.account.samples == samples
    assert (made.left[:16000] == noise(3.0)[:16000]).all()
    assert not made.left[16000:].any()
    assert made.integrity.pauses == (Pause(2000, 1000),)


def test_a_resampled_leg_is_cut_at_the_same_moment() -> None:
    script = Script().start(RecordingOptions(sample_rate=16000))
    stream, sound = script.open("a"), noise(9.0)
    stream.send(sound[:24000], at_s=0.0).withhold(16000, at_s=3.0).send(sound[40000:], at_s=5.0)
    made = folded(script.pause(3.0).resume(5.0).stop(9.0))
    assert made.account.samples == (9 - 2) * 16000


def test_several_pauses_are_all_cut() -> None:
    script = Script().start()
    script.open("a").send(noise(9.0), at_s=0.0)
    for second in (1, 3, 5):
        script.pause(second, journaled=True).resume(second + 0.5)
    made = folded(script.stop(9.0))
    assert made.account.samples == 72000 - 3 * 4000
    assert [(pause.start_ms, pause.length_ms) for pause in made.integrity.pauses] == [
        (1000, 500),
        (3000, 500),
        (5000, 500),
    ]


def test_of_more_pauses_and_reconnects_than_a_receipt_lists_the_first_are_listed_and_the_others_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account, "MAX_PAUSES", 2)
    monkeypatch.setattr(account, "MAX_GAPS", 1)
    script = Script().start()
    for begin_s in (0.0, 3.0, 6.0):
        script.open("a", at_s=begin_s).send(noise(1.0), at_s=begin_s).close(begin_s + 1.0, clean=False)
        script.pause(begin_s + 0.2).resume(begin_s + 0.4)

    made = folded(script.stop(8.0))

    assert ([pause.start_ms for pause in made.integrity.pauses], made.integrity.pauses_omitted) == ([200, 3200], 1)
    assert ([gap.start_ms for gap in made.integrity.gaps], made.integrity.gaps_omitted) == ([1000], 1)


def test_what_the_call_had_no_room_for_is_in_the_receipt_also_after_a_restart() -> None:
    script = Script().start()
    script.open("a").send(noise(3.0), at_s=0.0)
    script.event(0.5, events.LeftOut(facts=7, events=1)).event(1.0, events.LeftOut(facts=9, events=4))
    script.event(2.0, events.LeftOut(facts=2, events=0))  # a restart counts anew

    made = folded(script.stop(3.0))

    assert (made.integrity.facts_omitted, made.integrity.events_omitted) == (9, 4)


@pytest.mark.parametrize("options", [RecordingOptions(), SILENCE], ids=["skip", "silence"])
def test_what_was_said_before_a_pause_and_came_in_it_is_told_as_a_gap(options: RecordingOptions) -> None:
    """For a second before the pause, and half a second of it, the server read nothing."""
    script, sound = Script().start(options).unread(2.0, 3.5), noise(9.0)
    leg = script.open("a").send(sound[:16000], at_s=0.0)
    for frame in range(75):
        leg.withhold(160, at_s=3.5 + frame * 1e-4)
    leg.withhold(12000, at_s=3.52).send(sound[40000:], at_s=5.0)
    made = folded(script.pause(3.0).resume(5.0).stop(9.0))
    assert made.integrity.pauses == (Pause(3000, 2000),)
    assert made.integrity.gaps == (Gap("a", Track.INBOUND, 2000, 1000, "pause"),)
    assert made.integrity.paused_ms == 3000
    assert made.integrity.lost_ms == 0
    assert (made.left[:16000] == sound[:16000]).all()
    assert (made.left[-32000:] == sound[40000:]).all()


def test_jitter_at_the_beginning_of_a_pause_is_no_gap() -> None:
    script, sound = Script().start(), noise(6.0)
    leg = script.open("a").send(sound[:23520], at_s=0.0)
    leg.withhold(8480, at_s=3.0).send(sound[32000:], at_s=4.0)
    made = folded(script.pause(3.0).resume(4.0).stop(6.0))
    assert made.integrity.gaps == ()


def test_stretches_withheld_are_remembered_up_to_a_bound() -> None:
    stats = RenderStats()
    for second in range(2 * MAX_PAUSES):
        stats.withhold("a", Track.INBOUND, second * 1_000_000, second * 1_000_000 + 20_000)
    assert len(stats.withheld_us["a", Track.INBOUND]) == MAX_PAUSES
