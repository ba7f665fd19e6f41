"""Who hears that a recording starts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sessions import Handle, LiveCall, a_recording, at
from wavstream.journal.events import RecordingStarted
from wavstream.model.options import RecordingOptions
from wavstream.rendering.mixer.beep import beep

BEEP = RecordingOptions(beep=True)


def beeps_of(handle: Handle) -> int:
    return len([sound for sound in handle.played if np.array_equal(sound, beep(8_000))])


async def test_every_party_hears_the_beep_and_the_start_tells_who_brings_it_back() -> None:
    call = LiveCall()
    handles = [Handle(), Handle(), Handle()]
    for name, handle, returns in zip("abc", handles, (False, True, True), strict=True):
        call.open(name, handle=handle, returns_audio=returns)

    call.start(options=BEEP)

    (start,) = [event for event in call.events if isinstance(event, RecordingStarted)]
    assert start.returns_beep == (2, 3)
    assert [beeps_of(handle) for handle in handles] == [1, 1, 1]


@pytest.mark.parametrize("beeps", [True, False])
async def test_a_recording_that_waited_beeps_to_the_stream_that_it_starts_with_if_it_beeps_at_all(beeps: bool) -> None:
    call = LiveCall()
    call.session.start(a_recording(options=RecordingOptions(beep=beeps)), at(0.0))
    handle = Handle()

    call.open("a", handle=handle, returns_audio=True)

    (start,) = [event for event in call.events if isinstance(event, RecordingStarted)]
    assert start.returns_beep == ((1,) if beeps else ())
    assert len(handle.played) == beeps_of(handle) == int(beeps)


async def test_a_stream_that_joins_later_is_not_beeped_at() -> None:
    call = LiveCall()
    call.open("a")
    call.start(options=BEEP)
    late = Handle()

    call.open("b", at_s=1.0, handle=late)

    assert late.played == []
