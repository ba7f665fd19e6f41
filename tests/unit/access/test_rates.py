"""The limits on wrong keys and on requests, in virtual time."""

from __future__ import annotations

import pytest

from wavstream.access.rates import Allowance, FailureLimit, RequestLimit


def begin(limit: FailureLimit, address: str, now: float) -> int | None:
    """Begin an attempt; return in how many seconds it may be tried again if it fails."""
    refused = limit.begin(address, now)
    return None if refused is None else refused.retry_after_s


def test_an_address_is_refused_after_its_last_allowed_failure_until_its_window_ends() -> None:
    limit = FailureLimit(failures=3, window_s=60)
    assert [begin(limit, "a", second) for second in (0, 10, 20, 20.5, 59.999, 60)] == [None, None, None, 40, 1, None]


def test_a_new_window_opens_with_the_next_failure() -> None:
    limit = FailureLimit(failures=2, window_s=60)
    assert [begin(limit, "a", second) for second in (0, 1, 100, 101, 159)] == [None, None, None, None, 1]


def test_attempts_that_did_not_fail_are_not_counted() -> None:
    limit = FailureLimit(failures=1)
    for _ in range(3):
        assert begin(limit, "a", 0) is None
        limit.forgive("a", 0)
    limit.forgive("a", 0)
    limit.forgive("unknown", 0)
    assert [begin(limit, "a", 0) is None for _ in range(2)] == [True, False]


def test_another_address_is_not_refused() -> None:
    limit = FailureLimit(failures=1)
    assert [begin(limit, address, 0) is None for address in ("a", "a", "b")] == [True, False, True]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("198.51.100.7", "::ffff:198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
    ],
)
def test_an_ipv6_address_is_counted_by_its_64(first: str, second: str, is_one: bool) -> None:
    limit = FailureLimit(failures=1)
    begin(limit, first, 0)
    assert (begin(limit, second, 0) is not None) is is_one


def test_the_refusal_names_the_limit() -> None:
    limit = FailureLimit(failures=1, window_s=60)
    limit.begin("a", 0)
    assert "1 in 60 s" in str(limit.begin("a", 0))


def test_of_too_many_addresses_the_oldest_window_is_forgotten() -> None:
    limit = FailureLimit(failures=1, addresses=2)
    for second, address in enumerate("abc"):
        limit.begin(address, second)
    assert [begin(limit, address, 3) is None for address in "cba"] == [False, False, True]


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
