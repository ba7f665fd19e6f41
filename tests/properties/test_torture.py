"""Short calls of the torture bench, each word where it was said; `python -m bench.timeline` draws a thousand long ones.

Each sender is on each link once. A test that fails names its calls, and this plays one of them again:
`python -m bench.timeline --seed 1 --longest 40 --only SENDER --only LINK --call NUMBER`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.support.torture import draw_call
from tests.support.torture_links import LINKS
from tests.support.torture_measure import CallResult, measure
from tests.support.torture_senders import SENDERS

SEED = 1
LONGEST_S = 40.0
NEAR_MS = 20.0
FAR_MS = 150.0
SHOWN_MS = 500
"""So much may lack before it has shown that a sender leaves silence out: a fault of three frames is loss."""


@cache
def _results(sender: str) -> list[CallResult]:
    return [
        measure(draw_call(SEED, number, longest_s=LONGEST_S, sender=sender, link=link))
        for number, link in enumerate(LINKS)
    ]


def _knowable(sender: str) -> list[CallResult]:
    known = [result for result in _results(sender) if result.is_knowable]
    assert len(known) > len(LINKS) // 3
    return known


def _told(result: CallResult) -> str:
    return f"call {result.number}, {result.link}, {result.clock}"


@pytest.mark.parametrize("sender", SENDERS)
def test_what_can_be_known_lies_where_it_was_said(sender: str) -> None:
    known = _knowable(sender)
    assert {_told(result): result.worst_ms for result in known if result.worst_ms > FAR_MS} == {}
    errors = np.concatenate([np.abs(track.errors_ms) for result in known for track in result.tracks])
    assert np.mean(errors <= NEAR_MS) >= 0.99


@pytest.mark.parametrize("sender", SENDERS)
def test_what_was_delivered_is_in_the_file_once(sender: str) -> None:
    known = _knowable(sender)
    assert {_told(result): result.lost_ms for result in known if result.lost_ms} == {}
    assert {_told(result): result.doubled_ms for result in known if result.doubled_ms} == {}


@pytest.mark.parametrize("sender", SENDERS)
def test_what_is_not_in_the_file_is_counted(sender: str) -> None:
    broken = {_told(result): result.unaccounted_ms for result in _results(sender) if result.unaccounted_ms}
    assert broken == {}


@pytest.mark.parametrize("sender", SENDERS)
def test_a_receipt_tells_of_no_loss_where_nobody_sent_anything(sender: str) -> None:
    lost_ms = {_told(result): result.counted.get("lost", 0) for result in _knowable(sender)}
    assert {call: ms for call, ms in lost_ms.items() if ms > SHOWN_MS} == {}
