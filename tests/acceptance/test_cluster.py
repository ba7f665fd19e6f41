"""Any node answers: real nodes with one NATS, one PostgreSQL and one bucket, and the files are listened to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from tests.support.nodes import cluster
from tests.support.recorder import hear
from tests.support.talking import RATE_HZ, say
from tests.support.tones import tone
from tests.support.weed import Weed


async def test_a_call_whose_legs_land_on_two_nodes_is_one_recording_that_any_node_answers_for(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed) as (nodes, _):
        a, b, c = (nodes[name] for name in "abc")
        caller, agent = tone(440, 3.0), tone(950, 3.0)
        recording = await c.start("call-1", channels="stereo")
        async with a.connect("/media/pcm/call-1/caller") as one, b.connect("/media/pcm/call-1/agent") as two:
            await asyncio.gather(say(one, caller), say(two, agent))
            for each in (a, b, c):
                await each.until_received("call-1", len(caller) * 1000 // RATE_HZ, legs=2)
                listed = (await each.http.get("/v1/sessions")).json()
                assert [session["session_id"] for session in listed["data"]] == ["call-1"]
                assert "workers_left_out" not in listed
            assert (await a.get(recording))["status"] == "ongoing"
            await b.act(recording, "pause")
            await a.act(recording, "resume")
            stopped = await a.act(recording, "stop")
        assert stopped["status"] == "available"
        for each in (a, b, c):
            answer = await each.http.get(stopped["url"].replace(c.base_url, each.base_url), follow_redirects=True)
            assert answer.status_code == 200
            samples, _ = hear(answer.content)
            assert samples.shape[1] == 2
            assert np.abs(samples).max() > 4000
