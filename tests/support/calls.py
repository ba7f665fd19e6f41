"""Hypothesis strategies for whole calls: legs that talk, stall, burst, fall silent, lose frames and come back.

A leg with timestamps also doubles frames, lets one overtake others, and jumps to an impossible time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from tests.support.folding import noise
from tests.support.journal_script import Script
from wavstream.model.audio import Codec, TrackClock
from wavstream.model.options import ChannelLayout, PauseBehavior, RecordingOptions, Trim

STEPS = ("talk", "talk", "stall", "silence", "lose", "withhold", "reconnect")
JUMPS_S = (3600.0, -3600.0, 2.0, -1.5)
_SOUNDS = 64
"""Frames that differ: one that comes again is told from one whose timestamp does."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call and what was sent in it until the stop."""

    script: Script
    accepted_us: int
    """Audio of all legs, that which a pause withheld too, that arrived before the stop; once where it came twice."""
    doubled: int
    """Frames that had come before and came again before the stop."""


@st.composite
def calls(
    draw: st.DrawFn,
    *,
    mixed_formats: bool = True,
    layout: ChannelLayout | None = None,
    with_reads: bool = False,
    with_options: bool = False,
) -> Call:
    """Return a call of two legs, some seconds long, with everything that goes wrong on the way.

    ``with_reads``: one read may bring several frames, frames change their size, and much of it is plain.
    ``with_options``: it may be trimmed, end by itself, begin with a beep.
    """
    options = RecordingOptions(
        channels=layout or draw(st.sampled_from(ChannelLayout)), pause_behavior=draw(st.sampled_from(PauseBehavior))
    )
    if with_options and draw(st.booleans()):
        options = replace(
            options,
            trim=draw(st.sampled_from(Trim)),
            beep=draw(st.booleans()),
            max_length_s=draw(st.sampled_from((0, 0, 3, 7))),
            initial_timeout_s=draw(st.sampled_from((0, 0, 2))),
            end_silence_timeout_s=draw(st.sampled_from((0, 0, 2))),
        )
    script = Script().start(options)
    stop_s = draw(st.integers(0, 25_000 if with_reads else 12_000)) / 1000
    sent = [_leg(draw, script, name, mixed_formats, with_reads, stop_s) for name in ("a", "b")]
    for _ in range(draw(st.integers(0, 2))):
        begin_ms = draw(st.integers(0, 9_000))
        script.pause(begin_ms / 1000, journaled=True).resume((begin_ms + draw(st.integers(0, 2_500))) / 1000)
    if with_reads:
        script.read_together(draw(st.sampled_from((1, 2, 3, 5, 10))))
    return Call(script.stop(stop_s), sum(us for us, _ in sent), sum(doubled for _, doubled in sent))


def _leg(
    draw: st.DrawFn, script: Script, name: str, mixed_formats: bool, sizes_change: bool, stop_s: float
) -> tuple[int, int]:
    """Write down one leg; what arrives of it before the stop: microseconds of audio, and frames that came again."""
    clock = draw(st.sampled_from(TrackClock))
    codec = draw(st.sampled_from(Codec)) if mixed_formats else Codec.L16
    rate_hz = draw(st.sampled_from((8000, 16000))) if mixed_formats else 8000
    ptime_ms = draw(st.sampled_from((20, 60)))
    facts = script.facts(name, codec=codec, rate_hz=rate_hz, clock=clock)
    now_s = draw(st.integers(0, 1_700)) / 1000
    stream = script.open(facts, at_s=now_s)
    samples = rate_hz * ptime_ms // 1000
    accepted_us, doubled, owed, sent = 0, 0, 0, 0
    sounds = noise(0.06 * _SOUNDS, rate_hz=rate_hz)[: _SOUNDS * samples].reshape(_SOUNDS, samples)
    is_stamped = clock is TrackClock.TIMESTAMPED
    stream.position = draw(st.sampled_from((0, 1_790_000_000 * rate_hz))) if is_stamped else 0
    for step in draw(st.lists(st.sampled_from(3 * ("talk",) + STEPS if sizes_change else STEPS), max_size=8)):
        count = draw(st.integers(1, 300 if sizes_change and step == "talk" else 90))
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
            total, first = owed + count, stream.position
            size = samples // draw(st.sampled_from((1, 1, 2))) if sizes_change else samples
            at_s = [now_s + max(0, turn - owed) * ptime_ms / 1000 for turn in range(total)]
            for turn, number, is_again in _order(draw, total, 200 // ptime_ms if is_stamped else 0):
                stream.position = first + number * size
                stream.frame(sounds[(sent + number) % _SOUNDS][:size], at_us=round(at_s[turn] * 1e6))
                arrived = _is_before(at_s[turn], stop_s)
                accepted_us += ptime_ms * 1000 * (arrived and not is_again)
                doubled += arrived and is_again
            stream.position = first + total * size
            sent += total
            owed, now_s = 0, now_s + count * ptime_ms / 1000
            if is_stamped and draw(st.booleans()):
                stream.position = max(0, stream.position + round(draw(st.sampled_from(JUMPS_S)) * rate_hz))
    return accepted_us, doubled


def _order(draw: st.DrawFn, total: int, window: int) -> list[tuple[int, int, bool]]:
    """(turn, number of the frame, whether it comes again) of frames of which one is behind others, and one doubled."""
    numbers = [*range(total)]
    if window:
        late = draw(st.integers(0, total - 1))
        numbers.insert(min(late + draw(st.integers(0, window)), total - 1), numbers.pop(late))
    turns = [(turn, number, False) for turn, number in enumerate(numbers)]
    if window and draw(st.booleans()):
        turn = draw(st.integers(0, total - 1))
        later = min(turn + draw(st.integers(0, window)), total - 1)
        turns.insert(later + 1, (later, numbers[turn], True))
    return turns


def _is_before(at_s: float, stop_s: float) -> bool:
    return round(at_s * 1e6) <= round(stop_s * 1e6)
