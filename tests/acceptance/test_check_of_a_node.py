"""``serve --check`` with the settings of a node: beside a cluster that runs, which hears nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.test_all_workers import metrics
from tests.support.nats import free_ports
from tests.support.nodes import Cluster, cluster
from tests.support.weed import Weed


def check(nodes: Cluster, name: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Check a start of this node; ``more``: settings of its own, as variables without their prefix."""
    port, listen = free_ports(2)
    given = {"PORT": str(port), "CLUSTER__NODE": name, "CLUSTER__LISTEN": f"127.0.0.1:{listen}"} | more
    own = {f"WAVSTREAM_{key}": text for key, text in given.items()}
    return subprocess.run(
        [sys.executable, "-m", "wavstream", "serve", "--check"],
        env={**os.environ, **nodes.environment(name), **own},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_node_beside_those_that_run_is_said_to_start_and_joins_nobody(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a") as (nodes, nats):
        said = check(nodes, "b")
        assert (said.returncode, said.stderr) == (0, "")
        assert f"node b of cluster wavstream: NATS at {nats.url.removeprefix('nats://')} can be used" in said.stdout
        assert said.stdout.endswith("a start would succeed\n")
        assert (await metrics(nodes["a"]))["cluster_nodes"] == 1
        assert not (tmp_path / "b").exists()

        said = check(nodes, "a", CLUSTER__LISTEN=nodes.listens("a"))
        assert (said.returncode, said.stderr) == (0, "")
        assert "a start would succeed once that server is stopped" in said.stdout


async def test_what_a_start_of_a_node_would_refuse_its_check_refuses(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a") as (nodes, _):
        for more, told in (
            ({"CLUSTER__NATS_URL": f"nats://127.0.0.1:{free_ports(1)[0]}"}, "WAVSTREAM_CLUSTER__NATS_URL"),
            ({"CLUSTER__REPLICAS": "3"}, "WAVSTREAM_CLUSTER__REPLICAS"),
            ({"CLUSTER__LISTEN": nodes.listens("a")}, "cluster.listen: "),
            ({"WORKERS": "2"}, "set WAVSTREAM_WORKERS to 1"),
        ):
            said = check(nodes, "b", **more)
            assert said.returncode == 2
            assert told in said.stderr
