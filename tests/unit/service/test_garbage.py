"""When rings of objects are looked for: not while calls begin, and before they fill the memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from weakref import ref

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import until
from wavstream.service import garbage
from wavstream.service.garbage import LEAST, MOST, OBJECTS_A_LEG, Garbage, is_due


class Ring:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def looks_as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("legs", [1, 1_000, 20_000])
def test_what_legs_have_is_no_reason_to_look(legs: int) -> None:
    assert not is_due(OBJECTS_A_LEG * legs, legs)
    assert not is_due(OBJECTS_A_LEG * legs + MOST, legs)
    assert is_due(OBJECTS_A_LEG * legs + MOST + 1, legs)


def test_while_nobody_streams_little_is_enough() -> None:
    assert not is_due(LEAST, 0)
    assert is_due(LEAST + 1, 0)


async def test_a_ring_is_found_once_there_may_be_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_S", 0.001)
    with Garbage(lambda: 0), capture_logs() as said:
        assert not gc.isenabled()
        ring = Ring()
        gone = ref(ring)
        del ring
        many: list[list[int]] = [[] for _ in range(LEAST + 1)]  # what is in no ring counts too, and stays
        await until(lambda: gone() is None)
        assert len(many) == LEAST + 1
    assert gc.isenabled()
    assert "garbage_collected" in [each["event"] for each in said]


async def test_few_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "LOOK_S", 0.001)
    with Garbage(lambda: 1):
        ring = Ring()
        there = ref(ring)
        del ring
        await asyncio.sleep(0.05)
        assert there() is not None
