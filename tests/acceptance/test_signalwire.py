"""An application written with SignalWire's own client, whose calls are recorded here."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from signalwire.core.security.webhook_validator import (
    validate_webhook_signature,
    validate_webhook_signature_sha256,
)
from signalwire.relay.event import RecordEvent
from signalwire.rest import RestClient
from signalwire.rest._base import SignalWireRestError
from signalwire.rest._pagination import PaginatedIterator

from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, ServerProcess, hear, recorder
from tests.support.speech import noise, spoken
from tests.support.talking import FRAME, RATE_HZ, say, speak
from tests.support.waiting import WAIT_S, until
from wavstream.access.signing_keys import SigningKeys
from wavstream.service.service import Service
from wavstream.settings import WebhookSettings

ADMIN_KEY = "key-of-the-administrators"
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
PROJECT = "d369a402-7b43-4512-8735-9d5e1f387814"
CALL = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
RECORDINGS = "/api/relay/rest/recordings"
SAYS_HZ, HEARS_HZ, LATER_HZ = 600.0, 1000.0, 1500.0
QUIET = np.zeros(FRAME, np.int16)
OPEN = WebhookSettings(allow_http=True, allow_localhost=True)
UNTIL_THE_STOP = {"format": "wav", "initial_timeout": 0, "end_silence_timeout": 0, "terminators": ""}

P = ParamSpec("P")
T = TypeVar("T")


class Application(Recorder):
    """An application of SignalWire's client, and the media server beside it."""

    def __init__(self, base_url: str, app_id: str = "shop", *, service: Service | None = None) -> None:
        super().__init__(base_url, key=KEYS[app_id], service=service)
        self.client = RestClient(PROJECT, KEYS[app_id], host=urlsplit(base_url).netloc)

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a method of the client returns, which waits for its answer."""
        return await asyncio.to_thread(method, *args, **kwargs)

    async def record(self, call: str = CALL, **params: Any) -> Any:  # type: ignore[override]
        """Start a recording, which only a command ends unless ``audio`` says otherwise."""
        params = {"audio": UNTIL_THE_STOP, **params}
        return await self.ask(self.client.calling.record, call, **params)

    async def stop(self, control_id: str, call: str = CALL) -> Any:
        return await self.ask(self.client.calling.record_stop, call, control_id=control_id)

    async def recordings(self, *, completed: int) -> list[dict[str, Any]]:
        """Return the app's recordings, newest first, as soon as so many are completed."""

        async def as_many() -> list[dict[str, Any]]:
            data: Any = (await self.ask(self.client.recordings.list))["data"]
            return data if sum(each["status"] == "completed" for each in data) == completed else []

        return await until(as_many)

    async def samples(self, url: str) -> NDArray[np.int16]:
        """Return the samples of the file behind a link, (n, channels)."""
        answer = await self.http.get(url)
        assert answer.status_code == 200, answer.text
        return hear(answer.content)[0]

    @property
    def signing_key(self) -> str:
        """What the app checks signatures with."""
        assert self._service is not None
        return SigningKeys(self._service.master).of("shop", "signalwire").hex()

    async def aclose(self) -> None:
        self.client._http._session.close()
        await self.http.aclose()


async def register(base_url: str, app_id: str) -> None:
    async with httpx.AsyncClient(base_url=base_url, verify=False) as admin:
        body = {"api_key": KEYS[app_id]}
        answer = await admin.post(f"/admin/apps/{app_id}", json=body, headers={"X-Admin-API-Key": ADMIN_KEY})
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def signalwire(data_dir: Path, **settings: Any) -> AsyncIterator[Application]:
    """Yield a server with the app ``shop``."""
    chosen = {"admin_api_key": SecretStr(ADMIN_KEY), "webhooks": OPEN, **settings}
    async with recorder(data_dir, **chosen) as (client, service):
        await register(client.base_url, "shop")
        application = Application(client.base_url, service=service)
        try:
            yield application
        finally:
            await application.aclose()


def leg(application: Application, call: str = CALL, query: str = "channels=2") -> Any:
    """Return the media WebSocket of the controlled leg: what the party says on the left, what it hears on the right."""
    return application.connect(f"/media/pcm/{call}/a?token={KEYS['shop']}&{query}")


def both(says: NDArray[np.int16], hears: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.stack((says, hears), axis=1)


def tones(length_s: float = 3.0) -> NDArray[np.int16]:
    """Return both tracks of a leg that says a tone each second from 0.5 s on, and hears another from 0.2 s on."""
    said = beeps(length_s, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ, offset_s=0.5)
    heard = beeps(length_s, rate_hz=RATE_HZ, frequency_hz=HEARS_HZ, offset_s=0.2)
    return both(said, heard)


# ---- a call ---------------------------------------------------------------------------------------------------------


async def test_a_call_is_recorded_paused_resumed_and_stopped_and_every_state_is_told_and_signed(
    tmp_path: Path,
) -> None:
    fetched: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async with signalwire(tmp_path) as shop:

        async def fetch(request: Received) -> Answer:
            """Fetch the file at the instant that its link arrives."""
            params = request.message["params"]
            if params["state"] == "finished":
                fetched.set_result((await shop.http.get(params["url"])).content)
            return Answer()

        async with Receiver(fetch) as receiver, leg(shop, query="") as socket:
            await say(socket, QUIET)
            await shop.until_received(CALL, 20)
            hook = receiver.url
            started = await shop.record(control_id="rec-1", status_url=hook)
            # In real time: a pause takes what is ahead of its time too.
            await speak(socket, beeps(1.0, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ, offset_s=0.5))
            await shop.until_received(CALL, 1_000)
            await shop.ask(shop.client.calling.record_pause, CALL, control_id="rec-1", extras={"behavior": "silence"})
            secret = noise(1.0, seed=7)
            await speak(socket, secret)
            await shop.until_received(CALL, 2_000)
            await shop.ask(shop.client.calling.record_resume, CALL, control_id="rec-1")
            await speak(socket, beeps(2.0, rate_hz=RATE_HZ, frequency_hz=LATER_HZ, offset_s=1.0))
            await shop.until_received(CALL, 4_000)
            stopped = await shop.stop("rec-1")
            requests = await receiver.wait_for(4)
            file = await asyncio.wait_for(fetched, WAIT_S)
        key = shop.signing_key

    assert (started["id"], started["status"], started["control_id"]) == (CALL, "answered", "rec-1")
    assert (stopped["source"], stopped["control_id"]) == ("realtime_api", "rec-1")
    events = [RecordEvent.from_payload(request.message) for request in requests]
    assert [event.state for event in events] == ["recording", "paused", "recording", "finished"]
    assert {event.call_id for event in events} == {CALL}
    assert {event.control_id for event in events} == {"rec-1"}
    assert requests[1].message["params"]["pause_behavior"] == "silence"
    assert {request.message["event_channel"] for request in requests} == {f"rest:{CALL}"}
    assert {request.message["project_id"] for request in requests} == {PROJECT}
    for request in requests:
        body = request.body.decode()
        sha1, sha256 = (request.headers[f"x-signalwire-{name}signature"] for name in ("", "sha256-"))
        assert validate_webhook_signature(key, sha1, hook, body)
        assert validate_webhook_signature_sha256(key, sha256, hook, body)
        assert not validate_webhook_signature_sha256(key, sha256, hook + "/other", body)

    finished = events[-1]
    assert len(file) == finished.size
    samples, rate_hz = hear(file)
    assert samples.shape[1] == 1
    assert len(samples) / rate_hz == pytest.approx(finished.duration, abs=0.001)
    (before,) = find_beeps(samples[:, 0], rate_hz, SAYS_HZ)
    (after,) = find_beeps(samples[:, 0], rate_hz, LATER_HZ)
    # The pause keeps its place, and nothing of what was said in it.
    assert after - before > 1.5
    assert np.abs(samples[round((before + 0.6) * rate_hz) : round((after - 0.6) * rate_hz)]).max() == 0


@pytest.mark.parametrize(("direction", "heard_hz"), [("speak", SAYS_HZ), ("listen", HEARS_HZ)], ids=["speak", "listen"])
async def test_one_direction_is_one_track_of_the_leg(tmp_path: Path, direction: str, heard_hz: float) -> None:
    async with signalwire(tmp_path) as shop, leg(shop) as socket:
        await say(socket, both(QUIET, QUIET))
        await shop.until_received(CALL, 20)
        await shop.record(control_id="one", audio={**UNTIL_THE_STOP, "direction": direction, "stereo": True})
        await say(socket, tones())
        await shop.until_received(CALL, 3_020)
        await shop.stop("one")
        (item,) = await shop.recordings(completed=1)
        samples = await shop.samples(item["url"])

    assert (item["track"], item["stereo"]) == ("inbound" if direction == "speak" else "outbound", False)
    assert samples.shape[1] == 1
    other_hz = SAYS_HZ + HEARS_HZ - heard_hz
    assert len(find_beeps(samples[:, 0], RATE_HZ, heard_hz)) >= 2
    assert tone_level(samples[:, 0], other_hz) < tone_level(samples[:, 0], heard_hz) / 50


async def test_both_directions_in_stereo_are_the_party_on_the_left_and_the_other_on_the_right(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, leg(shop) as socket:
        await say(socket, both(QUIET, QUIET))
        await shop.until_received(CALL, 20)
        audio = {**UNTIL_THE_STOP, "direction": "both", "stereo": True}
        # As the specification has it, which the client has no argument for.
        started: Any = await shop.ask(shop.client.calling.record, CALL, extras={"record": {"audio": audio}})
        await say(socket, tones())
        await shop.until_received(CALL, 3_020)
        await shop.stop(started["control_id"])
        (stopped,) = (await shop.ask(shop.client.recordings.list))["data"]
        (item,) = await shop.recordings(completed=1)
        samples = await shop.samples(item["url"])

    assert stopped["status"] in ("processing", "completed")
    assert (item["track"], item["stereo"]) == ("both", True)
    assert samples.shape[1] == 2
    for channel, own_hz, other_hz in ((0, SAYS_HZ, HEARS_HZ), (1, HEARS_HZ, SAYS_HZ)):
        assert len(find_beeps(samples[:, channel], RATE_HZ, own_hz)) >= 2
        assert tone_level(samples[:, channel], other_hz) < tone_level(samples[:, channel], own_hz) / 50


def tone_level(samples: NDArray[np.int16], frequency_hz: float) -> float:
    """Return how much there is of a pitch."""
    turning = np.exp(-2j * np.pi * frequency_hz * np.arange(len(samples)) / RATE_HZ)
    return float(np.abs(np.mean(turning * samples)))


# ---- ends that come by themselves -----------------------------------------------------------------------------------


async def test_with_the_defaults_a_party_that_says_nothing_is_no_input_after_four_seconds(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, Receiver() as receiver, leg(shop, query="") as socket:
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        await shop.ask(shop.client.calling.record, CALL, status_url=receiver.url)
        await say(socket, np.zeros(6 * RATE_HZ, np.int16))
        _, told = (request.message["params"] for request in await receiver.wait_for(2))
        (item,) = await shop.recordings(completed=1)
        file = await shop.http.get(item["url"])

    assert told["state"] == "no_input"
    assert told["duration"] == pytest.approx(4.0, abs=0.02)
    assert (item["duration_in_seconds"], item["track"]) == (4, "inbound")
    assert file.headers["content-type"] == "audio/mpeg"


async def test_with_the_defaults_a_party_that_has_spoken_ends_it_by_half_a_second_of_silence(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, Receiver() as receiver, leg(shop, query="") as socket:
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        await shop.ask(shop.client.calling.record, CALL, status_url=receiver.url)
        await say(socket, spoken(), np.zeros(3 * RATE_HZ, np.int16))
        _, told = (request.message["params"] for request in await receiver.wait_for(2))
        own = (await shop.http.get("/v1/recordings")).json()["data"][0]

    assert (told["state"], own["end_reason"], own["api"]) == ("finished", "silence", "signalwire")
    assert told["duration"] < len(spoken()) / RATE_HZ + 1.5


async def test_with_the_defaults_the_pound_key_ends_it(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, leg(shop, query="") as socket:
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        await shop.ask(shop.client.calling.record, CALL, control_id="rec-1")
        await speak(socket, spoken()[: RATE_HZ // 2])
        await socket.send('{"event":"dtmf","digit":"#"}')
        (item,) = await shop.recordings(completed=1)
        own = (await shop.http.get("/v1/recordings")).json()["data"][0]
        with pytest.raises(SignalWireRestError) as refused:
            await shop.stop("rec-1")

    assert own["end_reason"] == "terminator"
    assert item["status"] == "completed"
    assert (refused.value.status_code, refused.value.body) == (404, {"error": "Not Found"})


# ---- recordings -----------------------------------------------------------------------------------------------------


async def test_recordings_of_every_api_are_listed_page_by_page_read_and_deleted(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, leg(shop, query="") as socket:
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        for control_id in ("one", "two", "three"):
            await shop.record(control_id=control_id)
        native = await shop.start(CALL)
        await say(socket, beeps(1.0, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ))
        await shop.until_received(CALL, 1_020)
        for control_id in ("two", "one", "three"):
            await shop.stop(control_id)
        items = await shop.recordings(completed=3)

        paged = await shop.ask(lambda: list(PaginatedIterator(shop.client._http, RECORDINGS, params={"page_size": 2})))
        page = await shop.ask(shop.client.recordings.list, page_size=3)
        one = await shop.ask(shop.client.recordings.get, items[-1]["id"])
        await shop.ask(shop.client.recordings.delete, items[-1]["id"])
        left = await shop.ask(shop.client.recordings.list)
        refusals = []
        for method in (shop.client.recordings.get, shop.client.recordings.delete):
            with pytest.raises(SignalWireRestError) as refused:
                await shop.ask(method, items[-1]["id"])
            refusals.append((refused.value.status_code, refused.value.body))
        with pytest.raises(SignalWireRestError) as running:
            await shop.ask(shop.client.recordings.delete, items[0]["id"])
        with pytest.raises(SignalWireRestError) as no_page:
            await shop.ask(shop.client.recordings.list, page_token="bad")
        gone = await shop.http.get(one["url"])

    assert items[0]["id"].replace("-", "") == native["id"]
    assert [item["status"] for item in items] == ["recording", "completed", "completed", "completed"]
    assert [item["id"] for item in paged] == [item["id"] for item in items]
    assert (len(page["data"]), "next" in page["links"]) == (3, True)
    assert one == items[-1]
    assert one["relay_pstn_leg_id"] == CALL
    assert [item["id"] for item in left["data"]] == [item["id"] for item in items[:-1]]
    assert refusals == [(404, {"error": "Not Found"})] * 2
    assert running.value.status_code == 422
    assert running.value.body["errors"][0]["title"] == "Invalid Attribute"
    assert no_page.value.body["errors"][0]["detail"].startswith("page_token ")
    assert gone.status_code == 404


# ---- refusals -------------------------------------------------------------------------------------------------------


async def test_what_is_another_apps_does_not_exist_and_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, leg(shop, query="") as socket:
        await register(shop.base_url, "bank")
        bank = Application(shop.base_url, "bank")
        stranger = Application(shop.base_url)
        stranger.client._http._session.auth = (PROJECT, "wrong-key-of-the-shop")
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        await shop.record(control_id="rec-1")
        await say(socket, beeps(1.0, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ))
        await shop.until_received(CALL, 1_020)

        refusals = []
        for each, expected in ((bank, 404), (stranger, 401)):
            for ask in (each.record(), each.stop("rec-1")):
                with pytest.raises(SignalWireRestError) as refused:
                    await ask
                refusals.append((refused.value.status_code, expected))
        await shop.stop("rec-1")
        (item,) = await shop.recordings(completed=1)
        with pytest.raises(SignalWireRestError) as refused:
            await bank.ask(bank.client.recordings.get, item["id"])
        of_the_bank = await bank.ask(bank.client.recordings.list)
        for each in (bank, stranger):
            await each.aclose()

    assert all(status == expected for status, expected in refusals)
    assert refused.value.status_code == 404
    assert of_the_bank["data"] == []
    assert of_the_bank["links"].keys() == {"self", "first"}


async def test_a_second_start_with_a_handle_and_wrong_options_are_refused_and_start_nothing(tmp_path: Path) -> None:
    async with signalwire(tmp_path) as shop, leg(shop, query="") as socket:
        await say(socket, QUIET)
        await shop.until_received(CALL, 20)
        await shop.record(control_id="rec-1")
        wrong: list[dict[str, Any]] = [
            {"control_id": "rec-1"},
            {"audio": {"format": "mp4", "direction": "up"}, "status_url": "ftp://shop.example"},
        ]
        refusals = []
        for params in wrong:
            with pytest.raises(SignalWireRestError) as refused:
                await shop.record(**params)
            assert refused.value.status_code == 422
            refusals.append([error["attribute"] for error in refused.value.body["errors"]])
        items = (await shop.ask(shop.client.recordings.list))["data"]

    assert refusals == [["control_id"], ["audio.format", "audio.direction", "status_url"]]
    assert len(items) == 1


# ---- a server that is killed ----------------------------------------------------------------------------------------


async def test_a_handle_and_its_callbacks_outlive_a_kill(tmp_path: Path) -> None:
    settings = {"admin_api_key": ADMIN_KEY, "webhooks__allow_http": True, "webhooks__allow_localhost": True}
    async with Receiver() as receiver, ServerProcess(tmp_path, **settings) as server:
        base_url = (await server.start()).base_url
        await register(base_url, "shop")
        shop = Application(base_url)
        async with leg(shop, query="") as socket:
            await say(socket, QUIET)
            await shop.until_received(CALL, 20)
            await shop.record(control_id="rec-1", status_url=receiver.url)
            await speak(socket, beeps(1.5, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ, offset_s=0.5))
            await receiver.wait_for(1)
            await server.end(signal.SIGKILL)
        await shop.aclose()

        shop = Application((await server.start()).base_url)
        async with leg(shop, query="") as socket:
            await say(socket, beeps(1.5, rate_hz=RATE_HZ, frequency_hz=LATER_HZ, offset_s=0.5))
            await shop.until_received(CALL, 1_500)
            await shop.stop("rec-1")
            (item,) = await shop.recordings(completed=1)
        samples = await shop.samples(item["url"])
        told = [request.message["params"] for request in await receiver.wait_for(2)]
        await shop.aclose()

    assert [params["state"] for params in told] == ["recording", "finished"]
    assert told[-1]["url"] == item["url"]
    assert len(find_beeps(samples[:, 0], RATE_HZ, SAYS_HZ)) >= 1
    assert len(find_beeps(samples[:, 0], RATE_HZ, LATER_HZ)) == 1
