"""An application written against Bird's voice API, over real HTTP and real media sockets: it listens to its files.

Every answer is held against the schema that Bird documents for it, by a hook of the client.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection

from tests.support.hearing import HEARD, Hearing
from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, Wall, hear, recorder
from tests.support.speech import caller, noise, silence, spoken
from tests.support.talking import RATE_HZ, say, speak
from tests.support.waiting import WAIT_S, until
from tests.unit.api.bird.conftest import ADMIN, CALL, CHANNEL, KEYS, OTHER_CHANNEL, WORKSPACE, C, W
from tests.unit.api.bird.schemas import check, conforms
from wavstream.access.signing_keys import SigningKeys
from wavstream.service.service import Service
from wavstream.settings import WebhookSettings
from wavstream.webhooks.bird import key_text

A_HZ, B_HZ = 600.0, 1500.0
OPEN = WebhookSettings(allow_http=True, allow_localhost=True)
PARTIES = {"from": "+15550100", "to": "+15550199", "direction": "inbound"}
TEXTS = ("json", "srt", "vtt", "txt")
IDS = {"workspaceId": WORKSPACE, "channelId": CHANNEL}


class Application(Recorder):
    """An application of Bird's, and the media server beside it."""

    def __init__(self, base_url: str, app_id: str = "shop") -> None:
        super().__init__(base_url, key=KEYS[app_id])
        self.bird = httpx.AsyncClient(
            base_url=base_url,
            timeout=WAIT_S,
            headers={"Authorization": f"AccessKey {KEYS[app_id]}"},
            verify=False,
            event_hooks={"response": [check]},
        )

    async def announce(self, call_id: str = CALL, **facts: object) -> None:
        answer = await self.http.post("/v1/sessions", json={"session_id": call_id, **facts})
        assert answer.status_code == 201, answer.text

    def leg(self, leg: str = "a", call_id: str = CALL) -> Any:
        key = self.http.headers["authorization"].removeprefix("Bearer ")
        return self.connect(f"/media/pcm/{call_id}/{leg}?token={key}")

    async def record(self, path: str = "recordings", **said: object) -> str:  # type: ignore[override]
        """Start a recording; its id."""
        answer = await self.bird.post(f"{C}/{path}", **({"json": said} if said else {}))  # type: ignore[arg-type]
        assert answer.status_code == 202, answer.text
        return str(answer.json()["recordingId"])

    async def change(self, recording_id: str, status: str) -> dict[str, Any]:
        answer = await self.bird.patch(f"{C}/recordings/{recording_id}", json={"status": status})
        assert answer.status_code == 202, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def of_call(self, recording_id: str) -> dict[str, Any]:
        return (await self.bird.get(f"{C}/recordings/{recording_id}")).json()  # type: ignore[no-any-return]

    async def of_workspace(self, recording_id: str) -> dict[str, Any]:
        answer = await self.bird.get(f"{W}/recordings/{recording_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def until_it_is(self, recording_id: str, status: str) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            now = await self.of_workspace(recording_id)
            return now if now["status"] == status else None

        found = await until(there)
        assert found is not None
        return found

    async def file(self, recording_id: str, extension: str) -> tuple[NDArray[np.int16], int]:
        """Return what is heard behind the redirection."""
        answer = await self.bird.get(f"{W}/recordings/{recording_id}.{extension}")
        assert answer.status_code == 307
        async with httpx.AsyncClient(timeout=WAIT_S, verify=False) as anybody:  # the link is enough
            fetched = await anybody.get(answer.headers["location"])
        assert fetched.status_code == 200
        assert fetched.headers["content-type"] == {"mp3": "audio/mpeg", "wav": "audio/wav"}[extension]
        return hear(fetched.content)

    async def listed(self, **query: object) -> list[str]:
        answer = await self.bird.get(f"{W}/recordings", params=query)  # type: ignore[arg-type]
        return [each["id"] for each in answer.json()["results"]]


@asynccontextmanager
async def birds(
    data_dir: Path, *, hook: str | None = None, events: tuple[str, ...] = (), **settings: Any
) -> AsyncIterator[tuple[Application, Service]]:
    """Yield a server with the app ``shop``, whose workspace is known, and ``bank``."""
    admin_key = SecretStr(ADMIN["X-Admin-API-Key"])
    async with recorder(data_dir, admin_api_key=admin_key, **settings) as (client, service):
        for app_id, workspaces in (("shop", [WORKSPACE]), ("bank", [])):
            body = {
                "api_key": KEYS[app_id],
                "vendor_accounts": {"bird": workspaces},
                "webhook_url": hook,
                "events": list(events),
            }
            answer = await client.http.post(f"/admin/apps/{app_id}", json=body, headers=ADMIN)
            assert answer.status_code == 200, answer.text
        application = Application(client.base_url)
        try:
            yield application, service
        finally:
            await application.bird.aclose()
            await application.http.aclose()


def tone(frequency_hz: float, length_s: float = 3.0, offset_s: float = 0.5) -> NDArray[np.int16]:
    return beeps(length_s, rate_hz=RATE_HZ, frequency_hz=frequency_hz, offset_s=offset_s)


async def test_a_call_is_recorded_from_an_empty_body_to_the_files_behind_the_redirections(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce(vendor_ids=IDS, **PARTIES)
        recording_id = await shop.record()
        assert (await shop.of_call(recording_id))["status"] == "accepted"
        assert (await shop.of_workspace(recording_id))["status"] == "accepted"
        async with shop.leg("a") as a, shop.leg("b") as b:
            await asyncio.gather(say(a, silence(0.02)), say(b, silence(0.02)))
            await shop.until_streaming(CALL, 2)
            await asyncio.gather(say(a, tone(A_HZ)), say(b, tone(B_HZ, offset_s=0.8)))
            await shop.until_received(CALL, 3_020, legs=2)
            running = await shop.of_call(recording_id)
            assert (running["status"], running["stereo"], running["channelId"]) == ("ongoing", False, CHANNEL)
            assert running["endedAt"] == "0001-01-01T00:00:00Z"
            stopped = await shop.change(recording_id, "completed")
            assert (stopped["status"], stopped["endCause"]) == ("completed", "stopped")
            done = await shop.until_it_is(recording_id, "available")
            assert (await shop.bird.get(f"{C}/recordings")).json() == {"results": []}
        assert done["originator"]["number"] == {"type": "pstn", "number": PARTIES["from"]}
        assert done["receiver"]["number"]["number"] == PARTIES["to"]
        assert (done["direction"], done["format"], done["channelId"]) == ("incoming", "mp3", CHANNEL)
        for extension in ("mp3", "wav"):
            samples, rate_hz = await shop.file(recording_id, extension)
            assert samples.shape[1] == 1
            assert (len(samples) / rate_hz) == pytest.approx(done["duration"], abs=0.51)
            for pitch_hz in (A_HZ, B_HZ):
                assert np.diff(find_beeps(samples[:, 0], rate_hz, pitch_hz)) == pytest.approx([1, 1], abs=0.01)
        assert (await shop.of_call(recording_id))["duration"] == done["duration"]
        linked = await shop.http.get(done["url"], headers={"Authorization": ""})
        assert linked.headers["content-type"] == "audio/mpeg"
        metrics = (await shop.bird.get(f"{W}/recording-metrics")).json()
        assert metrics["dailyStorageUsage"] == {done["createdAt"][:10]: len(linked.content)}


async def test_in_stereo_both_bridged_streams_have_a_channel_and_a_length_ends_it(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce()
        recording_id = await shop.record(maxLength=2, stereo=True)
        async with shop.leg("a") as a, shop.leg("b") as b:
            await asyncio.gather(say(a, silence(0.02)), say(b, silence(0.02)))
            await shop.until_streaming(CALL, 2)
            await asyncio.gather(say(a, tone(A_HZ, 6.0)), say(b, tone(B_HZ, 6.0)))
            done = await shop.until_it_is(recording_id, "available")
        samples, rate_hz = await shop.file(recording_id, "wav")
        assert (done["stereo"], done["duration"]) == (True, 2)
        assert len(samples) / rate_hz == pytest.approx(2, abs=0.1)
        left, right = (find_beeps(samples[:, channel], rate_hz, hz) for channel, hz in ((0, A_HZ), (1, B_HZ)))
        assert (len(left), len(right)) == (2, 2)
        assert find_beeps(samples[:, 0], rate_hz, B_HZ) == find_beeps(samples[:, 1], rate_hz, A_HZ) == []
        assert (await shop.of_call(recording_id))["endCause"] == "max_length"


async def test_a_message_ends_with_its_key_and_begins_with_a_beep(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce()
        recording_id = await shop.record("record", endKey="#", beep=True)
        async with shop.leg() as socket:
            await say(socket, tone(A_HZ))
            for digit in "1*#":
                await shop.until_received(CALL, 3_000)
                await socket.send(f'{{"event": "dtmf", "digit": "{digit}"}}')
            done = await shop.until_it_is(recording_id, "available")
        samples, rate_hz = await shop.file(recording_id, "mp3")
        assert done["origin"] == "call-command-record"
        assert (await shop.of_call(recording_id))["endCause"] == "terminator"
        assert samples.shape[1] == 1
        assert np.diff(find_beeps(samples[:, 0], rate_hz, A_HZ)) == pytest.approx([1, 1], abs=0.01)
        first_s = find_beeps(samples[:, 0], rate_hz, A_HZ)[0]
        assert np.abs(samples[: int((first_s - 0.1) * rate_hz)].astype(np.int32)).max() > 1_000  # the beep before it


async def test_a_message_ends_with_silence_after_speech(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce()
        recording_id = await shop.record("record", timeout=2, maxLength=60)
        async with shop.leg() as socket:
            await say(socket, silence(3), spoken(), silence(8))
            done = await shop.until_it_is(recording_id, "available")
        assert (await shop.of_call(recording_id))["endCause"] == "silence"
        assert done["duration"] == pytest.approx(3 + len(spoken()) / RATE_HZ + 2, abs=1)


async def test_what_is_said_in_a_pause_is_not_in_the_file(tmp_path: Path) -> None:
    secret_hz = 1000.0
    async with birds(tmp_path) as (shop, _), shop.leg() as socket:
        await say(socket, silence(0.02))
        await shop.until_received(CALL, 20)
        recording_id = await shop.record(stereo=False)
        # In real time: a pause takes what is ahead of its time too.
        await speak(socket, tone(A_HZ, 1.0))
        await shop.until_received(CALL, 1_020)
        for _ in range(2):
            assert (await shop.change(recording_id, "paused"))["status"] == "paused"
        await say(socket, tone(secret_hz, 1.0, 0.2))
        await shop.until_received(CALL, 2_020)
        (paused,) = (await shop.bird.get(f"{C}/recordings")).json()["results"]
        assert (paused["id"], paused["status"]) == (recording_id, "paused")
        assert (await shop.of_workspace(recording_id))["status"] == "paused"
        for _ in range(2):
            assert (await shop.change(recording_id, "ongoing"))["status"] == "ongoing"
        # What the resume takes after the last of the pause is withheld too: it has until the beep.
        await say(socket, tone(B_HZ, 2.0, 1.5))
        await shop.until_received(CALL, 4_020)
        await shop.change(recording_id, "completed")
        await shop.until_it_is(recording_id, "available")
        samples, rate_hz = await shop.file(recording_id, "mp3")
        again = await shop.bird.patch(f"{C}/recordings/{recording_id}", json={"status": "paused"})
    assert [len(find_beeps(samples[:, 0], rate_hz, hz)) for hz in (A_HZ, secret_hz, B_HZ)] == [1, 0, 1]
    assert (again.status_code, list(again.json()["details"])) == (422, ["$.status"])


async def test_what_was_said_is_asked_for_listed_and_read_as_texts_and_a_failure_says_why(tmp_path: Path) -> None:
    async with Hearing() as hearing, birds(tmp_path, **hearing.settings()) as (shop, _):
        client = shop.bird

        async def until_over(transcription_id: str) -> dict[str, Any]:
            async def over() -> dict[str, Any] | None:
                shown: dict[str, Any] = (await client.get(f"{W}/transcriptions/{transcription_id}")).json()
                return shown if shown["status"] != "accepted" else None

            found = await until(over)
            assert found is not None
            return found

        await shop.announce(vendor_ids=IDS)
        recording_id = await shop.record("record", transcribe=True, transcribeLocale="en-GB")
        async with shop.leg() as socket:
            await say(socket, caller()[22_720:46_720])
            await shop.until_received(CALL, 3000)
            await shop.change(recording_id, "completed")
        await shop.until_it_is(recording_id, "available")
        (listed,) = await until(lambda: transcriptions(client))
        made = await until_over(listed["id"])
        texts = {each: await client.get(f"{W}/transcriptions/{made['id']}.{each}") for each in TEXTS}
        is_transcribed = (await shop.of_workspace(recording_id))["transcription"]

        path = f"{W}/recordings/{recording_id}/transcriptions"
        asked = await client.post(path, json={"locale": "de-DE"})
        failed = await until_over(asked.json()["id"])
        refused = await client.get(f"{W}/transcriptions/{failed['id']}.txt")
        ids = [each["id"] for each in await transcriptions(client)]
        assert (await client.delete(f"{W}/recordings/{recording_id}")).status_code == 204
        left = await transcriptions(client)

    assert (made["recordingId"], made["status"], made["locale"]) == (recording_id, "available", "en-GB")
    assert all(text.status_code == 200 and HEARD.split()[0] in text.text for text in texts.values())
    assert is_transcribed is True
    assert (asked.status_code, asked.json()["status"]) == (202, "accepted")
    assert (failed["status"], failed["locale"]) == ("failed", "de-DE")
    assert (refused.status_code, "answered 400" in refused.json()["message"]) == (404, True)
    assert ids == [failed["id"]]  # made anew
    assert left == []


async def transcriptions(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await client.get(f"{W}/transcriptions")).json()["results"]  # type: ignore[no-any-return]


async def test_recordings_are_listed_in_pages_and_deleted_one_by_one(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce(vendor_ids=IDS, **PARTIES)
        async with shop.leg() as socket:
            await say(socket, silence(0.02))
            await shop.until_received(CALL, 20)
            made = []
            for number in range(3):
                made.append(await shop.record())
                # In real time: what is sent at once was said before it arrived, which may be before the start.
                await speak(socket, noise(0.5, seed=number))
                await shop.until_received(CALL, 20 + 500 * (number + 1))
                await shop.change(made[-1], "completed")
                await shop.until_it_is(made[-1], "available")
        native = await shop.start("another-call")
        newest_first = [*reversed(made)]
        first = (await shop.bird.get(f"{W}/recordings", params={"limit": 2, "channelId": CHANNEL})).json()
        token = first["nextPageToken"]
        last = await shop.bird.get(f"{W}/recordings", params={"limit": 2, "channelId": CHANNEL, "pageToken": token})
        assert [each["id"] for each in (*first["results"], *last.json()["results"])] == newest_first
        assert "nextPageToken" not in last.json()
        assert await shop.listed(sourceId=CALL, direction="incoming", to=PARTIES["to"]) == newest_first
        assert await shop.listed(direction="outgoing") == []
        assert await shop.listed(channelId=OTHER_CHANNEL) == []
        shop.bird.event_hooks = {}  # the id of the other call is no UUID
        assert (await shop.listed())[0].replace("-", "") == native["id"]
        shop.bird.event_hooks = {"response": [check]}

        link = (await shop.of_workspace(made[0]))["url"]
        assert (await shop.bird.delete(f"{W}/recordings/{made[0]}")).status_code == 204
        gone = await shop.of_workspace(made[0])
        assert (gone["status"], "url" in gone) == ("absent", False)
        assert (await shop.bird.get(f"{W}/recordings/{made[0]}.mp3")).status_code == 404
        assert (await shop.http.get(link)).status_code == 404
        assert (await shop.file(made[1], "mp3"))[0].size > 0


async def test_after_its_retention_a_recording_is_read_as_absent_and_its_links_are_dead(tmp_path: Path) -> None:
    wall = Wall()
    async with birds(tmp_path, wall=wall) as (shop, _):
        await shop.announce()
        recording_id = await shop.record()
        async with shop.leg() as socket:
            await say(socket, tone(A_HZ))
        done = await shop.until_it_is(recording_id, "available")
        assert (await shop.of_call(recording_id))["endCause"] == "hangup"
        wall.ahead = timedelta(seconds=601)
        assert (await shop.http.get(done["url"])).status_code == 403  # a link lives ten minutes
        assert (await shop.http.get((await shop.of_workspace(recording_id))["url"])).status_code == 200
        wall.ahead = timedelta(hours=24, seconds=1)
        expired = await shop.of_workspace(recording_id)
        assert (expired["status"], "url" in expired) == ("absent", False)
        assert (await shop.bird.get(f"{W}/recordings/{recording_id}.mp3")).status_code == 404
        assert (await shop.http.get(done["url"])).status_code == 404


async def test_a_recording_without_audio_is_absent(tmp_path: Path) -> None:
    async with birds(tmp_path, start_wait_s=0.2) as (shop, _):
        await shop.announce()
        nobody_came = await shop.record()
        absent = await shop.until_it_is(nobody_came, "absent")
        assert "url" not in absent
        assert (await shop.bird.get(f"{W}/recordings/{nobody_came}.mp3")).status_code == 404
        assert (await shop.bird.delete(f"{W}/recordings/{nobody_came}")).status_code == 204


async def test_a_recording_whose_file_is_lost_is_failed(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _):
        await shop.announce()
        recording_id = await shop.record()
        async with shop.leg() as socket:
            await say(socket, tone(A_HZ))
        await shop.until_it_is(recording_id, "available")
    for lost in (tmp_path / "recordings").rglob("*.mp3"):
        lost.unlink()
    async with birds(tmp_path) as (shop, service):
        await until(lambda: service.recovery.reconciled)
        failed = await shop.until_it_is(recording_id, "failed")
        assert "url" not in failed
        assert (await shop.of_call(recording_id))["status"] == "failed"


async def test_another_app_sees_and_touches_nothing(tmp_path: Path) -> None:
    async with birds(tmp_path) as (shop, _), shop.leg() as socket:
        await say(socket, tone(A_HZ))
        await shop.until_received(CALL, 3_000)
        recording_id = await shop.record()
        bank = Application(shop.base_url, "bank")
        one = f"{C}/recordings/{recording_id}"
        answers = [
            await bank.bird.post(f"{C}/recordings"),
            await bank.bird.get(f"{C}/recordings"),
            await bank.bird.get(one),
            await bank.bird.patch(one, json={"status": "completed"}),
            await bank.bird.get(f"{W}/recordings/{recording_id}"),
            await bank.bird.get(f"{W}/recordings/{recording_id}.mp3"),
            await bank.bird.delete(f"{W}/recordings/{recording_id}"),
        ]
        assert [answer.status_code for answer in answers] == [404] * 7
        assert await bank.listed() == []
        await bank.bird.aclose()
        await bank.http.aclose()
        assert (await shop.of_call(recording_id))["status"] == "ongoing"


def verify(headers: Mapping[str, str], body: bytes, url: str, signing_key: str) -> bool:
    """Bird's own example of a check, in Python."""
    received = base64.b64decode(headers["messagebird-signature"])
    joined = f"{headers['messagebird-request-timestamp']}\n{url}\n".encode() + hashlib.sha256(body).digest()
    return hmac.compare_digest(hmac.new(signing_key.encode(), joined, hashlib.sha256).digest(), received)


async def a_call_with_a_pause(shop: Application, socket: ClientConnection) -> str:
    recording_id = await shop.record()
    await say(socket, tone(A_HZ))
    await shop.until_received(CALL, 3_020)
    for status in ("paused", "ongoing", "completed"):
        await shop.change(recording_id, status)
    await shop.until_it_is(recording_id, "available")
    return recording_id


async def test_an_app_that_names_the_event_is_told_of_each_change_and_can_fetch_the_file_at_once(
    tmp_path: Path,
) -> None:
    fetched: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()

    async def fetch_at_once(request: Received) -> Answer:
        if len(receiver.requests) == 1:
            return Answer(status=500)  # it comes again, signed anew
        if "url" in request.message:
            async with httpx.AsyncClient(timeout=WAIT_S, verify=False) as http:
                fetched.set_result(await http.get(request.message["url"]))
        return Answer()

    async with (
        Receiver(fetch_at_once) as receiver,
        birds(tmp_path, hook=receiver.url, events=("voice.recording",), webhooks=OPEN) as (shop, service),
        shop.leg() as socket,
    ):
        await say(socket, silence(0.02))
        await shop.until_received(CALL, 20)
        recording_id = await a_call_with_a_pause(shop, socket)
        requests = await receiver.wait_for(5)
        done = await shop.of_workspace(recording_id)
        url, signing_key = receiver.url, key_text(SigningKeys(service.master).of("shop", "bird"))
    for request in requests:
        assert verify(request.headers, request.body, url, signing_key)
        assert not verify(request.headers, request.body + b" ", url, signing_key)
        conforms("recording", request.message)
    told = [request.message for request in requests]
    assert [each["status"] for each in told] == ["ongoing", "ongoing", "paused", "ongoing", "available"]
    assert {each["id"] for each in told} == {recording_id}
    ids = [request.headers["messagebird-request-id"] for request in requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert told[-1] | {"url": done["url"]} == done
    answer = await asyncio.wait_for(fetched, WAIT_S)
    assert answer.status_code == 200
    samples, rate_hz = hear(answer.content)
    assert len(find_beeps(samples[:, 0], rate_hz, A_HZ)) >= 1


@pytest.mark.parametrize("events", [(), ("recording.completed",)])
async def test_an_app_that_does_not_name_the_event_is_told_nothing_of_it(
    tmp_path: Path, events: tuple[str, ...]
) -> None:
    async with (
        Receiver() as receiver,
        birds(tmp_path, hook=receiver.url, events=events, webhooks=OPEN) as (shop, service),
        shop.leg() as socket,
    ):
        await say(socket, silence(0.02))
        await shop.until_received(CALL, 20)
        await a_call_with_a_pause(shop, socket)
        native = await shop.start(CALL)
        await say(socket, tone(A_HZ))
        await shop.until_received(CALL, 6_020)
        assert (await shop.act(native, "stop"))["status"] == "available"
        await receiver.wait_for(1)

        async def has_told_all() -> bool:
            return not await service.catalog.outbox.backlog()

        await until(has_told_all)
    (only,) = receiver.requests
    assert only.message["event"] == "recording.completed"
