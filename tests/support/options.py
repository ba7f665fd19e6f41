"""Hypothesis strategies for every combination of options that shapes a file, and for calls that meet them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.journal_script import Script
from tests.support.recordings import a_recording
from tests.support.speech import RATE_HZ, silence, spoken
from wavstream.journal.events import Digit
from wavstream.model.audio import Codec, Track, TrackClock
from wavstream.model.options import (
    ChannelLayout,
    FileFormat,
    PauseBehavior,
    RecordingOptions,
    TrackChoice,
    Trim,
)
from wavstream.model.recording import Recording


def recording_options() -> st.SearchStrategy[RecordingOptions]:
    """Options within their bounds; limits are short enough to be met by a call of some seconds."""
    return st.builds(
        RecordingOptions,
        format=st.sampled_from(FileFormat),
        channels=st.sampled_from(ChannelLayout),
        track=st.sampled_from(TrackChoice),
        sample_rate=st.sampled_from((None, 8_000, 11_025, 16_000, 44_100)),
        max_length_s=st.sampled_from((0, 1, 4, 14_400)),
        initial_timeout_s=st.sampled_from((0.0, 0.0, 0.71, 3.0)),
        end_silence_timeout_s=st.sampled_from((0.0, 0.5, 2.03)),
        sensitivity=st.sampled_from((0.0, 44.0, 100.0)),
        trim=st.sampled_from(Trim),
        beep=st.booleans(),
        terminators=st.sampled_from(("", "", "#9", "12*")),
        pause_behavior=st.sampled_from(PauseBehavior),
    )


@dataclass(frozen=True, slots=True)
class Talk:
    """A call in which people speak, and the recording that was made of it."""

    script: Script
    recording: Recording


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Two legs that speak, are silent, press keys and are paused, recorded with any options."""
    options = draw(recording_options())
    script = Script().start(options)
    stop_ms = draw(st.sampled_from((9_000, 6_010, 1_200))) + draw(st.integers(0, 999))
    clock = draw(st.sampled_from(TrackClock))
    for leg, track in draw(st.sampled_from(_PARTIES)):
        facts = script.facts(leg, codec=draw(st.sampled_from((Codec.L16, Codec.PCMU))), tracks=(track,), clock=clock)
        stream = script.open(facts, at_s=draw(st.integers(0, 900)) / 1000)
        kinds = st.lists(st.sampled_from(("speech", "speech", "silence")), min_size=2, max_size=5)
        said = [_sound(draw, kind) for kind in draw(kinds)]
        if said:
            stream.send(np.concatenate(said), at_s=1.0)
        for key in draw(st.text("1#9", max_size=2)):
            script.event(draw(st.integers(0, stop_ms)) / 1000, Digit(stream=facts.stream, digit=key))
    if draw(st.booleans()):
        begin_ms = draw(st.integers(0, stop_ms))
        script.pause(begin_ms / 1000, journaled=True).resume((begin_ms + draw(st.integers(0, 1_500))) / 1000)
    return Talk(script.stop(stop_ms / 1000), a_recording(script.recording_id, options))


def _sound(draw: st.DrawFn, kind: str) -> NDArray[np.int16]:
    length_s = draw(st.integers(20, 150)) / 50
    return silence(length_s) if kind == "silence" else spoken()[: round(length_s * RATE_HZ)]


_PARTIES = (
    (("a", Track.INBOUND), ("b", Track.INBOUND)),
    (("a", Track.INBOUND), ("a", Track.OUTBOUND)),
    (("a", Track.INBOUND),),
)
