"""The settings of a cluster: which servers, what a node is called, and where the others reach it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wavstream.settings.cluster import ClusterSettings, split_place


def test_without_a_nats_there_is_no_cluster() -> None:
    assert ClusterSettings().servers == ()


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("nats://a:4222", ("nats://a:4222",)),
        ("tls://a:4222/, tls://[fd00::1]:4222,", ("tls://a:4222", "tls://[fd00::1]:4222")),
        (["nats://a", "nats://b:1"], ("nats://a", "nats://b:1")),
    ],
)
def test_servers_may_be_several(given: Any, servers: tuple[str, ...]) -> None:
    assert ClusterSettings(nats_url=given).servers == servers


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("nats_url", "http://a:4222", "must be nats://host:4222 or tls://host:4222"),
        ("nats_url", "a:4222", "must be nats://host:4222"),
        ("nats_url", "nats://a:x", "must be nats://host:4222"),
        ("nats_url", "nats://a:4222/x", "must be nats://host:4222"),
        ("nats_url", "nats://", "must be nats://host:4222"),
        ("nats_url", ",", "must name one server at least"),
        ("nats_url", "nats://a,tls://b", "all with nats:// or all with tls://"),
        ("nats_url", "nats://u:p@a:4222", "they are cluster.user and cluster.password"),
        ("node", "a.b", "String should match pattern"),
        ("node", "-a", "String should match pattern"),
        ("name", "a b", "String should match pattern"),
        ("listen", "8090", "must be a host and a port"),
        ("listen", "a:0", "must be a host and a port"),
        ("listen", "a:65536", "must be a host and a port"),
        ("address", "a b:1", "must be a host and a port"),
        ("address", "fd00:::5:1", "must be a host and a port"),
        ("replicas", 6, "less than or equal to 5"),
        ("lease_s", 1.9, "greater than or equal to 2"),
        ("shards", 65, "less than or equal to 64"),
    ],
)
def test_what_is_wrong_is_told(name: str, wrong: Any, said: str) -> None:
    with pytest.raises(ValidationError, match="1 validation error") as error:
        ClusterSettings.model_validate({name: wrong})

    assert said in str(error.value)


def test_a_node_is_called_as_its_machine_where_nobody_says_otherwise() -> None:
    assert ClusterSettings(node="b-1").node_name("machine.example.com") == "b-1"
    assert ClusterSettings().node_name("rec_1.example.com") == "rec_1"
    assert ClusterSettings().node_name("--\u00e4\u00f6") == "node"


@pytest.mark.parametrize(
    ("settings", "reached"),
    [
        ({}, "machine.example.com:8090"),
        ({"listen": "[::]:9000"}, "machine.example.com:9000"),
        ({"listen": "10.0.0.5:9000"}, "10.0.0.5:9000"),
        ({"listen": "0.0.0.0:9000", "address": "[fd00::5]:9001"}, "[fd00::5]:9001"),
    ],
)
def test_the_others_reach_a_node_where_it_listens(settings: dict[str, Any], reached: str) -> None:
    assert ClusterSettings.model_validate(settings).reached_at("machine.example.com") == reached


def test_a_place_is_a_host_and_a_port() -> None:
    assert split_place("[fd00::5]:9001") == ("fd00::5", 9001)
    assert split_place("a:1") == ("a", 1)
