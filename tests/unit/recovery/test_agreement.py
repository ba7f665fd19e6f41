"""Of a row and a journal that differ: each order of the two writes, and a crash between them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.journals import a_started_recording
from tests.support.sessions import at
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc
from wavstream.recovery.agreement import Agreement, agree

STARTED = a_started_recording()
BEGAN_S, TURNED_S, LATER_S, LAST_S = 0.0, 1.0, 2.0, 3.0


def since(status: Status, at_s: float, **changed: object) -> Recording:
    return replace(STARTED, status=status, updated_at=utc(at(at_s)), **changed)  # type: ignore[arg-type]


def agreed(journal: Recording, row: Recording, *, turned_s: float = BEGAN_S) -> Agreement:
    return agree(journal, row, turned_us=at(turned_s), last_us=at(LAST_S))


@pytest.mark.parametrize(
    ("journal", "row", "turned_s", "status"),
    [
        pytest.param(STARTED, replace(STARTED, status=Status.ACCEPTED), BEGAN_S, Status.ONGOING, id="start, journal"),
        pytest.param(since(Status.PAUSED, TURNED_S), STARTED, TURNED_S, Status.PAUSED, id="pause, journal first"),
        pytest.param(
            since(Status.ONGOING, LATER_S), since(Status.PAUSED, TURNED_S), LATER_S, Status.ONGOING,
            id="resume, journal first",
        ),
        pytest.param(
            since(Status.PAUSED, TURNED_S), since(Status.ONGOING, LATER_S), TURNED_S, Status.PAUSED,
            id="resume, row first",
        ),
        pytest.param(
            since(Status.COMPLETED, LATER_S, ended_at=utc(at(LATER_S))), since(Status.PAUSED, TURNED_S), TURNED_S,
            Status.COMPLETED, id="stop, journal first",
        ),
        pytest.param(
            since(Status.PAUSED, TURNED_S), since(Status.PAUSED, TURNED_S), TURNED_S, Status.PAUSED, id="the same",
        ),
        pytest.param(
            since(Status.ONGOING, TURNED_S), replace(STARTED, status=Status.PAUSED, updated_at=None), LAST_S,
            Status.ONGOING, id="a row of before it had the moment",
        ),
    ],
)  # fmt: skip
def test_the_journal_is_right_where_it_knows_as_much_or_is_stricter(
    journal: Recording, row: Recording, turned_s: float, status: Status
) -> None:
    agreement = agreed(journal, row, turned_s=turned_s)

    assert agreement == Agreement(journal)
    assert agreement.recording.status is status


def test_a_pause_that_only_the_row_has_counts_since_then_and_as_it_was_asked_for() -> None:
    options = replace(STARTED.options, pause_behavior=PauseBehavior.SILENCE)

    agreement = agreed(STARTED, since(Status.PAUSED, LATER_S, options=options))

    assert agreement.pause is not None
    assert (agreement.pause.since_us, agreement.pause.behavior) == (at(LATER_S), PauseBehavior.SILENCE)
    assert agreement.stop is None
    assert (agreement.recording.status, agreement.recording.updated_at) == (Status.PAUSED, utc(at(LATER_S)))
    assert agreement.recording.options.pause_behavior is PauseBehavior.SILENCE


def test_a_pause_of_unknown_time_counts_from_the_end_of_the_journal() -> None:
    agreement = agreed(STARTED, replace(STARTED, status=Status.PAUSED, updated_at=None))

    assert agreement.pause is not None
    assert agreement.pause.since_us == at(LAST_S)


def test_a_pause_that_only_the_row_has_is_kept_out_of_a_recording_that_was_stopped_then() -> None:
    stopped = since(Status.COMPLETED, LAST_S, ended_at=utc(at(LAST_S)))

    agreement = agreed(stopped, since(Status.PAUSED, LATER_S))

    assert agreement.recording == stopped
    assert agreement.pause is not None


@pytest.mark.parametrize(("ended_s", "end_s"), [(LATER_S, LATER_S), (LAST_S + 5, LAST_S)])
def test_a_stop_that_only_the_row_has_ends_the_recording_then_or_where_the_journal_does(
    ended_s: float, end_s: float
) -> None:
    row = since(Status.COMPLETED, ended_s, ended_at=utc(at(ended_s)), end_reason=EndReason.STOPPED)

    agreement = agreed(STARTED, row)

    assert agreement.stop is not None
    assert (agreement.stop.reason, agreement.stop.end_us) == (EndReason.STOPPED, at(end_s))
    assert agreement.stop.since_us == at(end_s)
