from __future__ import annotations

from structlog.testing import capture_logs

from wavstream.media.refusals import LINES, PERIOD_S, RefusalLog


def test_of_each_kind_the_first_lines_are_written_and_at_the_end_of_the_period_how_many_were_not() -> None:
    now = 0.0
    refusals = RefusalLog(lambda: now)
    with capture_logs() as logs:
        assert [refusals.tells("one") for _ in range(LINES + 5)] == [True] * LINES + [False] * 5
        assert refusals.tells("another")
        now = PERIOD_S - 0.1
        refusals.end_period()
        assert logs == []
        now = PERIOD_S
        refusals.end_period()
        refusals.end_period()
    assert [(entry["event"], entry["kind"], entry["count"]) for entry in logs] == [("refusals_summed_up", "one", 5)]


def test_a_line_begins_the_next_period_though_nobody_looked_meanwhile() -> None:
    now = 0.0
    refusals = RefusalLog(lambda: now)
    for _ in range(LINES + 1):
        refusals.tells("one")
    now = 10 * PERIOD_S
    with capture_logs() as logs:
        assert refusals.tells("one")
    assert [entry["count"] for entry in logs] == [1]
