from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.hostile_http import NO_DATES
from wavstream.api.conditions import Validators, Verdict

FILE = Validators('"abc"', datetime(2026, 11, 1, 10, tzinfo=UTC))
BEFORE, SAME, AFTER = (f"Sun, 01 Nov 2026 {time} GMT" for time in ("09:59:59", "10:00:00", "10:00:01"))
SEND, NOT_MODIFIED, FAILED = Verdict.SEND, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED


def test_the_date_is_written_as_http_wants_it() -> None:
    assert FILE.last_modified == SAME


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, SEND),
        ({"if-none-match": '"abc"'}, NOT_MODIFIED),
        ({"if-none-match": 'W/"abc"'}, NOT_MODIFIED),
        ({"if-none-match": '"x", "abc"'}, NOT_MODIFIED),
        ({"if-none-match": "*"}, NOT_MODIFIED),
        ({"if-none-match": '"x"'}, SEND),
        ({"if-none-match": "abc"}, SEND),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, SEND),
        ({"if-modified-since": BEFORE}, SEND),
        ({"if-modified-since": SAME}, NOT_MODIFIED),
        ({"if-modified-since": AFTER}, NOT_MODIFIED),
        ({"if-modified-since": "yesterday"}, SEND),
        ({"if-modified-since": "Sun, 01 Nov 2026 10:00:00 -0000"}, NOT_MODIFIED),
        ({"if-modified-since": "Sun, 99 Nov 2026 10:00:00 GMT"}, SEND),
        ({"if-match": '"abc"'}, SEND),
        ({"if-match": "*"}, SEND),
        ({"if-match": '"x"'}, FAILED),
        ({"if-match": 'W/"abc"'}, FAILED),
        ({"if-match": '"abc"', "if-unmodified-since": BEFORE}, SEND),
        ({"if-match": '"abc"', "if-none-match": '"abc"'}, NOT_MODIFIED),
        ({"if-unmodified-since": BEFORE}, FAILED),
        ({"if-unmodified-since": SAME}, SEND),
        ({"if-unmodified-since": "soon"}, SEND),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(headers: dict[str, str], verdict: Verdict) -> None:
    assert FILE.judge(headers) is verdict


@pytest.mark.parametrize(
    ("if_range", "allowed"),
    [
        (None, True),
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"x"', False),
        (SAME, True),
        (AFTER, False),
        (BEFORE, False),
        ("abc", False),
    ],
)
def test_a_range_counts_only_for_the_very_file_that_if_range_names(if_range: str | None, allowed: bool) -> None:
    assert FILE.allow_range(if_range) is allowed


@pytest.mark.parametrize("date", NO_DATES, ids=lambda date: date[:40])
def test_a_date_that_is_none_is_as_if_it_was_not_sent(date: str) -> None:
    assert FILE.judge({"if-modified-since": date}) is SEND
    assert FILE.judge({"if-unmodified-since": date}) is SEND
    assert FILE.allow_range(date) is False
