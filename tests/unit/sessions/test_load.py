"""A server that is late with what it has refuses more, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import pytest

from tests.support.sessions import at
from tests.unit.sessions.test_registry import RegistryHarness
from wavstream.errors import LimitReached
from wavstream.sessions.deferred_stream import ANY
from wavstream.sessions.load import Headroom, Load

HEADROOM = Headroom(loop_delay_s=0.1, fold_delay_s=5.0, queue_bytes=1_000)


class Second(TypedDict):
    """What is measured in one."""

    late_us: int
    fold_delays_s: dict[str, float]
    queued_bytes: int


CALM: Second = {"late_us": 1_000, "fold_delays_s": {}, "queued_bytes": 0}
BAD: dict[str, Second] = {
    "loop": {**CALM, "late_us": 150_000},
    "folds": {**CALM, "fold_delays_s": {"one": 5.0, "two": 0.1}},
    "journal": {**CALM, "queued_bytes": 1_000},
}


class Seconds:
    """Seconds of a server's life."""

    def __init__(self, headroom: Headroom = HEADROOM) -> None:
        self.load = Load(headroom)
        self.now_us = 0
        self.load.tick(self.now_us, late_us=0)

    def second(self, *, late_us: int, fold_delays_s: dict[str, float], queued_bytes: int) -> bool:
        """Let one pass, and return whether that changed what is let in."""
        is_over = False
        while not is_over:
            self.now_us += 15_000 + late_us
            is_over = self.load.tick(self.now_us, late_us=late_us)
        return bool(self.load.look(self.now_us, fold_delays_s=fold_delays_s, queued_bytes=queued_bytes))


@pytest.mark.parametrize("what", BAD)
def test_three_bad_seconds_in_a_row_close_the_door_and_three_others_open_it(what: str) -> None:
    seconds = Seconds()
    changes = [seconds.second(**BAD[what]) for _ in range(4)]
    assert changes == [False, False, True, False]
    with pytest.raises(LimitReached, match=r"limits\.|journal\.queue_bytes"):
        seconds.load.check("one")
    assert seconds.load.refused == 1
    changes = [seconds.second(**CALM) for _ in range(4)]
    assert changes == [False, False, True, False]
    seconds.load.check("one")


@pytest.mark.parametrize("what", BAD)
def test_one_stall_is_no_overload(what: str) -> None:
    seconds = Seconds()
    for _ in range(5):
        assert not seconds.second(**BAD[what])
        assert not seconds.second(**BAD[what])
        assert not seconds.second(**CALM)
    seconds.load.check("one")


def test_a_process_that_stood_still_for_a_minute_is_not_overloaded() -> None:
    seconds = Seconds()
    seconds.second(late_us=60_000_000, fold_delays_s={}, queued_bytes=0)
    seconds.second(**CALM)
    seconds.load.check("one")


@pytest.mark.parametrize("what", ["loop", "folds"])
def test_a_limit_of_zero_is_none(what: str) -> None:
    seconds = Seconds(replace(HEADROOM, loop_delay_s=0.0, fold_delay_s=0.0))
    for _ in range(10):
        seconds.second(**BAD[what])
    seconds.load.check("one")


async def test_streams_of_calls_that_are_live_are_let_in_all_the_same() -> None:
    board = RegistryHarness()
    board.open(session_id="call-77")
    board.sessions.load.door.closed_by = "its event loop by 200 ms"
    board.sessions.check_load("default", "call-77")
    for app_id, session_id in (("default", "call-78"), ("two", "call-77"), ("default", None)):
        with pytest.raises(LimitReached, match="200 ms"):
            board.sessions.check_load(app_id, session_id)


@pytest.mark.parametrize("app_id", ["default", ANY])
async def test_a_call_that_a_restart_or_a_take_over_is_bringing_back_is_let_in(app_id: str) -> None:
    board = RegistryHarness()
    board.sessions.load.door.closed_by = "its event loop by 200 ms"
    board.sessions.defer(app_id, "call-77")
    board.sessions.check_load("default", "call-77")


def test_an_app_whose_recordings_are_late_is_refused_alone() -> None:
    seconds = Seconds()
    for _ in range(3):
        seconds.second(**BAD["folds"])
    with pytest.raises(LimitReached, match="recordings of the app by 5"):
        seconds.load.check("one")
    for other in ("two", "three"):
        seconds.load.check(other)
    for _ in range(3):
        seconds.second(**CALM)
    assert seconds.load.doors == {}


SHARES: dict[str, tuple[Second, float]] = {
    "loop": ({**CALM, "late_us": 50_000}, 0.5),
    "folds": ({**CALM, "fold_delays_s": {"one": 1.25, "two": 2.5}}, 0.5),
    "journal": ({**CALM, "queued_bytes": 250}, 0.25),
    "the largest of them": ({"late_us": 20_000, "fold_delays_s": {"one": 4.0}, "queued_bytes": 500}, 0.8),
}


@pytest.mark.parametrize("what", SHARES)
def test_the_ratio_is_the_largest_share_of_a_limit(what: str) -> None:
    seconds, (second, share) = Seconds(), SHARES[what]
    assert seconds.load.ratio == 0
    for _ in range(3):
        seconds.second(**second)
    assert seconds.load.ratio == pytest.approx(share, rel=0.1)


def test_the_ratio_passes_over_one_stall_and_stays_at_one_while_the_door_is_closed() -> None:
    seconds = Seconds()
    for each in (CALM, BAD["loop"], CALM):
        seconds.second(**each)
    assert seconds.load.ratio < 0.02
    for _ in range(3):
        seconds.second(**BAD["loop"])
    assert seconds.load.ratio >= 1.5
    seconds.second(**CALM)
    assert seconds.load.ratio == 1.0
    for _ in range(2):
        seconds.second(**CALM)
    assert seconds.load.ratio < 0.02


def test_a_limit_of_zero_has_no_share_in_the_ratio() -> None:
    seconds = Seconds(replace(HEADROOM, loop_delay_s=0.0, fold_delay_s=0.0))
    for _ in range(3):
        seconds.second(late_us=150_000, fold_delays_s={"one": 60.0}, queued_bytes=100)
    assert seconds.load.ratio == pytest.approx(0.1)


async def test_a_server_that_drains_lets_in_no_new_session_and_every_leg_of_one_that_lives() -> None:
    board = RegistryHarness()
    board.open(session_id="call-77")
    board.sessions.find_or_make("default", "announced", at(0)).announce(at(0))
    board.sessions.defer("default", "being-brought-back")
    board.sessions.load.is_draining = True

    assert board.sessions.load.refuses_all
    for session_id in ("call-78", "announced"):
        with pytest.raises(LimitReached, match="drained") as refusal:
            board.sessions.check_load("default", session_id)
        assert refusal.value.retry_after_s > 0
    with pytest.raises(LimitReached, match="drained"):
        board.open(session_id="call-78")
    for session_id in ("call-77", "being-brought-back"):
        board.sessions.check_load("default", session_id)
    board.open("b", session_id="call-77")
    # Which session it is of, a stream without one in its path says later; then it is looked at again.
    board.sessions.check_load("default", None)

    board.sessions.load.is_draining = False
    board.open(session_id="call-78")
