"""What peers may add to a call besides audio: at each bound the call goes on, and what is left out is counted."""

from __future__ import annotations

import pytest

from tests.support.sessions import FRAME, LiveCall, at
from wavstream.dialects.events import CallInfo, Dtmf, Frame, Mark, Paused, Resumed
from wavstream.errors import LimitReached
from wavstream.journal.events import Digit, LeftOut, RecordingPaused, RecordingResumed
from wavstream.journal.events import Mark as Marked
from wavstream.model.call import MAX_FACTS_BYTES, MAX_IDS, CallFacts
from wavstream.model.recording import EndReason, Status
from wavstream.sessions import intake, session_recordings
from wavstream.sessions.intake import EVENTS_BURST, EVENTS_PER_S


def size_bytes(call: CallFacts) -> int:
    ids = [text for pair in call.vendor_ids.items() for text in pair]
    return sum(len(text.encode()) for text in (call.from_, call.to, call.direction, *ids))


def ids(count: int, *, of: str = "id", value: str = "v") -> CallFacts:
    return CallFacts(vendor_ids={f"{of}-{number}": value for number in range(count)})


# ---- facts ---------------------------------------------------------------------------------------------------------


def test_a_call_keeps_the_ids_that_were_told_first_and_counts_the_others() -> None:
    known = ids(30)

    merged = known.merged(ids(5, of="later"))

    assert list(merged.vendor_ids) == [*known.vendor_ids, "later-0", "later-1"]
    assert merged.missing_of(ids(5, of="later")) == 3


@pytest.mark.parametrize("value", ["x" * 250, "é" * 200, "\N{GRINNING FACE}" * 100])
def test_the_facts_of_a_call_have_a_bound_in_bytes_whatever_their_letters(value: str) -> None:
    merged = CallFacts(from_=value).merged(ids(MAX_IDS, value=value)).merged(CallFacts(to=value, direction="inbound"))

    room_bytes = MAX_FACTS_BYTES - size_bytes(merged)
    assert 0 <= room_bytes < len("id-31") + len(value.encode())
    assert merged.from_ == value


def test_a_fact_that_is_too_large_is_left_out_and_smaller_ones_behind_it_are_not() -> None:
    told = CallFacts(
        from_="x" * (MAX_FACTS_BYTES + 1), to="+4930", vendor_ids={"huge": "y" * MAX_FACTS_BYTES, "small": "1"}
    )

    merged = CallFacts().merged(told)

    assert merged == CallFacts(to="+4930", vendor_ids={"small": "1"})
    assert merged.missing_of(told) == 2


def test_what_tells_nothing_new_costs_no_copy() -> None:
    known = CallFacts(from_="+4930", vendor_ids={"callid": "1"})

    assert known.merged(CallFacts(from_="+4940", vendor_ids={"callid": "2"})) is known


async def test_a_call_that_is_told_ids_for_ever_is_recorded_and_its_journal_says_once_what_was_left_out() -> None:
    call = LiveCall()
    stream = call.open("a")
    recording = call.start()

    for turn in range(100):
        stream.event(CallInfo(ids(1_000, of=f"turn-{turn}")), at(turn * 0.01))
    call.session.tick(at(1.5))
    call.session.tick(at(1.65))
    call.open("b", call=CallFacts(from_="+4930"))
    call.session.tick(at(1.8))

    assert len(call.session.call.vendor_ids) == MAX_IDS
    assert call.session.call.from_ == "+4930"
    assert call.running[recording].status is Status.ONGOING
    left = [event for event in call.events if isinstance(event, LeftOut)]
    assert left == [LeftOut(facts=100 * 1_000 - MAX_IDS, events=0)]


async def test_a_recording_that_starts_later_is_told_what_the_call_has_no_room_for() -> None:
    call = LiveCall()
    call.open("a", call=ids(MAX_IDS + 1))
    call.start(1.0)

    call.session.tick(at(1.2))

    assert [event for event in call.events if isinstance(event, LeftOut)] == [LeftOut(facts=1, events=0)]


async def test_a_recording_that_is_stopped_at_once_is_told_too() -> None:
    call = LiveCall()
    stream = call.open("a")
    recording = call.live(call.start())
    stream.event(CallInfo(ids(MAX_IDS + 2)), at(0.5))

    call.session.recordings.stop(recording, EndReason.STOPPED, at(0.5))

    assert call.events[-2] == LeftOut(facts=2, events=0)


# ---- digits and marks ----------------------------------------------------------------------------------------------


async def test_keys_and_marks_that_come_too_fast_are_left_out_and_the_audio_is_not() -> None:
    call = LiveCall()
    noisy, other = call.open("a"), call.open("b")
    call.start()

    for number in range(EVENTS_BURST + 50):
        noisy.event(Dtmf("5") if number % 2 else Mark("here"), at(1.0))
    noisy.frame(Frame(0, 0, 160, FRAME), at(1.0))
    other.event(Dtmf("#"), at(1.0))  # one that floods takes nothing from the others
    call.session.tick(at(1.2))

    noted = [event for event in call.events if isinstance(event, Digit | Marked)]
    assert len([event for event in noted if event.stream == noisy.facts.stream]) == EVENTS_BURST
    assert noted[-1] == Digit(stream=other.facts.stream, digit="#")
    assert noisy.frames == 1
    assert LeftOut(facts=0, events=50) in call.events


async def test_a_stream_may_send_events_again_as_time_goes_by() -> None:
    call = LiveCall()
    stream = call.open("a")
    call.start()
    for _ in range(EVENTS_BURST):
        stream.event(Dtmf("1"), at(0))

    for _ in range(2 * EVENTS_PER_S):
        stream.event(Dtmf("2"), at(1.0))

    digits = [event.digit for event in call.events if isinstance(event, Digit)]
    assert digits.count("2") == EVENTS_PER_S


# ---- pauses --------------------------------------------------------------------------------------------------------


async def test_a_peer_that_pauses_and_resumes_for_ever_ends_up_as_it_said_last() -> None:
    call = LiveCall()
    stream = call.open("a")
    recording = call.start()

    for _ in range(5_000):
        stream.event(Paused(), at(1.0))
        stream.event(Resumed(), at(1.0))
    at_once = call.running[recording].status
    call.session.tick(at(1.2))

    assert at_once is Status.PAUSED  # the stricter one, until there is room
    assert call.running[recording].status is Status.ONGOING
    turns = [event for event in call.events if isinstance(event, RecordingPaused | RecordingResumed)]
    assert len(turns) == 2 * (EVENTS_BURST + 1)


async def test_a_pause_takes_back_a_resume_that_waits() -> None:
    call = LiveCall()
    stream = call.open("a")
    recording = call.start()
    for _ in range(EVENTS_BURST + 1):
        stream.event(Paused(), at(1.0))
        stream.event(Resumed(), at(1.0))

    stream.event(Paused(), at(1.0))
    call.session.tick(at(9.0))

    assert call.running[recording].status is Status.PAUSED


async def test_a_recording_that_was_paused_too_often_stays_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_recordings, "MAX_PAUSES", 3)
    call = LiveCall()
    stream = call.open("a")
    often, once = call.live(call.start()), call.live(call.start())
    for number in range(2):
        call.session.recordings.pause(often, at(number))
        call.session.recordings.resume(often, at(number))

    stream.event(Paused(), at(3.0))
    stream.event(Resumed(), at(3.0))

    assert (often.row.status, once.row.status) == (Status.PAUSED, Status.ONGOING)
    with pytest.raises(LimitReached, match="paused 3 times"):
        call.session.recordings.resume(often, at(4.0))


# ---- legs and streams ----------------------------------------------------------------------------------------------


async def test_a_leg_too_many_is_refused_and_those_that_were_there_may_come_back() -> None:
    call = LiveCall()
    for number in range(intake.MAX_LEGS):
        call.open(f"leg-{number}").closed(False, at(number * 0.01))

    with pytest.raises(LimitReached, match=f"{intake.MAX_LEGS} legs"):
        call.open("one-more", at_s=10.0)
    call.open("leg-7", at_s=10.0)

    assert len(call.session.legs.names) == intake.MAX_LEGS


async def test_a_link_that_is_lost_for_ever_is_refused_in_the_end_and_its_call_can_begin_anew() -> None:
    call = LiveCall()
    call.open("a")
    call.start()
    for _ in range(intake.MAX_STREAMS - 1):
        last = call.open("a", at_s=1.0)  # takes the place of the one before

    with pytest.raises(LimitReached, match=f"{intake.MAX_STREAMS} streams"):
        call.open("a", at_s=2.0)
    assert call.session.streams == [last]
    last.closed(False, at(2.0))
    call.session.tick(at(60.0))

    assert call.session.is_over
