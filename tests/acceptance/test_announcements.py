"""What an application of the gateway is told, from its registration to the end of its recordings."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from standardwebhooks import Webhook
from websockets.asyncio.client import ClientConnection

from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, ServerProcess, Wall, hear, recorder
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from wavstream.service.service import Service
from wavstream.settings import GatewaySettings, WebhookSettings

TONE_HZ = 700.0
ADMIN_KEY = "key-of-the-administrators"
ADMIN = {"X-Admin-API-Key": ADMIN_KEY}
APP = {"X-App-ID": "shop", "X-API-Key": "the-key-of-the-shop-app"}
SESSION = "acW68-1d0b6c5e-9b1e-4c52-8f2e-3f0c2a7d1e90"
TONE = beeps(4.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=1.5)
"""What a start takes to take effect is not in the file: it has until the first beep."""
OPEN = WebhookSettings(allow_http=True, allow_localhost=True)
QUICK = GatewaySettings(stop_cooldown="seek")
DEAD_LETTERS = "/v1/webhooks/dead-letters"


async def register(client: Recorder, receiver: Receiver, **more: object) -> dict[str, Any]:
    body = {"webhook_url": receiver.url, "api_key": APP["X-API-Key"], "rate_limit": 0, "events": [], **more}
    answer = await client.http.post("/admin/apps/shop", json=body, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    client.http.headers.update(bearer())
    return answer.json()  # type: ignore[no-any-return]


async def command(client: Recorder, name: str, **body: object) -> dict[str, Any]:
    answer = await client.http.post(f"/api/v1/sessions/{SESSION}/commands/{name}", json=body, headers=APP)
    assert answer.status_code == 202, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def say_tone(client: Recorder, socket: ClientConnection, heard_ms: int) -> None:
    await say(socket, TONE)
    await client.until_received(SESSION, heard_ms)


def bearer() -> Mapping[str, str]:
    return {"Authorization": f"Bearer {APP['X-API-Key']}"}


def leg(client: Recorder) -> Any:
    return client.connect(f"/media/pcm/{SESSION}/a?token={APP['X-API-Key']}")


async def test_the_quickstart_of_the_gateway_from_the_registration_to_the_expiry(tmp_path: Path) -> None:
    fetched: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def fetch_at_once(request: Received) -> Answer:
        message = request.message
        if message["event"] == "recording.completed":
            async with httpx.AsyncClient(timeout=WAIT_S) as http:
                fetched.set_result((await http.get(message["recording_url"])).content)
        return Answer()

    wall = Wall()
    settings: dict[str, Any] = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": OPEN, "gateway": QUICK}
    async with Receiver(fetch_at_once) as receiver, recorder(tmp_path, wall=wall, **settings) as (client, _):
        secret = (await register(client, receiver))["webhook_secret"]
        async with leg(client) as socket:
            await say_tone(client, socket, 4000)
            await command(client, "record/start", command_uid="rec-1")
            await say_tone(client, socket, 8000)
            await command(client, "record/stop", command_uid="stop-1")
            requests = await receiver.wait_for(3)
        for request in requests:
            Webhook(secret).verify(request.body, dict(request.headers))
        messages = [request.message for request in requests]
        url = messages[2]["recording_url"]
        assert [(m["event"], m["command_uid"], m["sequence"]) for m in messages] == [
            ("command.result", "rec-1", 1), ("command.result", "stop-1", 2), ("recording.completed", "rec-1", 3)
        ]  # fmt: skip
        assert all(message["session_uuid"] == SESSION for message in messages)
        assert messages[0]["success"] is True
        assert messages[2]["data"]["recording_url"] == url
        samples, rate_hz = hear(await asyncio.wait_for(fetched, WAIT_S))
        assert messages[2]["duration"] == round(len(samples) / rate_hz)
        assert len(find_beeps(samples[:, 0], rate_hz, TONE_HZ)) == 3

        wall.ahead = timedelta(hours=24, seconds=1)
        gone = await client.http.get(url)
        assert (gone.status_code, gone.content, "location" in gone.headers) == (404, b"", False)


async def test_two_recordings_of_one_session_are_announced_each_with_its_own_command(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": OPEN, "gateway": QUICK}
    async with Receiver() as receiver, recorder(tmp_path, **settings) as (client, _):
        await register(client, receiver, events=["recording.completed"])
        async with leg(client) as socket:
            for number in (1, 2):
                await say_tone(client, socket, 8000 * number - 4000)
                async with asyncio.timeout(WAIT_S):
                    while True:
                        started = await client.http.post(
                            f"/api/v1/sessions/{SESSION}/commands/record/start",
                            json={"command_uid": f"rec-{number}"}, headers=APP,
                        )  # fmt: skip
                        if started.status_code != 429:
                            break
                        await asyncio.sleep(float(started.headers["Retry-After"]) / 10)
                assert started.status_code == 202
                await say_tone(client, socket, 8000 * number)
                await command(client, "record/stop")
                await receiver.wait_for(number)
    urls = {message["command_uid"]: message["recording_url"] for message in receiver.messages}
    assert list(urls) == ["rec-1", "rec-2"]
    assert len(set(urls.values())) == 2
    assert [message["sequence"] for message in receiver.messages] == [1, 2]


async def test_a_hang_up_completes_the_recording_and_a_kill_loses_no_message_and_changes_no_id(tmp_path: Path) -> None:
    refuse = asyncio.Event()

    async def refuse_at_first(_: Received) -> Answer:
        return Answer(status=200 if refuse.is_set() else 503)

    process = ServerProcess(
        tmp_path, admin_api_key=ADMIN_KEY, webhooks__allow_http="true", webhooks__allow_localhost="true"
    )
    async with Receiver(refuse_at_first) as receiver, process:
        client = await process.start()
        await register(client, receiver)
        async with leg(client) as socket:
            await say_tone(client, socket, 4000)
            await command(client, "record/start", command_uid="rec-1")
            await say_tone(client, socket, 8000)
        await receiver.wait_for(1)

        async def is_available() -> bool:
            rows = (await client.http.get("/v1/recordings")).json()["data"]
            return bool(rows) and rows[0]["status"] == "available"

        await until(is_available)
        await process.end(signal.SIGKILL)
        await client.http.aclose()
        await receiver.left()
        refuse.set()
        before = len(receiver.requests)
        client = await process.start()
        requests = await receiver.wait_for(before + 2)
        await client.http.aclose()
    taken = requests[before:]
    assert [request.message["event"] for request in taken[:2]] == ["command.result", "recording.completed"]
    assert taken[0].headers["webhook-id"] == requests[0].headers["webhook-id"]
    assert taken[1].message["command_uid"] == "rec-1"


async def test_a_start_and_a_failure_are_announced_where_the_settings_say_so(tmp_path: Path) -> None:
    switched = OPEN.model_copy(update={"recording_started": True, "recording_failed": True})
    settings: dict[str, Any] = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": switched}
    async with Receiver() as receiver, recorder(tmp_path, **settings) as (client, _):
        await register(client, receiver)
        async with leg(client) as socket:
            await say_tone(client, socket, 4000)
            recording = await client.start(SESSION)
            await say_tone(client, socket, 8000)
            await client.act(recording, "stop")
        await receiver.wait_for(2)
        await client.act(await client.start("never streams"), "stop")
        await receiver.wait_for(3)
    assert [(message["session_uuid"], message["event"]) for message in receiver.messages] == [
        (SESSION, "recording.started"), (SESSION, "recording.completed"), ("never streams", "recording.failed")
    ]  # fmt: skip


async def has_told_all(service: Service) -> bool:
    return service.recovery.reconciled and not await service.catalog.outbox.backlog()


def lose(data_dir: Path) -> None:
    """Delete the files and the journals of all recordings."""
    for lost in (*data_dir.glob("recordings/**/*.wav"), *data_dir.glob("journal/*")):
        lost.unlink()


async def test_a_recording_that_a_restart_finds_lost_is_announced_once_as_failed(tmp_path: Path) -> None:
    switched = OPEN.model_copy(update={"recording_failed": True})
    settings: dict[str, Any] = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": switched}
    async with Receiver() as receiver:
        async with recorder(tmp_path, **settings) as (client, _):
            await register(client, receiver)
            socket = await leg(client)
            finished = await client.start(SESSION)
            await say_tone(client, socket, 3000)
            await client.act(finished, "stop")
            running = await client.start(SESSION)
            await say_tone(client, socket, 6000)
            await receiver.wait_for(1)
        await socket.close()
        lose(tmp_path)
        for _ in range(2):
            async with recorder(tmp_path, **settings) as (client, service):
                await until(partial(has_told_all, service))
                errors = {
                    each["id"]: each["error"]
                    for each in (await client.http.get("/v1/recordings", headers=bearer())).json()["data"]
                }
    told = [(message["event"], message.get("error")) for message in receiver.messages]
    assert told[0] == ("recording.completed", None)
    assert told[1:] == [("recording.failed", errors[running["id"]]), ("recording.failed", errors[finished["id"]])]
    assert errors[finished["id"]] == "its file is gone"


async def dead_letters(client: Recorder) -> list[dict[str, Any]]:
    return (await client.http.get(DEAD_LETTERS)).json()["data"]  # type: ignore[no-any-return]


async def figures_with(line: str, client: Recorder) -> str:
    figures = (await client.http.get("/metrics")).text
    return figures if line in figures else ""


async def test_what_was_given_up_is_read_and_sent_again_with_its_id(tmp_path: Path) -> None:
    async def refuse(_: Received) -> Answer:
        return Answer(status=500)

    settings: dict[str, Any] = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": OPEN}
    async with Receiver(refuse) as receiver, recorder(tmp_path, **settings) as (client, _):
        await register(client, receiver, events=["recording.failed"])
        recording = await client.act(await client.start("never streams"), "stop")
        await receiver.wait_for(1)
        # Without an address there is nothing to wait 24 hours for.
        await client.http.post("/admin/apps/shop", json={"api_key": APP["X-API-Key"]}, headers=ADMIN)
        [letter] = await until(lambda: dead_letters(client))
        read = (await client.http.get(f"{DEAD_LETTERS}/{letter['id']}")).json()
        refused = list(receiver.requests)
        receiver.answer = None
        await register(client, receiver)
        answer = await client.http.post(f"{DEAD_LETTERS}/replay", json={"ids": [letter["id"]]})
        *_, again = await receiver.wait_for(len(refused) + 1)
        figures = await until(lambda: figures_with('tries_total{outcome="delivered"} 1.0', client))
    assert (letter["event"], letter["recording_id"]) == ("recording.failed", recording["id"])
    assert (letter["attempts"], letter["error"]) == (len(refused) + 1, "the app has no webhook URL")
    assert answer.json() == {"replayed": 1}
    assert again.headers["webhook-id"] == refused[0].headers["webhook-id"] == letter["id"]
    assert again.message == refused[0].message == read["body"]
    assert f'wavstream_webhook_tries_total{{outcome="failed"}} {len(refused) + 1}.0' in figures
    assert "wavstream_webhooks_dead_total 1.0" in figures
