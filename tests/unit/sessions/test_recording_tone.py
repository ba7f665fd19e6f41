"""Who hears that a recording starts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sessions import Handle, LiveCall, a_recording, at, restore
from wavstream.journal.events import RecordingStarted
from wavstream.journal.journal import Journal
from wavstream.model.audio import Track
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.rendering.mixer.mix import beep

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


async def test_a_leg_that_joins_later_hears_it_once_however_often_it_comes_back() -> None:
    call = LiveCall()
    first = call.open("a")
    call.start(options=BEEP)
    late, beside, back, first_back = Handle(), Handle(), Handle(), Handle()

    stream = call.open("b", at_s=1.0, handle=late)
    call.open("b", at_s=1.0, handle=beside, tracks=(Track.OUTBOUND,))
    stream.closed(False, at(2.0))
    call.open("b", at_s=3.0, handle=back)
    first.closed(False, at(4.0))
    call.open("a", at_s=5.0, handle=first_back)

    assert [beeps_of(handle) for handle in (late, beside, back, first_back)] == [1, 0, 0, 0]


async def test_a_leg_hears_of_each_recording_that_beeps_as_long_as_that_runs() -> None:
    call = LiveCall()
    call.open("a")
    away = call.open("b")
    ended = call.start(options=BEEP)
    call.start()
    call.session.recordings.stop(call.live(ended), EndReason.STOPPED, at(1.0))
    late, back = Handle(), Handle()

    call.open("c", at_s=1.0, handle=late)
    assert late.played == []

    away.closed(False, at(1.0))
    call.start(at_s=2.0, options=BEEP)
    call.open("b", at_s=3.0, handle=back)
    assert (beeps_of(late), beeps_of(back)) == (1, 1)


async def test_legs_that_a_restart_lost_have_heard_it_and_others_have_not() -> None:
    call = LiveCall()
    journal = Journal(key="k", app_id="default", session_id="call-77")
    recording = a_recording(options=BEEP)
    restore(call.session, call.recorder, recording, journal=journal, lost=["a"], last_us=at(0.0), now_us=at(1.0))
    back, new = Handle(), Handle()

    call.open("a", at_s=2.0, handle=back)
    call.open("b", at_s=2.0, handle=new)

    assert (beeps_of(back), beeps_of(new)) == (0, 1)
