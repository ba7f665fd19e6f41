"""Whose turn it is to be transcribed, and what becomes of one that failed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.recordings import START
from wavstream.catalog.transcriptions import Transcription, TranscriptionStatus
from wavstream.transcription.schedule import FIRST_WAIT_S, TRIES, Turns, next_try


def waiting(name: str, app_id: str, second: int) -> Transcription:
    since = START + timedelta(seconds=second)
    return Transcription(name, name, app_id, TranscriptionStatus.WAITING, None, since, 0, 0, None, None, None)


def test_apps_take_turns_however_much_one_of_them_has_waiting() -> None:
    turns = Turns()
    left = [waiting(f"bank-{number}", "bank", number) for number in range(10)]
    left += [waiting("shop-1", "shop", 50), waiting("desk-1", "desk", 51)]
    order = []
    while left:
        (chosen,) = turns.choose(left, [], 1)
        order.append(chosen.recording_id)
        left.remove(chosen)
    assert order[:4] == ["bank-0", "shop-1", "desk-1", "bank-1"]
    assert order[3:] == [f"bank-{number}" for number in range(1, 10)]


def test_an_app_of_which_one_is_under_way_waits_for_those_that_have_none() -> None:
    left = [waiting("bank-1", "bank", 0), waiting("shop-1", "shop", 9)]
    assert [each.recording_id for each in Turns().choose(left, ["bank"], 2)] == ["shop-1", "bank-1"]


def test_what_may_pass_is_tried_again_ever_later_and_then_no_more() -> None:
    waits = [next_try(attempts, START, is_lasting=False, chance=0.0) for attempts in range(1, TRIES + 1)]
    assert waits == [START + timedelta(seconds=FIRST_WAIT_S), START + timedelta(seconds=60), None]


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_what_will_fail_again_is_not_tried_again(chance: float) -> None:
    assert next_try(1, START, is_lasting=True, chance=chance) is None
