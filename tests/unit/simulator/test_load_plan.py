"""Which calls a load is made of, and when each of them streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
import typer.main

from wavstream.cli.main import app as command_line
from wavstream.simulator.load_messages import CODECS
from wavstream.simulator.load_plan import Call, LoadRequest, legs_for, plan_calls


def planned(**options: object) -> list[Call]:
    return plan_calls(LoadRequest(**{"url": "ws://x", "legs": 4, **options}), "load")  # type: ignore[arg-type]


def times(calls: list[Call]) -> list[tuple[int, float, float]]:
    """(place, begin, end) of each."""
    return [(call.place, round(call.begin_s, 2), round(call.end_s, 2)) for call in calls]


def most_at_once(calls: list[Call]) -> int:
    spans = [(round(call.begin_s, 2), round(call.end_s, 2)) for call in calls]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def test_without_more_all_calls_last_as_long_as_the_load() -> None:
    assert times(planned(duration_s=20.0)) == [(0, 0.0, 20.0), (1, 0.0, 20.0)]


def test_calls_come_in_within_the_ramp_and_stay_until_the_end() -> None:
    assert times(planned(legs=8, duration_s=20.0, ramp_s=10.0)) == [
        (0, 0.0, 20.0),
        (1, 2.5, 20.0),
        (2, 5.0, 20.0),
        (3, 7.5, 20.0),
    ]


def test_a_call_that_is_over_is_followed_by_another_and_the_last_is_cut_short() -> None:
    calls = planned(duration_s=7.0, call_s=3.0, ramp_s=1.0)

    assert times(calls) == [
        (0, 0.0, 3.0), (1, 0.5, 3.5), (0, 3.0, 6.0), (1, 3.5, 6.5), (0, 6.0, 7.0),
    ]  # fmt: skip
    assert len({call.session_id for call in calls}) == 5


@pytest.mark.parametrize(("cps", "call_s"), [(2.0, 3.0), (0.7, 5.0), (10.0, 1.0), (0.1, 2.0)])
def test_so_many_calls_begin_in_a_second_and_no_more_legs_stream_than_that_takes(cps: float, call_s: float) -> None:
    legs = legs_for(cps, call_s)
    calls = planned(legs=legs, duration_s=60.0, call_s=call_s, cps=cps)

    begins = [call.begin_s for call in calls]
    apart = [later - earlier for earlier, later in pairwise(begins)]
    assert all(abs(each - 1 / cps) <= 0.041 for each in apart)  # on ticks of 20 ms
    assert most_at_once(calls) * 2 <= legs


def test_the_help_names_every_dialect_that_the_load_speaks_and_no_other() -> None:
    command = typer.main.get_group(command_line).commands["load"]
    (option,) = (each for each in command.params if each.name == "dialect")
    help_text: str = getattr(option, "help", "")
    told = help_text.removeprefix("What the legs speak: ").partition(";")[0]
    assert told.replace(" or ", ", ").split(", ") == list(CODECS)
