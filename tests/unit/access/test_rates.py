"""The limits on wrong keys and on requests, in virtual time."""

from __future__ import annotations

import pytest

from wavstream.access.rates import Allowance, FailureLimit, RequestLimit
from wavstream.errors import LimitReached


def test_an_address_is_refused_after_its_last_allowed_failure_until_its_window_ends() -> None:
    limit = FailureLimit(failures=3, window_s=60)
    for second in (0, 10, 20):
        limit.check("a", second)
        limit.failed("a", second)
    with pytest.raises(LimitReached) as raised:
        limit.check("a", 20.5)
    assert raised.value.retry_after_s == 40
    with pytest.raises(LimitReached) as raised:
        limit.check("a", 59.999)
    assert raised.value.retry_after_s == 1
    limit.check("a", 60)


def test_a_new_window_opens_with_the_next_failure() -> None:
    limit = FailureLimit(failures=2, window_s=60)
    for second in (0, 1, 100):
        limit.failed("a", second)
    limit.check("a", 100)
    limit.failed("a", 101)
    with pytest.raises(LimitReached):
        limit.check("a", 159)


def test_another_address_is_not_refused() -> None:
    limit = FailureLimit(failures=1)
    limit.failed("a", 0)
    limit.check("b", 0)


def test_of_too_many_addresses_the_oldest_window_is_forgotten() -> None:
    limit = FailureLimit(failures=1, addresses=2)
    for second, address in enumerate("abc"):
        limit.failed(address, second)
    limit.check("a", 3)
    for address in "bc":
        with pytest.raises(LimitReached):
            limit.check(address, 3)


def test_requests_are_counted_in_fixed_windows_by_caller() -> None:
    limit = RequestLimit(window_s=60)
    assert limit.take("a", 2, 0) == Allowance(limit=2, remaining=1, reset_s=60, exceeded=False)
    assert limit.take("a", 2, 30.5) == Allowance(limit=2, remaining=0, reset_s=30, exceeded=False)
    assert limit.take("a", 2, 59.9) == Allowance(limit=2, remaining=0, reset_s=1, exceeded=True)
    assert limit.take("b", 2, 59.9) == Allowance(limit=2, remaining=1, reset_s=60, exceeded=False)
    assert limit.take("a", 2, 60) == Allowance(limit=2, remaining=1, reset_s=60, exceeded=False)


def test_a_limit_that_was_lowered_leaves_nothing() -> None:
    limit = RequestLimit(window_s=60)
    for _ in range(3):
        limit.take("a", 5, 0)
    assert limit.take("a", 2, 1) == Allowance(limit=2, remaining=0, reset_s=59, exceeded=True)


def test_of_too_many_callers_the_oldest_window_is_forgotten() -> None:
    limit = RequestLimit(window_s=60, callers=2)
    for second, caller in enumerate("abc"):
        limit.take(caller, 1, second)
    assert [limit.take(caller, 1, 3).exceeded for caller in "cba"] == [True, True, False]
