"""A node dies under a call, and another goes on with it: real nodes, one NATS, one PostgreSQL, one bucket."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.acceptance.test_all_workers import metrics
from tests.support.kills import Noted, Watch, heard_of
from tests.support.nodes import Cluster, cluster
from tests.support.recorder import Recorder, hear
from tests.support.speech import noise
from tests.support.talking import speak
from tests.support.waiting import until
from tests.support.weed import Weed

LEGS = ("a", "b")


async def talk(client: Recorder, voices: dict[str, NDArray[np.int16]]) -> dict[str, Any]:
    """Connect both legs and let them speak to their end in real time; the sockets, which notice what was sent when."""
    sockets = {leg: await client.connect(f"/media/pcm/call-77/{leg}") for leg in voices}
    noted = {leg: Noted(socket) for leg, socket in sockets.items()}
    start_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(speak(noted[leg], voices[leg], start_s=start_s) for leg in voices))
    return {"sockets": sockets, "noted": noted}


async def until_copied(client: Recorder) -> None:
    """Wait until NATS has all that a node with one live call has recorded so far."""
    before: dict[str, float] = {}

    async def is_copied() -> bool:
        now = await metrics(client)
        told = before.setdefault("messages", now["cluster_tail_messages"])
        # The first message may have begun before; the live call has one behind it, with all that was there by then.
        return (
            now["cluster_tail_messages"] >= told + 2
            and not now["cluster_tail_bytes"]
            and not now["cluster_engine_away"]
        )

    await until(is_copied)


async def kill_under_a_call(nodes: Cluster, name: str, voices: dict[str, NDArray[np.int16]]) -> dict[str, int]:
    """Speak at this node, which has the session, then kill it; return how many samples of each leg have to be kept."""
    client = nodes[name]
    watch = Watch(client, "call-77")
    call = await talk(client, voices)
    await watch.stop()
    killed_s = asyncio.get_running_loop().time()
    await nodes.kill(name)
    for socket in call["sockets"].values():
        socket.transport.abort()
    return watch.safe(killed_s, call["noted"])


async def test_a_call_whose_node_is_killed_goes_on_at_another_in_one_file(tmp_path: Path, weed: Weed) -> None:
    before = {leg: noise(4.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    after = {leg: noise(1.5, seed=number) for number, leg in enumerate(LEGS, 3)}
    async with cluster(tmp_path, weed) as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        safe = await kill_under_a_call(nodes, "a", before)
        call = await talk(nodes["b"], after)
        for socket in call["sockets"].values():
            await socket.close()
        done = await nodes["c"].until(recording)
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
    assert done["end_reason"] == "hangup"
    for channel, leg in enumerate(LEGS):
        assert heard_of(samples[:, channel], before[leg]) >= safe[leg] > 0
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])
    (told,) = done["integrity"]["take_overs"]
    assert (told["from_node"], told["to_node"]) == ("a", "b")
    assert set(told["missing_ms"]) == set(LEGS)


async def test_a_call_that_nobody_comes_back_to_is_recovered_by_another_node(tmp_path: Path, weed: Weed) -> None:
    voices = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    async with cluster(tmp_path, weed, "a", "b", reconnect_wait_s=1) as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        safe = await kill_under_a_call(nodes, "a", voices)
        done = await nodes["b"].until(recording)
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
    assert done["end_reason"] == "recovered"
    for channel, leg in enumerate(LEGS):
        assert heard_of(samples[:, channel], voices[leg]) >= safe[leg] > 0


async def test_a_node_that_stood_still_writes_nothing_into_what_another_has_taken(tmp_path: Path, weed: Weed) -> None:
    before = {leg: noise(2.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    after = {leg: noise(1.5, seed=number) for number, leg in enumerate(LEGS, 3)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        call = await talk(nodes["a"], before)
        nodes.nodes["a"].freeze()
        for socket in call["sockets"].values():
            socket.transport.abort()
        second = await talk(nodes["b"], after)
        nodes.nodes["a"].thaw()
        for socket in second["sockets"].values():
            await socket.close()
        done = await nodes["b"].until(recording)
        assert await nodes.stop("a") == 0
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
        left = [path for path in (tmp_path / "a" / "recordings").rglob("*") if path.is_file()]
    assert not left
    assert done["end_reason"] == "hangup"
    for channel, leg in enumerate(LEGS):
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])


async def test_three_nodes_are_killed_one_after_the_other_under_a_call_that_is_one_file(
    tmp_path: Path, weed: Weed
) -> None:
    said = [{leg: noise(6.0, seed=10 * turn + number) for number, leg in enumerate(LEGS)} for turn in range(4)]
    async with cluster(tmp_path, weed, cluster__segment_s=10) as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        safe = []
        for turn, name in enumerate("abc"):
            safe.append(await kill_under_a_call(nodes, name, said[turn]))
            if name == "b":
                await nodes.start("a")  # it has a journal of its own, which is another's now
        call = await talk(nodes["a"], said[3])
        await nodes["a"].act(recording, "stop")
        for socket in call["sockets"].values():
            await socket.close()
        done = await nodes["a"].until(recording)
        samples, _ = hear((await nodes["a"].http.get(done["url"], follow_redirects=True)).content)
    told = done["integrity"]["take_overs"]
    assert [(each["from_node"], each["to_node"]) for each in told] == [("a", "b"), ("b", "c"), ("c", "a")]
    for channel, leg in enumerate(LEGS):
        for turn in range(3):
            assert heard_of(samples[:, channel], said[turn][leg]) >= safe[turn][leg] > 0
        assert heard_of(samples[:, channel], said[3][leg]) == len(said[3][leg])


async def test_a_file_that_was_in_no_bucket_yet_is_made_again_by_another_node_with_the_same_bytes(
    tmp_path: Path, weed: Weed
) -> None:
    voices = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        a_url = nodes["a"].base_url
        recording = await nodes["a"].start("call-77", channels="stereo")
        call = await talk(nodes["a"], voices)
        weed.freeze()
        try:
            stopped = await nodes["a"].act(recording, "stop")
            assert stopped["status"] == "available"
            await nodes.kill("a")
            for socket in call["sockets"].values():
                socket.transport.abort()
        finally:
            weed.thaw()
        b = nodes["b"]

        async def fetched() -> bytes | None:
            answer = await b.http.get(stopped["url"].replace(a_url, b.base_url), follow_redirects=True)
            if answer.status_code != 200:
                assert (answer.status_code, answer.headers.get("retry-after")) == (503, "2"), answer.text
                assert (await b.get(recording))["status"] == "available"
            return answer.content if answer.status_code == 200 else None

        content = await until(fetched)
        assert content is not None
        done = await b.get(recording)
        process = nodes.nodes["b"]
        await nodes.stop("b")
        assert not [each for each in process.last_words if "recording_file_missing" in each]
    samples, _ = hear(content)
    assert done["audio_sha256"] == stopped["audio_sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()
    assert done["integrity"] == stopped["integrity"]


async def test_what_is_said_while_nats_is_away_is_there_after_a_kill(tmp_path: Path, weed: Weed) -> None:
    first = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    second = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 3)}
    third = {leg: noise(2.0, seed=number) for number, leg in enumerate(LEGS, 5)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, nats):
        recording = await nodes["a"].start("call-77", channels="stereo")
        sockets = {leg: await nodes["a"].connect(f"/media/pcm/call-77/{leg}") for leg in LEGS}

        async def both(voices: dict[str, NDArray[np.int16]]) -> None:
            await asyncio.gather(*(speak(sockets[leg], voices[leg]) for leg in LEGS))

        await both(first)
        nats.kill()
        await both(second)
        await nodes["a"].start("call-77")  # answered without
        nats.start()
        await both(third)
        await nodes["a"].until_received("call-77", 8_000, legs=2)
        await until_copied(nodes["a"])
        await nodes.kill("a")
        for socket in sockets.values():
            socket.transport.abort()
        again = await talk(nodes["b"], {leg: noise(0.5, seed=7) for leg in LEGS})
        await nodes["b"].act(recording, "stop")
        for socket in again["sockets"].values():
            await socket.close()
        done = await nodes["b"].until(recording)
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
    for channel, leg in enumerate(LEGS):
        for voices in (first, second, third):
            assert heard_of(samples[:, channel], voices[leg]) == len(voices[leg])


async def test_a_call_is_taken_over_while_the_bucket_is_away(tmp_path: Path, weed: Weed) -> None:
    before = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    after = {leg: noise(1.5, seed=number) for number, leg in enumerate(LEGS, 3)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        weed.freeze()
        try:
            safe = await kill_under_a_call(nodes, "a", before)
            call = await talk(nodes["b"], after)
            for socket in call["sockets"].values():
                await socket.close()
            done = await nodes["b"].until(recording)
        finally:
            weed.thaw()
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
    for channel, leg in enumerate(LEGS):
        assert heard_of(samples[:, channel], before[leg]) >= safe[leg] > 0
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])


async def test_a_node_that_is_killed_and_started_again_loses_no_more_than_one_that_is_alone(
    tmp_path: Path, weed: Weed
) -> None:
    before = {leg: noise(3.0, seed=number) for number, leg in enumerate(LEGS, 1)}
    after = {leg: noise(1.5, seed=number) for number, leg in enumerate(LEGS, 3)}
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        safe = await kill_under_a_call(nodes, "a", before)
        await nodes.start("a")
        call = await talk(nodes["a"], after)
        for socket in call["sockets"].values():
            await socket.close()
        done = await nodes["b"].until(recording)
        samples, _ = hear((await nodes["b"].http.get(done["url"], follow_redirects=True)).content)
    # On a machine that takes 10 s for a start it was the other node's turn.
    assert [each["to_node"] for each in done["integrity"]["take_overs"]] in ([], ["b"])
    assert done["end_reason"] == "hangup"
    for channel, leg in enumerate(LEGS):
        assert heard_of(samples[:, channel], before[leg]) >= safe[leg] > 0
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])


async def test_what_a_node_hands_over_on_purpose_is_no_warning_when_it_goes_nor_when_it_is_back(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("call-77", channels="stereo")
        call = await talk(nodes["a"], {leg: noise(1.0, seed=number) for number, leg in enumerate(LEGS)})
        runs = [nodes.nodes["a"]]
        assert await nodes.stop("a") == 0
        for socket in call["sockets"].values():
            await socket.wait_closed()
        second = await talk(nodes["b"], {leg: noise(1.0, seed=number) for number, leg in enumerate(LEGS, 3)})

        await nodes.start("a")
        runs.append(nodes.nodes["a"])
        for socket in second["sockets"].values():
            await socket.close()
        await nodes["b"].until(recording)
        assert await nodes.stop("a") == 0
    told = [json.loads(line) for each in runs for line in each.last_words] + runs[1].said
    assert [each for each in told if each["level"] in ("warning", "error")] == []
    assert {each["session_id"] for each in told if each["event"] == "session_handed_over"} == {"call-77"}
