"""Quotas and shares: who is refused, when, and in which words."""

from __future__ import annotations

import pytest

from wavstream.errors import QuotaReached
from wavstream.sessions.quotas import Quota, Quotas

SESSIONS = Quota.SESSIONS


def shared(apps: int, *, has: int = 100, **own: int) -> Quotas:
    """Return the quotas of a server with so many apps and ``has`` sessions; ``own``: of the app ``shop``."""
    quotas = Quotas(server={SESSIONS: has}, of_apps={"shop": own})
    quotas.apps = apps
    return quotas


def is_refused(quotas: Quotas, app_id: str, used: int, used_by_all: int, quota: Quota = SESSIONS) -> bool:
    return quotas.refusal(quota, app_id, used=used, used_by_all=used_by_all) is not None


def test_a_quota_of_its_own_bounds_an_app_that_is_alone() -> None:
    quotas = shared(1, sessions=10)
    assert [is_refused(quotas, "shop", used, used) for used in (9, 10, 11)] == [False, True, True]
    assert not is_refused(quotas, "other", 50, 50)


def test_a_quota_of_its_own_wins_over_that_of_all_and_over_the_share() -> None:
    quotas = Quotas(
        server={SESSIONS: 100}, defaults={SESSIONS: 5}, of_apps={"shop": {SESSIONS: 90}, "free": {SESSIONS: 0}}
    )
    quotas.apps = 10
    assert is_refused(quotas, "other", 5, 5)
    assert not is_refused(quotas, "shop", 89, 99)
    assert not is_refused(quotas, "free", 60, 60)  # 0: its share, which nobody wants the rest of


def test_a_quota_is_that_of_the_name_also_for_an_app_that_has_it_after_another() -> None:
    assert shared(1, sessions=2).of(SESSIONS, "shop.2") == 2


def test_the_only_app_has_all_of_the_server() -> None:
    assert not is_refused(shared(0), "shop", 99, 99)
    assert not is_refused(shared(1), "shop", 99, 99)


def test_one_of_several_apps_has_most_of_an_idle_server_and_the_last_fifth_is_for_those_below_their_share() -> None:
    quotas = shared(4)  # a share of 25
    assert not is_refused(quotas, "shop", 79, 79)
    assert is_refused(quotas, "shop", 80, 80)
    assert not is_refused(quotas, "other", 24, 99)
    assert is_refused(quotas, "other", 25, 99)


def test_however_many_apps_there_are_one_that_has_nothing_gets_something() -> None:
    assert not is_refused(shared(1_000), "shop", 0, 99)


def test_nothing_is_refused_of_what_the_server_does_not_limit() -> None:
    quotas = shared(4)
    assert not is_refused(quotas, "shop", 10**12, 10**12, Quota.RECORDINGS_PER_SESSION)


def test_a_refusal_names_the_quota_or_the_limit_that_is_shared_with_its_value_and_is_counted() -> None:
    quotas = shared(4, sessions=10)
    with pytest.raises(QuotaReached, match=r"quotas\.sessions is 10\b"):
        quotas.check(SESSIONS, "shop", used=10, used_by_all=10)
    with pytest.raises(QuotaReached, match=r"limits\.sessions, 100 for 4 apps"):
        quotas.check(SESSIONS, "other", used=80, used_by_all=80)
    quotas.check(SESSIONS, "third", used=0, used_by_all=80)
    assert quotas.refused == {SESSIONS: 2}


def test_requests_are_counted_by_the_second_and_those_refused_are_not() -> None:
    quotas = Quotas(defaults={Quota.REQUESTS_PER_S: 3})
    for _ in range(3):
        quotas.take_request("shop", 10.0)
    for _ in range(50):
        with pytest.raises(QuotaReached, match=r"quotas\.requests_per_s is 3"):
            quotas.take_request("shop", 10.9)
    quotas.take_request("other", 10.9)
    for _ in range(3):
        quotas.take_request("shop", 11.0)


def test_an_app_that_floods_with_requests_leaves_room_for_the_others() -> None:
    quotas = Quotas(server={Quota.REQUESTS_PER_S: 100})
    quotas.apps = 2
    for _ in range(80):
        quotas.take_request("loud", 1.0)
    with pytest.raises(QuotaReached):
        quotas.take_request("loud", 1.0)
    for _ in range(20):
        quotas.take_request("quiet", 1.0)


def test_an_app_that_sends_too_much_audio_gets_no_new_stream_until_it_sends_less() -> None:
    quotas = Quotas(defaults={Quota.MEDIA_BYTES_PER_S: 1_000})
    for second in range(4):
        quotas.media.add("loud", 1_100, float(second))
        quotas.media.add("quiet", 900, float(second))
    quotas.take_stream("quiet", 4.0)
    with pytest.raises(QuotaReached, match=r"quotas\.media_bytes_per_s is 1000"):
        quotas.take_stream("loud", 4.0)
    quotas.take_stream("loud", 8.5)


def test_an_app_may_have_twice_as_many_sockets_as_streams() -> None:
    quotas = Quotas(defaults={Quota.STREAMS: 2})
    for _ in range(4):
        quotas.take_socket("shop")
    with pytest.raises(QuotaReached, match=r"quotas\.streams is 2"):
        quotas.take_socket("shop")
    quotas.take_socket("other")


def test_sockets_that_say_nothing_are_shared_too() -> None:
    quotas = Quotas(server={Quota.STREAMS: 10})
    quotas.apps = 2
    for _ in range(8):
        quotas.take_socket("loud")
    with pytest.raises(QuotaReached):
        quotas.take_socket("loud")
    quotas.take_socket("quiet")


def test_an_app_with_as_much_on_the_disk_as_it_may_gets_no_new_recording() -> None:
    quotas = Quotas(server={Quota.DISK_BYTES: 1_000}, of_apps={"shop": {Quota.DISK_BYTES: 100}})
    quotas.apps = 2
    quotas.disk = {"shop": 100, "loud": 750, "quiet": 40}
    with pytest.raises(QuotaReached, match=r"quotas\.disk_bytes is 100"):
        quotas.check_disk("shop")
    with pytest.raises(QuotaReached, match=r"share of the disk, 1000 for 2 apps"):
        quotas.check_disk("loud")
    quotas.check_disk("quiet")
