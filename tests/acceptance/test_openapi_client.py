"""A client that was made of the OpenAPI document, and of nothing else, records a call in both of our APIs."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from tests.support.listening import beeps, find_beeps
from tests.support.openapi_client import DocumentClient
from tests.support.receiver import Receiver
from tests.support.recorder import hear, recorder
from wavstream.settings import GatewaySettings
from wavstream.settings.tables import WebhookSettings

RATE_HZ, TONE_HZ = 8000, 700.0
TONE = beeps(1.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.3).tobytes()
KEY, ADMIN = "the-key-of-the-shop-app", "key-of-the-administrators"
CALL = "call/77 \u00e4"


async def test_a_client_made_of_the_document_records_a_call_and_is_told_of_it(tmp_path: Path) -> None:
    async with (
        Receiver() as receiver,
        recorder(
            tmp_path,
            admin_api_key=SecretStr(ADMIN),
            webhooks=WebhookSettings(allow_http=True, allow_localhost=True, recording_started=True),
            gateway=GatewaySettings(stop_cooldown="seek"),
        ) as (client, _),
    ):
        document = (await client.http.get("/openapi.json")).json()
        keys = {"key": KEY, "gateway_key": KEY, "gateway_app": "shop", "admin": ADMIN}
        api = DocumentClient(document, client.http, keys)

        assert (await api.call("health")) == (await api.call("gatewayHealth")) == {"status": "ok"}
        app = {"api_key": KEY, "webhook_url": receiver.url}
        assert (await api.call("registerApp", app, app_id="shop"))["success"]
        assert "state" not in await api.call("readRecording", recording_id="none")  # a problem

        await api.call("announceSession", {"session_id": CALL, "from": "+15550100"})
        started = await api.call(
            "startRecording", {"session_id": CALL, "channels": "mono"}, **{"Idempotency-Key": "start-1"}
        )
        token = (await api.call("makeStreamToken", {"session_id": CALL}))["token"]
        async with client.connect(f"/media/pcm/call%2F77%20%C3%A4/a?token={token}") as leg:
            await leg.send(TONE)
            while not (streams := (await api.call("readSession", session_id=CALL))["streams"]) or (
                streams[0]["received_ms"] < 1_000
            ):
                pass
            operation = await api.call("record_start", {"command_uid": "rec-1"}, session_id=CALL)
            assert operation["status"] == "in_progress"
            await leg.send(TONE)
            stopped = await api.call("stopRecording", recording_id=started["id"])
            await api.call("record_stop", {"command_uid": "rec-2"}, session_id=CALL)

        assert stopped["status"] == "available"
        link = await api.call("fetchRecording", recording_id=started["id"])
        samples, rate_hz = hear((await client.http.get(link.headers["location"])).content)
        assert len(find_beeps(samples[:, 0], rate_hz=rate_hz, frequency_hz=TONE_HZ)) == 2
        assert [each["id"] for each in (await api.call("listRecordings", session_id=CALL))["data"]][-1] == started["id"]

        told = [each.message for each in await receiver.wait_for(6)]
        for each in receiver.requests:
            api.check_webhook(dict(each.headers), each.message)
        events = [each["event"] for each in told]
        assert sorted({*events}) == ["command.result", "recording.completed", "recording.started"]
        completed = {each["recording_id"]: each["command_uid"] for each in told if each["event"].endswith("completed")}
        commanded = (await api.call("listRecordings", session_id=CALL))["data"][0]["id"]
        assert completed == {started["id"]: None, commanded: "rec-1"}
        answer = await api.call("eraseRecording", recording_id=started["id"])
        assert answer.status_code == 204
