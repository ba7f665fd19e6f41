"""What a node of a cluster needs beside a NATS is asked for in one line each, before anything is connected to."""

from __future__ import annotations

from typing import Any

import pytest

from wavstream.cluster import start_checks
from wavstream.cluster.start_checks import check_driver, check_settings
from wavstream.errors import OperatorError
from wavstream.settings import Settings

CLUSTER = {"nats_url": "nats://127.0.0.1:4222"}
WHOLE: dict[str, Any] = {
    "cluster": CLUSTER,
    "catalog": {"url": "postgresql://wavstream@db/calls"},
    "storage": {"url": "s3://calls"},
    "master_key": "00" * 32,
}


def complaints(**changed: Any) -> list[str]:
    with pytest.raises(OperatorError) as error:
        check_settings(Settings(**WHOLE | changed))
    return str(error.value).splitlines()


def test_a_node_with_all_that_it_needs_is_let_through_and_one_alone_is_asked_for_nothing() -> None:
    check_settings(Settings(**WHOLE))
    check_settings(Settings())
    check_settings(Settings(workers=4))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"catalog": {}}, "set WAVSTREAM_CATALOG__URL to a PostgreSQL database"),
        ({"storage": {}}, "set WAVSTREAM_STORAGE__URL to a bucket"),
        ({"master_key": None}, "set WAVSTREAM_MASTER_KEY, the same on all"),
        ({"workers": 2}, "set WAVSTREAM_WORKERS to 1, and run more nodes on this machine"),
        ({"workers": "auto"}, "set WAVSTREAM_WORKERS to 1, and run more nodes on this machine"),
        (
            {"cluster": CLUSTER | {"user": "a", "token": "b"}},
            "WAVSTREAM_CLUSTER__USER and WAVSTREAM_CLUSTER__TOKEN are both set: leave one of them out",
        ),
        ({"cluster": CLUSTER | {"password": "b"}}, "is set without a user: set WAVSTREAM_CLUSTER__USER"),
        ({"cluster": CLUSTER | {"tls_key": "b"}}, "is set without its certificate: set WAVSTREAM_CLUSTER__TLS_CERT"),
        (
            {"cluster": CLUSTER | {"tail_age_s": 100, "segment_s": 60}},
            "set it to at least 120, twice WAVSTREAM_CLUSTER__SEGMENT_S",
        ),
    ],
)
def test_each_thing_that_a_node_lacks_is_one_line_that_says_what_to_do(changed: dict[str, Any], named: str) -> None:
    (line,) = complaints(**changed)

    assert named in line


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(complaints(catalog={}, storage={}, master_key=None, workers=2)) == 4


def test_a_driver_that_is_not_installed_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start_checks, "find_spec", lambda _: None)

    with pytest.raises(OperatorError) as error:
        check_driver()

    assert str(error.value) == (
        "WAVSTREAM_CLUSTER__NATS_URL names a NATS, and what speaks to it is not installed: "
        "pip install 'wavstream[cluster]'"
    )
