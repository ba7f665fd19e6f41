"""Hypothesis strategies for whole calls: legs that talk, stall, burst, fall silent, lose frames and come back."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.support.folding import noise
from tests.support.journal_script import Script
from wavstream.model.audio import Codec, TrackClock
from wavstream.model.options import ChannelLayout, PauseBehavior, RecordingOptions

STEPS = ("talk", "talk", "stall", "silence", "lose", "withhold", "reconnect")


@dataclass(frozen=True, slots=True)
class Call:
    """A call and what was sent in it until the stop."""

    script: Script
    accepted_us: int
    """Audio of all legs, that which a pause withheld too, that arrived before the stop."""


@st.composite
def calls(draw: st.DrawFn, *, mixed_formats: bool = True, layout: ChannelLayout | None = None) -> Call:
    """A call of two legs, some seconds long, with everything that goes wrong on the way."""
    options = RecordingOptions(
        channels=layout or draw(st.sampled_from(ChannelLayout)), pause_behavior=draw(st.sampled_from(PauseBehavior))
    )
    script = Script().start(options)
    stop_s = draw(st.integers(0, 12_000)) / 1000
    accepted_us = sum(_leg(draw, script, name, mixed_formats, stop_s) for name in ("a", "b"))
    for _ in range(draw(st.integers(0, 2))):
        begin_ms = draw(st.integers(0, 9_000))
        script.pause(begin_ms / 1000, journaled=True).resume((begin_ms + draw(st.integers(0, 2_500))) / 1000)
    return Call(script.stop(stop_s), accepted_us)


def _leg(draw: st.DrawFn, script: Script, name: str, mixed_formats: bool, stop_s: float) -> int:
    """Write down one leg; how much of its audio arrives before the stop, in microseconds."""
    clock = draw(st.sampled_from(TrackClock))
    codec = draw(st.sampled_from(Codec)) if mixed_formats else Codec.L16
    rate_hz = draw(st.sampled_from((8000, 16000))) if mixed_formats else 8000
    ptime_ms = draw(st.sampled_from((20, 60)))
    facts = script.facts(name, codec=codec, rate_hz=rate_hz, clock=clock)
    now_s = draw(st.integers(0, 1_700)) / 1000
    stream = script.open(facts, at_s=now_s)
    samples = rate_hz * ptime_ms // 1000
    accepted_us, owed, sound = 0, 0, noise(0.06, rate_hz=rate_hz)[:samples]
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=8)):
        count = draw(st.integers(1, 90))
        if step == "stall":
            owed, now_s = count, now_s + count * ptime_ms / 1000
        elif step == "silence":
            now_s += count * ptime_ms / 1000
        elif step == "lose":
            stream.skip(count * samples)
            now_s += count * ptime_ms / 1000
        elif step == "withhold":
            stream.withhold(count * samples, at_s=now_s)
            arrive = [now_s + number * 0.02 for number in range(count * ptime_ms // 20)]
            accepted_us += 20_000 * sum(_is_before(at_s, stop_s) for at_s in arrive)
            now_s += count * ptime_ms / 1000
        elif step == "reconnect":
            stream.close(now_s, clean=False)
            now_s += count * ptime_ms / 1000
            facts = script.facts(name, codec=codec, rate_hz=rate_hz, clock=clock)
            stream = script.open(facts, at_s=now_s)
        else:
            for number in range(owed + count):
                at_s = now_s + max(0, number - owed) * ptime_ms / 1000
                stream.frame(sound, at_us=round(at_s * 1e6))
                accepted_us += ptime_ms * 1000 * _is_before(at_s, stop_s)
            owed, now_s = 0, now_s + count * ptime_ms / 1000
    return accepted_us


def _is_before(at_s: float, stop_s: float) -> bool:
    return round(at_s * 1e6) <= round(stop_s * 1e6)
