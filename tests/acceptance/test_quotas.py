"""Apps at their quotas on a real server: each bound refuses by its name, and the calls of another app are whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.recorder import Recorder, close_code, hear, recorder
from tests.support.waiting import until
from wavstream.model.call import MAX_IDS
from wavstream.service.service import Service
from wavstream.settings.quotas import AppQuotas, QuotaSettings

ADMIN_KEY = "of-the-administrators"
KEYS = {app_id: f"wsk_of_the_app_{app_id}" for app_id in ("loud", "quiet")}
FRAME = bytes(range(160)) * 2
"""20 ms of L16 at 8 kHz."""


@asynccontextmanager
async def two_apps(folder: Path, **of_loud: int) -> AsyncIterator[tuple[Recorder, Recorder, Service]]:
    """Run a server on which the app ``loud`` has these quotas; as it and the app ``quiet`` use it."""
    settings: dict[str, Any] = {
        "admin_api_key": SecretStr(ADMIN_KEY),
        "quotas": QuotaSettings(apps={"loud": AppQuotas(**of_loud)}),
    }
    async with recorder(folder, **settings) as (client, service), AsyncExitStack() as stack:
        users: list[Recorder] = []
        for app_id, key in KEYS.items():
            headers = {"X-Admin-API-Key": ADMIN_KEY}
            made = await client.http.post(f"/admin/apps/{app_id}", json={"api_key": key}, headers=headers)
            assert made.status_code == 200, made.text
            users.append(Recorder(client.base_url, key=key))
            stack.push_async_callback(users[-1].http.aclose)
        loud, quiet = users
        yield loud, quiet, service


async def token(user: Recorder, session_id: str | None = None) -> str:
    made = await user.http.post("/v1/stream-tokens", json={"session_id": session_id})
    return made.json()["token"]  # type: ignore[no-any-return]


def refused(answer: httpx.Response, *words: str) -> bool:
    """Whether it is a 429 that says these words and when to come back."""
    assert answer.status_code == 429, answer.text
    assert all(word in answer.text for word in words), answer.text
    return int(answer.headers["Retry-After"]) > 0


async def streaming(stack: AsyncExitStack, user: Recorder, place: str, key: str, **query: object) -> ClientConnection:
    """Open a stream that has sent its first frame."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    socket = await stack.enter_async_context(user.connect(f"/media/pcm/{place}?rate=8000&token={key}{more}"))
    with suppress(ConnectionClosed):  # it may have been refused by then
        await socket.send(FRAME)
    return socket


async def assert_is_recorded_whole(user: Recorder, session_id: str) -> None:
    """Record a call as that user, and find every sample of it in the file."""
    said = np.random.default_rng(7).integers(-32768, 32767, 8_000, np.int16)
    recording = await user.start(session_id, channels="mono")
    async with user.connect(f"/media/pcm/{session_id}/a?rate=8000&token={KEYS['quiet']}") as socket:
        for at in range(0, len(said), 800):
            await socket.send(said[at : at + 800].tobytes())
        await user.until_received(session_id, 1_000)
    samples, _ = hear(await user.fetch(await user.until(recording)))
    start = int(np.argmax(samples[:, 0] != 0))
    assert np.array_equal(samples[start : start + len(said), 0], said)


@pytest.mark.parametrize("by", ["key", "stream token"])
async def test_an_app_at_its_quotas_is_refused_by_name_and_another_is_recorded_whole(tmp_path: Path, by: str) -> None:
    quotas = {"sessions": 3, "streams": 4, "recordings": 4, "recordings_per_session": 2, "live_listeners": 1}
    async with two_apps(tmp_path, **quotas) as (loud, quiet, service), AsyncExitStack() as stack:
        key = KEYS["loud"] if by == "key" else await token(loud)
        own = [await streaming(stack, loud, f"call-{number}/a", key, record=1) for number in range(3)]
        own.append(await streaming(stack, loud, "call-0/b", key))
        await loud.until_streaming("call-0", 2)

        one_more = await streaming(stack, loud, "call-0/c", key)
        assert await close_code(one_more) == (1013, "the app is at its quota: quotas.streams is 4")
        again = await streaming(stack, loud, "call-0/b", key)  # a leg that comes back was let in before
        assert (await close_code(own[3]))[0] == 1008
        assert refused(await loud.http.post("/v1/sessions", json={"session_id": "call-3"}), "quotas.sessions is 3")

        await loud.start("call-0")
        per_session = await loud.http.post("/v1/recordings", json={"session_id": "call-0"})
        assert refused(per_session, "quotas.recordings_per_session is 2")
        in_all = await loud.http.post("/v1/recordings", json={"session_id": "call-1"})
        assert refused(in_all, "quotas.recordings is 4")

        running = await loud.only_recording("call-1")
        address = f"/v1/recordings/{running['id']}/live.wav"
        listener = service.live.listen(running["id"])
        assert listener is not None
        assert refused(await loud.http.get(address), "quotas.live_listeners is 1")
        listener.leave()

        await assert_is_recorded_whole(quiet, "call-0")
        for socket in (*own[:3], again):  # what was accepted goes on
            await socket.send(FRAME)
        await loud.until_received("call-0", 40, legs=2)
        metrics = (await quiet.http.get("/metrics")).text
        told = {name: f'wavstream_quota_refusals_total{{quota="{name}"}} 1.0' in metrics for name in quotas}
        assert told == dict.fromkeys(quotas, True)


async def test_sockets_that_never_say_what_they_are_count_for_their_app(tmp_path: Path) -> None:
    async with two_apps(tmp_path, streams=2) as (loud, quiet, _), AsyncExitStack() as stack:
        key = await token(loud)
        for _ in range(4):
            await stack.enter_async_context(loud.connect(f"/media/twilio?token={key}"))
        with pytest.raises(InvalidStatus) as raised:
            await stack.enter_async_context(loud.connect(f"/media/twilio?token={key}"))

        assert raised.value.response.status_code == 429
        assert "quotas.streams is 2" in json.loads(raised.value.response.body)["detail"]
        await assert_is_recorded_whole(quiet, "call-0")


async def test_a_token_for_one_session_opens_twice_as_many_sockets_as_it_may_have_streams(tmp_path: Path) -> None:
    async with two_apps(tmp_path) as (loud, quiet, service), AsyncExitStack() as stack:
        key, path = await token(loud, "call-1"), "/media/audio-stream/call-1"
        most = 2 * service.settings.limits.streams_per_session
        silent = [await stack.enter_async_context(loud.connect(f"{path}?token={key}")) for _ in range(most)]
        with pytest.raises(InvalidStatus) as raised:
            await stack.enter_async_context(loud.connect(f"{path}?token={key}"))

        assert raised.value.response.status_code == 429
        assert "limits.streams_per_session, 16," in json.loads(raised.value.response.body)["detail"]
        # Neither another session of the app, nor one of another app with the same name, is in its way.
        other = await token(loud, "call-2")
        await stack.enter_async_context(loud.connect(f"/media/audio-stream/call-2?token={other}"))
        await assert_is_recorded_whole(quiet, "call-1")
        await silent[0].close()
        await until(lambda: service.sessions.quotas.token_sockets.total == most)  # with that of the other session
        await stack.enter_async_context(loud.connect(f"{path}?token={key}"))


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v1/sessions", {}),
        ("GET", "/v2/recordings", {}),
        ("GET", "/api/v1/sessions/call-1/recording/file.wav", {"X-App-ID": "loud", "X-API-Key": KEYS["loud"]}),
    ],
)
async def test_requests_of_an_app_beyond_its_quota_are_refused_by_every_api(
    tmp_path: Path, method: str, path: str, headers: dict[str, str]
) -> None:
    async with two_apps(tmp_path, requests_per_s=5) as (loud, quiet, _):

        async def ask(user: Recorder) -> Sequence[httpx.Response]:
            return await asyncio.gather(*(user.http.request(method, path, headers=headers) for _ in range(30)))

        answers = await ask(loud)

        late = [answer for answer in answers if answer.status_code == 429]
        assert len(late) >= 15  # of 30 that take less than three seconds
        assert all(refused(answer, "quotas.requests_per_s is 5") for answer in late)
        if not headers:
            assert not [answer for answer in await ask(quiet) if answer.status_code == 429]


async def test_an_app_that_sends_too_much_audio_loses_none_of_it_and_gets_no_new_stream(tmp_path: Path) -> None:
    async with two_apps(tmp_path, media_bytes_per_s=1_000) as (loud, quiet, _), AsyncExitStack() as stack:
        fast = await streaming(stack, loud, "call-1/a", KEYS["loud"])
        sent = 1

        async def is_refused() -> Any:
            nonlocal sent
            for _ in range(50):
                await fast.send(FRAME)
            sent += 50
            socket = await streaming(stack, loud, "call-2/a", KEYS["loud"])
            try:
                await asyncio.wait_for(socket.wait_closed(), 0.2)
            except TimeoutError:
                await socket.close()
                return None
            return socket.close_code, socket.close_reason

        code, reason = await until(is_refused)

        assert (code, reason) == (1013, "the app is at its quota: quotas.media_bytes_per_s is 1000")
        await loud.until_received("call-1", sent * 20)
        await assert_is_recorded_whole(quiet, "call-0")


async def test_an_app_whose_disk_is_full_gets_no_new_recording_and_what_runs_is_finished(tmp_path: Path) -> None:
    async with two_apps(tmp_path, disk_bytes=50_000) as (loud, quiet, service), AsyncExitStack() as stack:
        socket = await streaming(stack, loud, "call-1/a", KEYS["loud"], record=1)
        for _ in range(200):
            await socket.send(FRAME)
        await loud.until_received("call-1", 4_000)
        running = await loud.only_recording("call-1")

        async def is_refused() -> Any:
            await service.usage.look()
            answer = await loud.http.post("/v1/recordings", json={"session_id": "call-1"})
            if answer.status_code == 201:
                await loud.act(answer.json(), "stop")
                return None
            return answer

        assert refused(await until(is_refused), "quotas.disk_bytes is 50000")
        await assert_is_recorded_whole(quiet, "call-0")
        done = await loud.act(running, "stop")
        await service.usage.look()
        assert service.sessions.quotas.disk["loud"] >= done["size_bytes"] > 64_000

        for each in (await loud.http.get("/v1/recordings?status=available")).json()["data"]:
            assert (await loud.http.delete(f"/v1/recordings/{each['id']}")).status_code == 204
        await service.usage.look()
        await loud.start("call-1")


async def test_texts_full_of_ids_are_taken_in_and_the_call_is_recorded_whole(tmp_path: Path) -> None:
    def text(number: int) -> bytes:
        """8 documents of 16 ids each, of which each is new: such texts, only longer, once held the server for 27 s."""
        ids = [{f"id-{number}-{part}-{at}-{'x' * 200}": "v" * 200 for at in range(16)} for part in range(8)]
        return b"".join(json.dumps(each).encode() for each in ids)

    async with two_apps(tmp_path) as (loud, quiet, service), AsyncExitStack() as stack:
        path = f"/media/audio-stream/call-1/a?rate=8000&record=1&token={await token(loud)}"
        socket = await stack.enter_async_context(loud.connect(path))
        await socket.send(FRAME)
        for number in range(20):
            await socket.send(text(number).decode())
            await socket.send(FRAME)
        await assert_is_recorded_whole(quiet, "call-0")
        await loud.until_received("call-1", 21 * 20)
        recording = await loud.only_recording("call-1")
        await socket.close()

        done = await loud.until(recording)

        session: Any = service.sessions
        assert session.all_left_out()["facts"] == done["integrity"]["facts_omitted"] >= 20 * 8 * 16 - MAX_IDS
        assert done["duration_ms"] >= 21 * 20


async def test_each_of_several_apps_keeps_room_though_none_has_a_quota(tmp_path: Path) -> None:
    async with two_apps(tmp_path) as (loud, quiet, service):
        service.sessions.quotas.server["sessions"] = 10
        await service.usage.look()  # there are two apps

        async def announce(user: Recorder, number: int) -> httpx.Response:
            return await user.http.post("/v1/recordings", json={"session_id": f"call-{number}"})

        taken = [(await announce(loud, number)).status_code for number in range(8)]

        assert taken == [201] * 8
        assert refused(await announce(loud, 8), "its share of limits.sessions, 10 for 2 apps")
        await assert_is_recorded_whole(quiet, "call-0")
