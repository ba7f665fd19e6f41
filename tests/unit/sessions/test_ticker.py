"""Sessions that nothing comes from any more."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.sessions import TIMING, Handle, LiveCall, at, talk
from wavstream.dialects.events import Dtmf
from wavstream.model.recording import EndReason
from wavstream.sessions.ticker import GOING_AWAY, StalledSessions, is_stalled

AFTER_S = 120.0
AFTER_US = int(AFTER_S * 1e6)


class Watched(LiveCall):
    """A call that is visited."""

    def __init__(self, *, after_us: int = AFTER_US) -> None:
        super().__init__(timing=TIMING)
        self.orphans = StalledSessions(after_us=after_us)
        self.a, self.b = Handle(), Handle()

    async def visit(self, at_s: float) -> None:
        """Visit it, and let what waits for nothing go on."""
        self.orphans.visit(self.session, at(at_s))
        for _ in range(3):
            await asyncio.sleep(0)

    @property
    def closed(self) -> list[int]:
        return [code for handle in (self.a, self.b) for code, _ in handle.closed]


@pytest.mark.parametrize("last", ["frame", "answer to a ping", "event", "command", "stream"])
@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "not recorded"])
async def test_whatever_comes_last_of_a_session_is_what_it_is_idle_since(last: str, is_recorded: bool) -> None:
    call = Watched()
    talk(call.open("a"), from_s=0.02)
    stream = call.open("b", handle=call.b)
    if is_recorded or last == "command":
        call.start(1.0)
    if last == "frame":
        talk(stream, from_s=50.0)
    elif last == "answer to a ping":
        call.b.heard_us = at(50.0)
    elif last == "event":
        call.b.heard_us = at(50.0)
        stream.event(Dtmf("5"), at(50.0))
    elif last == "command":
        call.session.recordings.pause_all(at(50.0), leg="a")
    else:
        call.open("c", at_s=50.0)

    assert not is_stalled(call.session, at(50.0 + AFTER_S) - 1, after_us=AFTER_US)
    assert is_stalled(call.session, at(50.0 + AFTER_S), after_us=AFTER_US)


async def test_the_files_of_an_orphan_are_there_before_its_streams_are_closed() -> None:
    call = Watched()
    call.open("a", handle=call.a)
    call.open("b", handle=call.b)
    recordings = [call.start(), call.start()]

    await call.visit(AFTER_S)
    await call.visit(3 * AFTER_S)
    assert call.recorder.ends == [EndReason.DISCONNECTED] * 2
    call.recorder.finish(call.recorder.ended[recordings[0]])
    await call.visit(3 * AFTER_S)
    assert call.closed == []
    call.recorder.finish(call.recorder.ended[recordings[1]])
    await call.visit(AFTER_S)

    assert call.closed == [GOING_AWAY] * 2


async def test_an_orphan_that_records_nothing_is_closed_too_and_one_without_streams_is_left_to_its_waits() -> None:
    call, waiting = Watched(), Watched()
    call.open("a", handle=call.a)
    waiting.start()

    await call.visit(AFTER_S)
    await waiting.visit(AFTER_S)

    assert call.closed == [GOING_AWAY]
    assert list(waiting.session.recordings.waiting)


async def test_a_party_on_hold_whose_media_server_answers_pings_is_no_orphan_for_hours() -> None:
    call = Watched()
    call.open("a", handle=call.a)
    call.start()

    for at_s in range(0, 10_000, 20):
        call.a.heard_us = at(at_s)
        await call.visit(at_s + 19.9)
    assert call.running
    await call.visit(9_980 + AFTER_S)
    assert call.recorder.ends == [EndReason.DISCONNECTED]


async def test_streams_that_come_to_life_while_the_files_are_finished_stay() -> None:
    call = Watched()
    stream = call.open("a", handle=call.a)
    recording = call.start()
    await call.visit(AFTER_S)

    talk(stream, from_s=AFTER_S + 0.02)
    call.recorder.finish(call.recorder.ended[recording])
    await call.visit(AFTER_S + 0.1)
    assert call.closed == []

    await call.visit(2 * AFTER_S + 0.02)
    assert call.closed == [GOING_AWAY]


async def test_nothing_is_an_orphan_where_the_operator_says_never() -> None:
    call = Watched(after_us=0)
    call.open("a", handle=call.a)
    await call.visit(1e6)
    assert call.closed == []
