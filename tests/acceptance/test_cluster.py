"""Any node answers: real nodes with one NATS, one PostgreSQL and one bucket, and the files are listened to."""

from __future__ import annotations

import asyncio
import itertools
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.test_all_workers import metrics
from tests.acceptance.test_rolling_restart import drain
from tests.support.events import events
from tests.support.nodes import cluster, owner_of
from tests.support.postgres import shared_postgres
from tests.support.receiver import Receiver
from tests.support.recorder import Recorder, close_code, hear
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say, speak
from tests.support.tones import tone
from tests.support.waiting import WAIT_S, until
from tests.support.weed import Weed
from wavstream.catalog.once_lock import ONCE_LOCK
from wavstream.model.audio import Codec
from wavstream.simulator.caller import Leg


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
            assert answer.status_code == 200, (each.base_url, answer.text, answer.history)
            samples, _ = hear(answer.content)
            assert samples.shape[1] == 2
            assert np.abs(samples).max() > 4000


async def test_a_leg_that_is_relayed_for_seconds_loses_no_sample(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        a, b = nodes["a"], nodes["b"]
        recording = await a.start("call-1", channels="stereo")
        voices = {"caller": noise(6.0, seed=1), "agent": noise(6.0, seed=2)}
        async with a.connect("/media/pcm/call-1/caller") as own, b.connect("/media/pcm/call-1/agent") as relayed:
            start_s = asyncio.get_running_loop().time()
            await asyncio.gather(
                speak(own, voices["caller"], start_s=start_s), speak(relayed, voices["agent"], start_s=start_s)
            )
            await b.until_received("call-1", 6_000, legs=2)
            for name, relays in (("a", 0), ("b", 1)):
                assert (await metrics(nodes[name]))["relays"] == relays
            stopped = await b.act(recording, "stop")
        samples, _ = await a.listen(stopped)
        for channel, said in enumerate(voices.values()):
            heard = samples[:, channel]
            begin = int(np.argmax(np.correlate(heard.astype(float), said[:1_600].astype(float))))
            assert np.array_equal(heard[begin : begin + len(said)], said)


async def test_at_the_stop_of_a_node_the_streams_that_it_relays_are_closed_as_its_own_are(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        a, b = nodes["a"], nodes["b"]
        await b.start("call-1")
        async with (
            b.connect("/media/pcm/call-1/caller") as stays,
            a.connect("/media/pcm/call-1/agent") as relayed,
            a.connect("/media/pcm/call-2/caller") as own,
        ):
            await asyncio.gather(*(say(each, tone(440, 1.0)) for each in (stays, relayed, own)))
            await b.until_received("call-1", 1000, legs=2)
            await a.until_received("call-2", 1000, legs=1)
            assert await nodes.stop("a") == 0
            assert [await close_code(each) for each in (relayed, own)] == [(1012, "service restart")] * 2
            async with b.connect("/media/pcm/call-1/agent") as again:
                await say(again, tone(440, 1.0))
                await b.until_received("call-1", 1000, legs=2)


async def test_however_many_nodes_a_call_reaches_at_once_it_is_one_session(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed) as (nodes, _), AsyncExitStack() as stack:
        names = [f"call-{number}" for number in range(12)]

        async def connect(name: str, session_id: str) -> None:
            socket = await stack.enter_async_context(nodes[name].connect(f"/media/pcm/{session_id}/leg-{name}"))
            await say(socket, tone(440, 0.5))

        await asyncio.gather(*(connect(name, session_id) for session_id in names for name in "abc"))
        for session_id in names:
            for name in "abc":
                await nodes[name].until_received(session_id, 500, legs=3)
        listed = (await nodes["b"].http.get("/v1/sessions")).json()["data"]
        assert sorted(session["session_id"] for session in listed) == sorted(names)
        owners = {session_id: await owner_of(nodes, session_id) for session_id in names}
        assert set(owners.values()) <= set("abc")


async def test_a_list_goes_on_page_by_page_whichever_node_is_asked(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed) as (nodes, _):
        names = [f"call-{number}" for number in range(9)]
        for number, session_id in enumerate(names):
            http = nodes["abc"[number % 3]].http
            assert (await http.post("/v1/sessions", json={"session_id": session_id})).status_code == 201
        found, cursor, asked = [], None, itertools.cycle("abc")
        while True:
            query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
            page = (await nodes[next(asked)].http.get("/v1/sessions", params=query)).json()
            found += [session["session_id"] for session in page["data"]]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        assert found == names
        assert (await nodes["a"].http.get("/v1/sessions", params={"cursor": "nonsense"})).status_code == 422


async def test_a_stream_whose_first_message_names_the_session_goes_to_its_node(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        recording = await nodes["a"].start("CA1")
        said = np.stack((tone(440, 1.0), tone(950, 1.0)), 1)
        await nodes["b"].play_at_once("CA1", Leg("a", said, RATE_HZ, Codec.PCMU), dialect="twilio")
        for each in (nodes["a"], nodes["b"]):
            samples, rate_hz = await each.listen(recording)
            assert len(samples) / rate_hz > 0.9


async def test_live_audio_is_heard_at_any_node_and_who_reads_none_of_it_holds_up_nobody(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        a, b = nodes["a"], nodes["b"]
        recording = await a.start("call-1")
        said = noise(5.0, seed=3)
        path = f"/v1/recordings/{recording['id']}/live.wav"
        async with a.connect("/media/pcm/call-1/caller") as socket:
            await say(socket, tone(440, 0.2))
            await a.until_received("call-1", 200)
            # One who takes nothing, one who listens.
            _, writer = await asyncio.open_connection(*urlsplit(b.base_url).netloc.split(":"), limit=1)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await writer.drain()
            async with b.http.stream("GET", path) as live:
                assert live.status_code == 200
                heard = bytearray()

                async def listen() -> None:
                    async for piece in live.aiter_raw():
                        heard.extend(piece)

                listening = asyncio.create_task(listen())
                await speak(socket, said)
                await until(lambda: len(heard) > 2 * 4 * RATE_HZ)
                await a.act(recording, "stop")
                await asyncio.wait_for(listening, WAIT_S)
            writer.transport.abort()
        samples, _ = await b.listen(recording)
        assert len(samples) >= 5 * RATE_HZ


async def test_what_is_live_is_seen_at_any_node_and_quotas_and_readiness_are_each_nodes_own(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, "a", "b", quotas__recordings=1) as (nodes, _):
        a, b = nodes["a"], nodes["b"]
        recording = await a.start("call-1")
        async with a.connect("/media/pcm/call-1/caller") as socket, events(b.http) as seen:
            speaking = asyncio.create_task(speak(socket, noise(30.0, seed=4)))
            await seen.until(lambda told: told.codes("call-1") == [None])
            session = seen.sessions["call-1"]
            assert [each["id"] for each in session["recordings"]] == [recording["id"]]
            (track,) = session["legs"][0]["tracks"]
            await seen.until(lambda told: (told.meters.get(track["meter"]) or [0, None])[1] is not None)
            meter, rms, peak, *_ = seen.meters[track["meter"]]
            assert (meter, -30 < rms <= peak <= 0) == (track["meter"], True)
            speaking.cancel()
            socket.transport.abort()
            await seen.until(lambda told: told.codes("call-1") == ["away"])

        # The app is at its quota where its recording is, and another node has as much again.
        refused = await a.http.post("/v1/recordings", json={"session_id": "call-2"})
        assert (refused.status_code, "quotas.recordings is 1" in refused.text) == (429, True), refused.text
        await b.start("call-3")

        assert await drain(nodes, "b", "--wait", "0") == 0
        assert (await b.http.get("/readyz")).status_code == 503
        told = (await a.http.get("/readyz")).json()
        assert (told["ready"], told["reasons"]) == (True, [])


async def test_a_key_that_is_made_at_one_node_opens_at_all_and_ends_at_all(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        made = nodes.run("a", "apps", "add", "shop")
        (key,) = re.findall(r"\bwsk?_\S+", made)
        headers = {"Authorization": f"Bearer {key}"}
        for name in "ab":

            async def opens(name: str = name) -> bool:
                return (await nodes[name].http.get("/v1/recordings", headers=headers)).status_code == 200

            await until(opens)


async def test_a_node_with_another_master_key_does_not_start(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b", starts=False) as (nodes, _):
        await nodes.start("a")
        code, said = await nodes.made("b", master_key="another key than all the others have 0123456789").fail()
        assert code == 2
        assert "master key" in said


async def test_an_owner_that_stands_still_is_waited_for_and_then_who_asks_is_told_when_to_come_back(
    tmp_path: Path, weed: Weed
) -> None:
    async with cluster(tmp_path, weed, "a", "b", cluster__lease_s=60, cluster__claim_wait_s=1) as (nodes, _):
        recording = await nodes["a"].start("call-1")
        nodes.nodes["a"].freeze()
        try:
            answer = await nodes["b"].http.post(f"/v1/recordings/{recording['id']}/stop")
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["detail"].startswith("the node that has the session does not answer")
            with pytest.raises(InvalidStatus) as refused:
                await nodes["b"].connect("/media/pcm/call-1/caller")
            assert refused.value.response.status_code == 503
        finally:
            nodes.nodes["a"].thaw()

        async def stops() -> bool:
            return (await nodes["b"].http.post(f"/v1/recordings/{recording['id']}/stop")).status_code == 200

        await until(stops)


async def test_what_any_node_finishes_is_told_at_once_and_a_file_that_waits_for_the_bucket_comes_from_its_node(
    tmp_path: Path, weed: Weed
) -> None:
    key = "of-the-administrators"
    settings: dict[str, Any] = {"webhooks__allow_http": True, "webhooks__allow_localhost": True, "admin_api_key": key}
    async with Receiver() as receiver, cluster(tmp_path, weed, "a", "b", **settings) as (nodes, _):
        app_key = "wsk_of_the_app_shop"
        app = {"webhook_url": receiver.url, "api_key": app_key, "events": ["recording.completed"]}
        made = await nodes["a"].http.post("/admin/apps/shop", json=app, headers={"X-Admin-API-Key": key})
        assert made.status_code in (200, 201), made.text
        shop = {name: Recorder(client.base_url, key=app_key) for name, client in nodes.clients.items()}
        async with AsyncExitStack() as stack:
            for client in shop.values():
                client.http.follow_redirects = True
                stack.push_async_callback(client.http.aclose)

            async def is_known() -> bool:
                return (await shop["b"].http.get("/v1/recordings")).status_code == 200

            await until(is_known)
            recording = await shop["b"].start("call-1")
            async with shop["a"].connect(f"/media/pcm/call-1/a?token={app_key}") as socket:
                await say(socket, tone(440, 1.0))
                await shop["a"].until_received("call-1", 1_000)
                weed.freeze()  # the file stays where it was made
                try:
                    done = await shop["a"].act(recording, "stop")
                    told = await receiver.wait_for(1)
                    for client in shop.values():
                        samples, rate_hz = await client.listen(done | {"url": urlsplit(done["url"]).path})
                        assert len(samples) / rate_hz > 0.9
                finally:
                    weed.thaw()
            assert told[0].message["session_uuid"] == "call-1"
            path = urlsplit(done["url"]).path
            await until_status(shop["a"], path, 307)  # it is in the bucket
            assert (await shop["a"].http.delete(f"/v1/recordings/{recording['id']}")).status_code in (200, 204)
            await until_status(shop["b"], path, 404)


async def until_status(client: Recorder, path: str, status: int) -> None:
    """Wait until a file is answered with this."""

    async def answers() -> bool:
        return (await client.http.get(path, follow_redirects=False)).status_code == status

    await until(answers)


async def test_what_is_done_once_is_done_by_another_node_when_the_first_is_gone(tmp_path: Path, weed: Weed) -> None:
    async with cluster(tmp_path, weed, "a", "b") as (nodes, _):
        lock = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {ONCE_LOCK & 0xFFFFFFFF}"
        database = nodes.database

        def holders() -> set[int]:
            return {pid for (pid,) in shared_postgres().run(lock, database=database)}

        first = await until(holders)
        assert len(first) == 1
        await nodes.kill("a")
        await until(lambda: holders() - first)
        assert len(holders()) == 1
