"""What the bench makes of its measurements: medians, verdicts, tables, and the search for the most that holds."""

from __future__ import annotations

import pytest

from bench.figures import Budget, Row, Spread, markdown, most_that_holds, number, ratios


def test_a_figure_of_several_runs_is_its_median_with_the_least_and_the_most() -> None:
    assert Spread((3.0, 1.0, 10.0)).text() == "3 (1 to 10)"
    assert Spread((4.5,)).text() == "4.50"


def test_a_ratio_is_of_runs_that_were_made_beside_each_other() -> None:
    slow_minute = ratios([10.0, 20.0], [20.0, 40.0])
    assert slow_minute.values == (0.5, 0.5)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios([10.0, 20.0], [20.0])


def test_a_figure_at_its_budget_holds_but_where_it_has_to_stay_below() -> None:
    assert Budget(0.4).holds(0.4)
    assert not Budget(0.4).holds(0.41)
    assert not Budget(10, is_strict=True).holds(10)
    assert Budget(3_500, is_least=True).holds(3_500)
    assert not Budget(3_500, is_least=True).holds(3_400)


def test_what_could_not_be_measured_misses_its_budget_and_says_why() -> None:
    row = Row("against C", None, "x", Budget(0.4), "not built")
    assert row.is_missed
    assert row.cells() == ("against C (not built)", "-", "<= 0.40 x", "not measured")
    assert not Row("against C", None, "x").is_missed


def test_the_table_of_the_readme_has_a_line_for_each_figure_and_marks_what_is_missed() -> None:
    rows = [Row("cost", Spread((0.5, 0.4, 0.6)), "x", Budget(0.4)), Row("memory", Spread((12.0,)), "kB")]
    assert markdown(rows).splitlines()[2:] == [
        "| cost | 0.50 (0.40 to 0.60) x | <= 0.40 x | **missed** |",
        "| memory | 12 kB |  |  |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (0.4, "0.40"), (12.34, "12.3"), (0.0, "0"), (float("inf"), "inf")]
)
def test_a_number_is_written_with_the_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize("limit", [0, 99, 100, 101, 999, 1_000, 1_001, 3_456, 12_000, 50_000])
@pytest.mark.parametrize("first", [100, 1_000, 5_000])
def test_the_search_finds_the_most_that_holds_wherever_it_begins(limit: int, first: int) -> None:
    looked: list[int] = []

    def holds(at: int) -> bool:
        looked.append(at)
        return at <= limit

    found = most_that_holds(holds, first=first, step=100, most=12_000)
    assert found == min(limit // 100 * 100, 12_000)
    assert all(0 < at <= 12_000 and at % 100 == 0 for at in looked)
    assert len(looked) == len(set(looked)) < 30


def test_the_search_ends_where_what_held_once_does_not_hold_again() -> None:
    answers = iter([True, False, False, True, False, True, False, True, False, False, False, False, False])
    assert most_that_holds(lambda _at: next(answers), first=1_000, step=100, most=12_000) % 100 == 0
