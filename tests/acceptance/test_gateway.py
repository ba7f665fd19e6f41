"""An application written against the voice gateway, over real HTTP and real media sockets."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.hearing import HEARD, Hearing
from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Receiver
from tests.support.recorder import Recorder, ServerProcess, hear, recorder
from tests.support.speech import caller
from tests.support.talking import FRAME, RATE_HZ, say
from tests.support.waiting import until
from wavstream.api.gateway.commands import Command
from wavstream.catalog.catalog import Catalog
from wavstream.model.fact import command_done
from wavstream.service.data_folder import DataFolder
from wavstream.service.service import Service
from wavstream.settings import GatewaySettings, WebhookSettings

TONE_HZ = 700.0
TONE = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.5)
SECOND = TONE[:RATE_HZ]
QUIET = np.zeros(FRAME, np.int16)
ADMIN = {"X-Admin-API-Key": "key-of-the-administrators"}
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
SESSION = "acW68-1d0b6c5e-9b1e-4c52-8f2e-3f0c2a7d1e90"
PROCESS = {"admin_api_key": ADMIN["X-Admin-API-Key"], "gateway__stop_cooldown": "seek"}
OPEN = WebhookSettings(allow_http=True, allow_localhost=True)
QUICK = GatewaySettings(stop_cooldown="seek")


def as_app(app_id: str) -> dict[str, str]:
    return {"X-App-ID": app_id, "X-API-Key": KEYS[app_id]}


class Application(Recorder):
    """An application of the gateway, and the media server beside it."""

    def __init__(self, base_url: str, app_id: str = "shop") -> None:
        super().__init__(base_url, key=KEYS[app_id])
        self.app_id = app_id
        self.http.headers.update(as_app(app_id))

    async def register(self, app_id: str, **more: object) -> httpx.Response:
        body = {"api_key": KEYS[app_id], "rate_limit": 200, "events": []} | more
        return await self.http.post(f"/admin/apps/{app_id}", json=body, headers=ADMIN)

    async def command(self, name: str, session: str = SESSION, **body: object) -> httpx.Response:
        return await self.http.post(f"/api/v1/sessions/{session}/commands/{name}", json=body)

    def stream(self, session: str = SESSION, leg: str = "a") -> connect:
        return connect(
            f"{self.base_url.replace('http', 'ws', 1)}/media/pcm/{session}/{leg}",
            additional_headers=as_app(self.app_id),
            compression=None,
        )

    async def announce(self, session: str = SESSION) -> None:
        answer = await self.http.post("/v1/sessions", json={"session_id": session})
        assert answer.status_code == 201

    async def until_away(self, leg: str) -> None:
        """Wait until the server has seen that the leg is lost."""

        async def is_away() -> bool:
            return leg in (await self.http.get(f"/v1/sessions/{SESSION}")).json()["away"]

        await until(is_away)

    async def until_heard(self, media_ms: int, session: str = SESSION) -> None:
        """Wait until the session's only stream has sent so much audio."""
        await self.until_received(session, media_ms)

    async def recordings(self, *, finished: int) -> list[dict[str, Any]]:
        """All recordings of the app, oldest first, as soon as so many are available."""

        async def as_many() -> list[dict[str, Any]]:
            data: list[dict[str, Any]] = (await self.http.get("/v1/recordings")).json()["data"]
            return data if sum(each["status"] == "available" for each in data) == finished else []

        return list(reversed(await until(as_many)))

    async def tones(self, recording: dict[str, Any]) -> list[float]:
        """Where the file behind the recording's link has the tone, on the left."""
        samples, rate_hz = hear((await self.http.get(recording["url"])).content)
        return find_beeps(samples[:, 0], rate_hz, TONE_HZ)


@asynccontextmanager
async def talking(socket: ClientConnection) -> AsyncIterator[None]:
    """Meanwhile the leg says the tone over and over, in real time."""

    async def talk() -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for number in itertools.count():
            await asyncio.sleep(start_s + number * 0.02 - loop.time())
            await say(socket, SECOND[number % 50 * FRAME :][:FRAME])

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def gateway(data_dir: Path, **settings: Any) -> AsyncIterator[tuple[Application, Service]]:
    """Yield a server with the app ``shop``."""
    admin_key = SecretStr(ADMIN["X-Admin-API-Key"])
    chosen: dict[str, Any] = {"admin_api_key": admin_key, "gateway": QUICK} | settings
    async with recorder(data_dir, **chosen) as (client, service):
        application = Application(client.base_url)
        try:
            assert (await application.register("shop")).status_code == 200
            yield application, service
        finally:
            await application.http.aclose()


async def test_the_quickstart_an_app_is_registered_a_leg_streams_and_is_recorded(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, _), shop.stream() as socket:
        await say(socket, QUIET)
        await shop.until_heard(20)
        started = await shop.command("record/start", command_uid="rec-1")
        assert started.status_code == 202
        assert started.json() == {
            "operation_id": started.json()["operation_id"], "status": "in_progress", "timeout_ms": 2000
        }  # fmt: skip
        # What the start takes to take effect is not in the file.
        await say(socket, np.concatenate((np.zeros(RATE_HZ, np.int16), TONE)))
        await shop.until_heard(4020)
        assert (await shop.command("record/stop")).status_code == 202
        (recording,) = await shop.recordings(finished=1)
        assert np.diff(await shop.tones(recording)) == pytest.approx([1, 1], abs=0.01)


async def test_start_stop_and_start_again_are_two_files_each_with_the_uid_of_its_start(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, service), shop.stream() as socket, talking(socket):
        await shop.until_heard(20)
        for turn in range(2):
            while (answer := await shop.command("record/start", command_uid=f"rec-{turn}")).status_code == 429:
                await asyncio.sleep(0.05)
            assert answer.status_code == 202
            await shop.until_heard(2200 + 3400 * turn)
            assert (await shop.command("record/stop")).status_code == 202
        first, second = await shop.recordings(finished=2)
        for recording in (first, second):
            assert len(await shop.tones(recording)) >= 1
        rows = [await service.catalog.recordings.get(each["id"]) for each in (first, second)]
    assert [row.request_id for row in rows if row is not None] == ["rec-0", "rec-1"]


async def test_an_announced_session_is_recorded_from_the_first_sample_of_its_stream(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, _):
        assert (await shop.command("record/start")).status_code == 404
        await shop.announce()
        assert (await shop.command("record/start")).status_code == 202
        async with shop.stream() as socket:
            await say(socket, TONE)
            await shop.until_heard(3000)
        (recording,) = await shop.recordings(finished=1)
        assert recording["end_reason"] == "hangup"
        assert await shop.tones(recording) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)

        async def is_unknown() -> bool:  # within a visit of the ticker
            answer = await shop.command("record/stop")
            return bool(answer.json() == {"success": False, "error": "Session not found"})

        await until(is_unknown)


async def test_a_stop_during_a_reconnect_keeps_what_was_said(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, _):
        await shop.announce()
        await shop.command("record/start")
        async with shop.stream() as socket:
            await say(socket, TONE)
            await shop.until_heard(3000)
            socket.transport.abort()
        await shop.until_away("a")
        assert (await shop.command("record/stop")).status_code == 202
        (recording,) = await shop.recordings(finished=1)
        assert recording["end_reason"] == "stopped"
        assert await shop.tones(recording) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)


async def test_the_recording_of_an_app_that_is_removed_goes_on_to_its_end_and_is_nobodys(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, service):
        await shop.announce()
        await shop.command("record/start")
        async with shop.stream() as socket:
            await say(socket, TONE[:RATE_HZ])
            await shop.until_heard(1000)
            assert (await shop.http.delete("/admin/apps/shop", headers=ADMIN)).status_code == 200
            assert (await shop.command("record/stop")).status_code == 401
            await say(socket, TONE[RATE_HZ:])
        await shop.register("shop")  # the same name, and another app

        async def finished() -> bool:
            page = await service.catalog.recordings.list("shop", limit=2)
            return [row.status for row in page.data] == ["available"]

        await until(finished)
        assert (await shop.http.get("/v1/recordings")).json()["data"] == []
    (file,) = (tmp_path / "recordings" / "shop").rglob("*.wav")
    samples, rate_hz = hear(file.read_bytes())
    assert find_beeps(samples[:, 0], rate_hz, TONE_HZ) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)


async def test_a_token_of_an_app_that_is_removed_opens_nothing_from_then_on(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, _):
        await shop.register("bank")
        made = await shop.http.post("/v1/stream-tokens", json={"session_id": None})
        url = f"{shop.base_url.replace('http', 'ws', 1)}/media/pcm/call-77/a?token={made.json()['token']}&record=1"
        async with connect(url) as socket:
            await say(socket, QUIET)
            await shop.until_heard(20, "call-77")
        assert (await shop.http.delete("/admin/apps/shop", headers=ADMIN)).status_code == 200
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 401


async def test_the_options_of_an_app_are_those_of_all_its_recordings_and_a_request_may_name_others(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as (shop, _):
        await shop.register("shop", recording={"channels": "mono", "metadata": {"of": "shop"}})

        async def started(session: str, **options: str) -> None:
            answer = await shop.http.post("/v1/recordings", json={"session_id": session, **options})
            assert answer.status_code == 201

        async with shop.stream("asked", "a?record=1") as socket:  # before the app is known by any other request
            await say(socket, TONE)
        await shop.announce("commanded")
        assert (await shop.command("record/start", "commanded")).status_code == 202
        await started("requested")
        await started("other", channels="stereo")
        for session in ("commanded", "requested", "other"):
            async with shop.stream(session) as socket:
                await say(socket, TONE)
        recordings = await shop.recordings(finished=4)
        heard = {each["session_id"]: hear((await shop.http.get(each["url"])).content)[0] for each in recordings}
    assert {session: samples.shape[1] for session, samples in heard.items()} == {
        "commanded": 1, "requested": 1, "other": 2, "asked": 1
    }  # fmt: skip
    beeps = {session: find_beeps(samples[:, 0], RATE_HZ, TONE_HZ) for session, samples in heard.items()}
    # It begins when its stream opens, with the silence before the first word of it is read.
    opened = beeps.pop("asked")
    assert np.diff(opened) == pytest.approx([1, 1], abs=0.001)
    assert 0.49 <= opened[0] < 1
    assert list(beeps.values()) == [pytest.approx([0.5, 1.5, 2.5], abs=0.01)] * 3
    assert all(each["metadata"] == {"of": "shop"} for each in recordings)


async def test_an_app_whose_option_asks_for_transcripts_is_told_of_those_that_are_made_and_that_failed(
    tmp_path: Path,
) -> None:
    events = ["recording.transcribed", "recording.transcription_failed"]
    async with (
        Hearing() as hearing,
        Receiver() as hook,
        gateway(tmp_path, webhooks=OPEN, **hearing.settings()) as (shop, _),
    ):
        for session, language in (("english", "en-US"), ("german", "de-DE")):
            options = {"transcription": True, "transcription_language": language}
            assert (await shop.register("shop", webhook_url=hook.url, events=events, recording=options)).is_success
            await shop.announce(session)
            assert (await shop.command("record/start", session, command_uid=f"of-{session}")).status_code == 202
            async with shop.stream(session) as socket:
                await say(socket, caller()[22_720:46_720])
        await until(lambda: len(hook.requests) == 2)
        told = {each.message["session_uuid"]: each.message for each in hook.requests}
        found = {each["session_id"]: each["id"] for each in await shop.recordings(finished=2)}

    made, failed = told["english"], told["german"]
    assert (made["event"], made["transcription"]["text"], made["command_uid"]) == (events[0], HEARD, "of-english")
    assert (failed["event"], failed["transcription"]["language"], failed["command_uid"]) == (
        events[1],
        "de-DE",
        "of-german",
    )
    assert "answered 400" in failed["error"]
    assert [made["recording_id"], failed["recording_id"]] == [found["english"], found["german"]]


async def test_what_is_being_recorded_can_be_listened_to_meanwhile(tmp_path: Path) -> None:
    live = f"/api/v1/sessions/{SESSION}/recording/file.wav"
    async with gateway(tmp_path) as (shop, _):
        await shop.announce()
        assert (await shop.http.get(live)).json() == {"success": False, "error": "No recording is running"}
        await shop.command("record/start")
        assert (await shop.http.get(live)).status_code == 404  # no stream yet
        async with shop.stream() as socket:
            await say(socket, TONE)
            await shop.until_heard(3000)
            beyond = await shop.http.get(live, headers={"Range": "bytes=999999999-"})
            assert (beyond.status_code, beyond.json()["success"]) == (416, False)
            async with shop.http.stream("GET", live) as heard:
                assert heard.status_code == 200
                assert heard.headers["content-type"] == "audio/wav"
                assert (await shop.command("record/stop")).status_code == 202
                audio = await heard.aread()
        # The stop may be asked for later than the tone is long: then silence follows it.
        samples = audio[audio.index(b"data") + 8 :]
        stereo = np.frombuffer(samples[: len(samples) // 4 * 4], np.int16).reshape(-1, 2)
        assert len(find_beeps(stereo[:, 0], RATE_HZ, TONE_HZ)) == len(find_beeps(TONE, RATE_HZ, TONE_HZ))
        assert (await shop.http.get(live)).status_code == 404


async def test_a_stream_belongs_to_the_app_whose_key_or_token_opened_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (shop, _):
        await shop.register("bank")
        tokens = await shop.http.post("/v1/stream-tokens", json={"session_id": None})
        token = tokens.json()["token"]
        base = shop.base_url.replace("http", "ws", 1)
        ways: dict[str, tuple[str, dict[str, str]]] = {
            "path": (f"/media/t/{token}/pcm/path/a", {}),
            "query": (f"/media/pcm/query/a?token={token}", {}),
            "bearer": ("/media/pcm/bearer/a", {"Authorization": f"Bearer {token}"}),
            "basic": ("/media/pcm/basic/a", {"Authorization": httpx.BasicAuth("shop", token)._auth_header}),
            "headers": ("/media/pcm/headers/a", as_app("shop")),
        }
        bank = Application(shop.base_url, "bank")
        for session, (path, headers) in ways.items():
            async with connect(base + path, additional_headers=headers) as socket:
                await say(socket, QUIET)
                await shop.until_heard(20, session)
                forbidden = await bank.command("record/start", session)
                assert (forbidden.status_code, forbidden.json()["success"]) == (403, False)
                assert (await shop.command("record/start", session)).status_code == 202
        await bank.http.aclose()
        for path, headers in (
            ("/media/t/wrong/pcm/x/a", {}),
            ("/media/pcm/x/a", as_app("shop") | {"X-App-ID": "bank"}),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(base + path, additional_headers=headers)
            assert refused.value.response.status_code == 401


async def killed_while_recording(server: ServerProcess) -> tuple[httpx.Response, float]:
    """Start a server, record what says the tone each second from 0.5 s on, kill the server.

    The answer to the start, and by how many seconds at most the leg began to talk after it was there.
    """
    shop = Application((await server.start()).base_url)
    await shop.register("shop")
    await shop.announce()
    started = await shop.command("record/start", command_uid="rec-1")
    dialled_s = time.monotonic()
    async with shop.stream() as socket:
        async with talking(socket):
            await shop.until_heard(20)
            late_s = time.monotonic() - dialled_s
            await shop.until_heard(1300)
        await server.end(signal.SIGKILL)
    await shop.http.aclose()
    return started, late_s


async def test_a_command_uid_and_what_it_started_outlive_a_kill(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, **PROCESS) as server:
        first, late_s = await killed_while_recording(server)
        shop = Application((await server.start()).base_url)
        assert (await shop.command("record/start", command_uid="rec-1")).json() == first.json()
        while (answer := await shop.command("record/stop", command_uid="end-1")).status_code == 503:
            await asyncio.sleep(0.01)
        assert answer.status_code == 202
        (recording,) = await shop.recordings(finished=1)
        assert recording["end_reason"] == "stopped"
        (tone_s, *_) = await shop.tones(recording)
        assert 0.48 < tone_s < 0.52 + late_s
        await shop.http.aclose()


async def test_a_stop_that_was_written_before_a_kill_is_done_after_it(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path, **PROCESS) as server:
        _, late_s = await killed_while_recording(server)
        catalog = await Catalog.open(DataFolder(tmp_path).catalog)
        started = await catalog.operations.get(
            app_id="shop", session_id=SESSION, request_id="rec-1", since=datetime(2026, 1, 1, tzinfo=UTC)
        )
        assert started is not None
        stop = replace(
            started, id="stop", command=Command.RECORD_STOP, request_id="end-1", at=started.at + timedelta(seconds=1.2)
        )
        told = command_done(
            app_id="shop", session_id=SESSION, operation_id="stop", command=stop.command, request_id="end-1",
            error=None, at=stop.at,
        )  # fmt: skip
        await catalog.operations.add(stop, told)
        await catalog.database.close()
        shop = Application((await server.start()).base_url)
        (recording,) = await shop.recordings(finished=1)
        assert recording["end_reason"] == "stopped"
        (tone_s,) = await shop.tones(recording)
        assert 0.48 < tone_s < 0.52 + late_s
        await shop.http.aclose()
