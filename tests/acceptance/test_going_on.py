"""A call goes on at another node before what was said there is read: what happens in between loses nothing either."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from tests.acceptance.test_take_over import LEGS, kill_under_a_call, talk
from tests.support.kills import heard_of
from tests.support.nodes import cluster
from tests.support.recorder import hear
from tests.support.speech import noise
from tests.support.waiting import until
from tests.support.weed import Weed


async def test_a_taker_that_is_killed_before_it_has_joined_and_started_again_has_all_of_the_call(
    tmp_path: Path, weed: Weed
) -> None:
    lengths_s = (3.0, 0.6, 1.0)  # what was before is joined a second after the call goes on
    said = [{leg: noise(s, seed=10 * turn + at) for at, leg in enumerate(LEGS)} for turn, s in enumerate(lengths_s)]
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        safe = await kill_under_a_call(nodes, "a", said[0])
        call = await talk(nodes["b"], said[1])
        await nodes.kill("b")
        for socket in call["sockets"].values():
            socket.transport.abort()
        await nodes.start("b")
        call = await talk(nodes["b"], said[2])
        for socket in call["sockets"].values():
            await socket.close()
        done = await nodes["b"].until(recording)
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
        assert (await nodes["b"].http.get("/readyz")).status_code == 200
        process = nodes.nodes["b"]
        assert await nodes.stop("b") == 0
        assert not [line for line in process.last_words if "journal_write_failing" in line]
    assert done["end_reason"] == "hangup"
    for channel, leg in enumerate(LEGS):
        for turn, part in enumerate(said):
            least = (safe[leg], 1600, len(part[leg]))[turn]
            assert heard_of(samples[:, channel], part[leg]) >= least > 0, (leg, turn)


async def test_recordings_that_begin_or_end_while_what_was_before_is_joined_have_their_files(
    tmp_path: Path, weed: Weed
) -> None:
    before = {leg: noise(2.5, seed=number) for number, leg in enumerate(LEGS, 1)}
    after = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 3)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        whole = await nodes["a"].start("call-77", channels="stereo")
        # As a digit or a mark of the journal would look, which the outline leaves out.
        stopped = await nodes["a"].start("call-77", channels="stereo", metadata={"type": "mark"})
        safe = await kill_under_a_call(nodes, "a", before)
        talking = asyncio.create_task(talk(nodes["b"], after))

        async def goes_on() -> bool:
            live = (await nodes["b"].http.get("/v1/sessions")).json()["data"]
            return any(len(each["streams"]) == len(LEGS) for each in live)

        await until(goes_on)
        begun = await nodes["b"].start("call-77", channels="stereo")
        await nodes["b"].act(stopped, "stop")
        call = await talking
        for socket in call["sockets"].values():
            await socket.close()
        heard = {}
        for recording in (whole, stopped, begun):
            done = await nodes["b"].until(recording)
            content = (await nodes["b"].http.get(done["url"], follow_redirects=True)).content
            heard[recording["id"]] = hear(content)[0]
    for channel, leg in enumerate(LEGS):
        for recording in (whole, stopped):
            assert heard_of(heard[recording["id"]][:, channel], before[leg]) >= safe[leg] > 0
        assert heard_of(heard[whole["id"]][:, channel], after[leg]) == len(after[leg])
        of_begun = np.ascontiguousarray(heard[begun["id"]][:, channel])
        assert heard_of(of_begun, after[leg][-8000:]) == 8000
