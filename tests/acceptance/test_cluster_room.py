"""Calls that reach a node without room are recorded at one that has it: real nodes, disks that are said to be full."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_all_workers import metrics
from tests.support.nodes import cluster, owner_of
from tests.support.recorder import Recorder, close_code
from tests.support.talking import say
from tests.support.tones import tone
from tests.support.waiting import until
from tests.support.weed import Weed

MORE_THAN_ANY_DISK = 1 << 60


async def knows(node: Recorder, count: int) -> bool:
    return (await metrics(node))["cluster_nodes"] == count


async def test_calls_at_a_node_with_a_full_disk_go_to_one_with_room_as_soon_as_there_is_one(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, starts=False) as (nodes, _):
        await nodes.start("a", "b", limits__min_free_bytes=MORE_THAN_ANY_DISK)
        a, b = nodes["a"], nodes["b"]

        # Nobody has room: it is refused in the node's own words, and nobody keeps a claim.
        for node in (a, b):
            refused = await node.http.post("/v1/recordings", json={"session_id": "started"})
            assert refused.status_code == 503
            assert "limits.min_free_bytes" in refused.json()["detail"]
            async with node.connect("/media/pcm/streamed/caller?record=1") as socket:
                code, reason = await close_code(socket)
            assert code == 1013
            assert "limits.min_free_bytes" in str(reason)

        await nodes.start("c", limits__min_free_bytes=0)
        await until(lambda: knows(a, 3))
        announced = await a.http.post("/v1/sessions", json={"session_id": "announced"})
        assert announced.status_code == 201
        assert announced.json()["media_url"] == nodes["c"].base_url.replace("http", "ws")
        await a.start("started")
        async with a.connect("/media/pcm/streamed/caller?record=1") as socket:
            await say(socket, tone(440, 0.5))
            await nodes["c"].until_received("streamed", 400)
            for session_id in ("started", "streamed"):
                assert await owner_of(nodes, session_id) == "c"
