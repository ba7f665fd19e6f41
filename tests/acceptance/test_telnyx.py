"""An application written with Telnyx's own client, over real HTTP and real media sockets: it listens to its files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from telnyx import (
    APIStatusError,
    AsyncTelnyx,
    AuthenticationError,
    DefaultAsyncHttpxClient,
    InternalServerError,
    NotFoundError,
    Telnyx,
    UnprocessableEntityError,
)
from telnyx.types import (
    CallRecordingError,
    CallRecordingSaved,
    CallRecordingTranscriptionSaved,
    RecordingTranscription,
)

from tests.support.hearing import HEARD, Hearing
from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Answer, Received, Receiver
from tests.support.recorder import Recorder, Wall, hear, recorder
from tests.support.speech import caller
from tests.support.talking import RATE_HZ, say, speak
from tests.support.waiting import WAIT_S, until
from wavstream.settings import WebhookSettings
from wavstream.settings.tables import FacadeSettings

ADMIN = {"X-Admin-API-Key": "key-of-the-administrators"}
KEYS = {"shop": "the-key-of-the-shop-app", "bank": "the-key-of-the-bank-app"}
CALL = "v3:MdI91X4l/WFEs7Ig+bBEOT9M4"
IDS = {"call_leg_id": "leg-1", "call_session_id": "session-1", "connection_id": "17"}
A_HZ, B_HZ, SECRET_HZ, AFTER_HZ = 600.0, 900.0, 1200.0, 1500.0
TONE = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=A_HZ, offset_s=0.5)
OPEN = WebhookSettings(allow_http=True, allow_localhost=True)
SPEECH = caller()[22_720:46_720]
STATE = "aGF2ZSBhIG5pY2UgZGF5"
HINTS = {
    "transcription_language": "en-US",
    "transcription_engine": "B",
    "transcription_min_speaker_count": 2,
    "transcription_max_speaker_count": 2,
    "transcription_profanity_filter": True,
    "transcription_speaker_diarization": True,
}
"""Of which the language and the engine count here."""


class Application(Recorder):
    """An application of Telnyx's, and the media server beside it."""

    def __init__(self, base_url: str, app_id: str = "shop", **client: Any) -> None:
        super().__init__(base_url, key=KEYS[app_id])
        self.telnyx = AsyncTelnyx(api_key=KEYS[app_id], base_url=f"{base_url}/v2", **client)

    @property
    def actions(self) -> Any:
        return self.telnyx.calls.actions

    async def announce(self, call: str = CALL, **facts: object) -> None:
        answer = await self.http.post("/v1/sessions", json={"session_id": call, **facts})
        assert answer.status_code == 201, answer.text

    def leg(self, leg: str = "a", call: str = CALL) -> Any:
        key = self.http.headers["authorization"].removeprefix("Bearer ")
        return self.connect(f"/media/pcm/{quote(call, safe='')}/{leg}?token={key}")

    async def record(self, call: str = CALL, **said: Any) -> str:  # type: ignore[override]
        """Start a recording; its id."""
        answer = await self.actions.start_recording(call, **{"format": "wav", "channels": "dual", **said})
        assert answer.data.result == "ok"
        return str(answer.data.recording_id)

    async def heard(self, call: str, media_ms: int, *, legs: int = 1) -> None:
        """Wait until the call's legs have sent so much audio."""
        await self.until_received(quote(call, safe=""), media_ms, legs=legs)

    async def record_whole(self, call: str, *, sound: NDArray[np.int16] | None = None, **said: Any) -> str:
        """Record a call that says the tone, or three seconds of another, from its first sample to its end; its id."""
        await self.announce(call)
        recording_id = await self.record(call, **said)
        async with self.leg(call=call) as socket:
            await say(socket, TONE if sound is None else sound)
            await self.heard(call, 3000)
        await self.until_finished(recording_id)

        async def is_over() -> bool:
            return (await self.http.get(f"/v1/sessions/{quote(call, safe='')}")).status_code == 404

        await until(is_over)
        return recording_id

    async def until_transcribed(self, recording_id: str) -> Any:
        """Wait until nothing more happens to the transcription of a recording; return it, as the list has it."""

        async def over() -> Any:
            of_it: Any = {"recording_id": recording_id}
            listed = [each async for each in self.telnyx.recording_transcriptions.list(filter=of_it)]
            return next((each for each in listed if each.status != "in-progress"), None)

        return await until(over)

    async def until_finished(self, recording_id: str) -> Any:
        async def there() -> Any:
            try:
                return (await self.telnyx.recordings.retrieve(recording_id)).data
            except NotFoundError:
                return None

        return await until(there)

    async def close(self) -> None:
        await self.http.aclose()
        await self.telnyx.close()


class Told(NamedTuple):
    """One webhook: how it came, and what was behind its link at that instant."""

    request: Received
    file: bytes | None


class Shop(Receiver):
    """The receiver of an application: it fetches the file of each link before it answers."""

    def __init__(self) -> None:
        super().__init__(self.take)
        self.told: list[Told] = []

    async def take(self, request: Received) -> Answer:
        links = request.message["data"]["payload"].get("recording_urls", {})
        file = None
        for link in links.values():
            async with httpx.AsyncClient(timeout=WAIT_S, verify=False) as anybody:  # the link is enough
                fetched = await anybody.get(link)
            assert fetched.status_code == 200
            file = fetched.content
        self.told.append(Told(request, file))
        return Answer()


@asynccontextmanager
async def server(data_dir: Path, *, hook: str | None = None, **settings: Any) -> AsyncIterator[Application]:
    """Yield an application of a server with the apps ``shop``, which has a webhook, and ``bank``."""
    async with recorder(data_dir, admin_api_key=SecretStr(ADMIN["X-Admin-API-Key"]), **settings) as (client, _):
        for app_id, key in KEYS.items():
            body = {"api_key": key, **({"webhook_url": hook} if hook and app_id == "shop" else {})}
            answer = await client.http.post(f"/admin/apps/{app_id}", json=body, headers=ADMIN)
            assert answer.status_code == 200, answer.text
        shop = Application(client.base_url)
        try:
            yield shop
        finally:
            await shop.close()


async def public_key(shop: Application) -> str:
    answer = await shop.http.get("/v2/public_key")
    return str(answer.json()["data"]["public"])


def tones(samples: NDArray[np.int16], frequency_hz: float, channel: int = 0) -> int:
    """Return how often a channel has a tone."""
    return len(find_beeps(samples[:, channel], RATE_HZ, frequency_hz))


async def test_a_call_is_recorded_paused_resumed_and_stopped_and_its_webhook_brings_the_file(tmp_path: Path) -> None:
    async with Shop() as hook, server(tmp_path, hook=hook.url, webhooks=OPEN) as shop:
        await shop.announce(to="+15550199", vendor_ids=IDS, **{"from": "+15550100"})
        async with shop.leg("a") as a, shop.leg("b") as b:
            recording_id = await shop.record(client_state=STATE, command_id="start-1")

            async def both(own_hz: float, other_hz: float) -> None:
                # In real time: a pause takes what is ahead of its time too.
                sounds = [beeps(1.0, rate_hz=RATE_HZ, frequency_hz=hz, offset_s=0.5) for hz in (own_hz, other_hz)]
                await asyncio.gather(speak(a, sounds[0]), speak(b, sounds[1]))

            await both(A_HZ, B_HZ)
            await shop.heard(CALL, 1000, legs=2)
            assert (await shop.actions.pause_recording(CALL)).data.result == "ok"
            await both(SECRET_HZ, SECRET_HZ)
            await shop.heard(CALL, 2000, legs=2)
            assert (await shop.actions.resume_recording(CALL, recording_id=recording_id)).data.result == "ok"
            # What the resume takes is withheld too: it has until the beep.
            await asyncio.gather(
                *(say(each, beeps(2.0, rate_hz=RATE_HZ, frequency_hz=AFTER_HZ, offset_s=1.5)) for each in (a, b))
            )
            await shop.heard(CALL, 4000, legs=2)
            assert (await shop.actions.stop_recording(CALL)).data.result == "ok"
            at_once = (await shop.telnyx.recordings.retrieve(recording_id)).data  # a stop waits for the file
        url = hook.url
        (told,) = await until(lambda: hook.told)
        key = await public_key(shop)
        event: Any = shop.telnyx.webhooks.unwrap(told.request.body.decode(), headers=told.request.headers, key=key)

    payload, occurred_at = event.data.payload, event.data.occurred_at
    assert isinstance(event.data, CallRecordingSaved)
    assert (payload.client_state, payload.channels, payload.recording_id) == (STATE, "dual", recording_id)
    assert {name: getattr(payload, name) for name in IDS} == IDS
    assert (payload.call_control_id, payload.format, payload.recording_urls.mp3) == (CALL, "wav", None)
    assert payload.recording_started_at < payload.recording_ended_at <= occurred_at
    assert told.request.message["meta"] == {"attempt": 1, "delivered_to": url}
    assert at_once is not None
    assert (at_once.id, at_once.status, at_once.from_) == (recording_id, "completed", "+15550100")
    assert told.file is not None
    samples, _ = hear(told.file)
    assert samples.shape[1] == 2
    for channel, own_hz in enumerate((A_HZ, B_HZ)):
        other_hz = B_HZ if own_hz == A_HZ else A_HZ
        assert [tones(samples, hz, channel) for hz in (own_hz, other_hz, SECRET_HZ, AFTER_HZ)] == [1, 0, 0, 1]


async def test_recordings_are_listed_by_pages_and_filters_read_and_fetched_in_both_formats(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        before = datetime.now(UTC)
        ids = [
            await shop.record_whole(f"v3:call/{number}", format=form, custom_file_name=f"n{number}")
            for number, form in enumerate(("wav", "mp3", "wav"))
        ]
        recordings = shop.telnyx.recordings
        listed = [each.id async for each in recordings.list(page_size=1)]
        page = await recordings.list(page_size=2)
        by_call = [each.id async for each in recordings.list(filter={"call_control_id": "v3:call/1"})]
        by_session = [each.id async for each in recordings.list(filter={"call_session_id": "v3:call/2"})]
        since: Any = {"created_at": {"gte": before.isoformat(), "lte": datetime.now(UTC).isoformat()}}
        of_today = [each.id async for each in recordings.list(filter=since)]
        of_later = [each.id async for each in recordings.list(filter={"start_time": {"gte": "2100-01-01T00:00:00Z"}})]
        read = (await recordings.retrieve(ids[1])).data
        assert read is not None
        assert read.download_urls is not None
        links = {"wav": read.download_urls.wav, "mp3": read.download_urls.mp3}
        files = {ext: await shop.http.get(str(link)) for ext, link in links.items()}

    assert listed == [*reversed(ids)] == of_today
    assert [each.id for each in page.data] == listed[:2]
    assert page.meta is not None
    assert (page.meta.total_pages, page.meta.page_number) == (2, 1)
    assert (by_call, by_session, of_later) == ([ids[1]], [ids[2]], [])
    assert read.duration_millis == 3000
    assert {ext: file.headers["content-type"] for ext, file in files.items()} == {
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
    }
    assert all('filename="n1-' in file.headers["content-disposition"] for file in files.values())
    for file in files.values():
        assert tones(hear(file.content)[0], A_HZ) == 3


async def test_recordings_are_deleted_one_and_several_at_once(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        ids = [await shop.record_whole(f"call-{number}") for number in range(4)]
        recordings = shop.telnyx.recordings
        first = (await recordings.retrieve(ids[0])).data
        deleted = (await recordings.delete(ids[0])).data
        with pytest.raises(NotFoundError):
            await recordings.actions.delete(ids=[ids[1], ids[0]])
        assert (await recordings.actions.delete(ids=ids[1:3])).status == "ok"
        left = [each.id async for each in recordings.list()]
        assert first is not None
        assert first.download_urls is not None
        gone = await shop.http.get(str(first.download_urls.wav))

    assert deleted is not None
    assert (deleted.id, deleted.call_control_id) == (ids[0], "call-0")
    assert left == [ids[3]]
    assert gone.status_code == 404


async def test_what_was_said_is_told_listed_read_and_erased_and_a_failure_says_why(tmp_path: Path) -> None:
    async with (
        Hearing() as hearing,
        Shop() as hook,
        server(tmp_path, hook=hook.url, webhooks=OPEN, **hearing.settings(engines=hearing.other("B"))) as shop,
    ):
        recording_id = await shop.record_whole(CALL, sound=SPEECH, transcription=True, client_state=STATE, **HINTS)
        saved = await shop.until_transcribed(recording_id)
        german = await shop.record_whole("call-2", sound=SPEECH, transcription=True, transcription_language="de-DE")
        failed = await shop.until_transcribed(german)
        resource = shop.telnyx.recording_transcriptions
        read = (await resource.retrieve(saved.id)).data
        metadata = (await shop.http.get(f"/v1/recordings/{recording_id.replace('-', '')}")).json()["metadata"]
        bank = Application(shop.base_url, "bank")
        with pytest.raises(NotFoundError):
            await bank.telnyx.recording_transcriptions.retrieve(saved.id)
        theirs = [each.id async for each in bank.telnyx.recording_transcriptions.list()]
        await bank.close()
        events = {"call.recording.saved": 2, "call.recording.transcription.saved": 1}
        await until(lambda: len(hook.told) >= sum(events.values()))
        key = await public_key(shop)
        told: list[Any] = [
            shop.telnyx.webhooks.unwrap(each.request.body.decode(), headers=each.request.headers, key=key)
            for each in hook.told
        ]
        erased = (await resource.delete(saved.id)).data
        with pytest.raises(NotFoundError):
            await resource.retrieve(saved.id)
        await shop.telnyx.recordings.delete(german)  # what is erased has none
        left = [each.id async for each in resource.list()]
        await shop.telnyx.recordings.retrieve(recording_id)

    assert isinstance(saved, RecordingTranscription)
    assert (saved.recording_id, saved.status, saved.duration_millis) == (recording_id, "completed", 3000)
    assert saved.transcription_text is not None
    assert set(saved.transcription_text.splitlines()) == {HEARD}
    assert read == saved == erased
    # The second recording asked for no engine by name.
    assert [each.body.count(b"the-model-of-B") for each in hearing.requests] == [1, 0]
    assert (failed.status, failed.transcription_text) == ("failed", None)
    assert "answered 400" in failed.error
    assert metadata == {}
    assert theirs == left == []
    assert Counter(each.data.event_type for each in told) == events
    (event,) = [each.data for each in told if isinstance(each.data, CallRecordingTranscriptionSaved)]
    assert event.payload is not None
    assert (event.payload.recording_transcription_id, event.payload.transcription_text) == (
        saved.id,
        saved.transcription_text,
    )
    assert (event.payload.recording_id, event.payload.client_state) == (recording_id, STATE)
    assert (event.payload.call_control_id, event.payload.status) == (CALL, "completed")


async def test_the_blocking_client_works_as_well(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        recording_id = await shop.record_whole("call-77")

        def look() -> list[str | None]:
            with Telnyx(api_key=KEYS["shop"], base_url=f"{shop.base_url}/v2") as client:
                return [each.id for each in client.recordings.list(filter={"call_control_id": "call-77"})]

        assert await asyncio.to_thread(look) == [recording_id]


@contextmanager
def refused(kind: type[APIStatusError], *mistakes: tuple[str, dict[str, str] | None]) -> Iterator[None]:
    """Expect an error of the client's, with these codes and places."""
    with pytest.raises(kind) as caught:
        yield
    body: Any = caught.value.body
    assert [(each["code"], each.get("source")) for each in body["errors"]] == [*mistakes]


async def test_errors_are_those_that_the_client_has_classes_for(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        await shop.announce()
        running = await shop.record()
        finished = await shop.record_whole("call-77")
        bank, nobody = Application(shop.base_url, "bank"), AsyncTelnyx(api_key="wrong", base_url=f"{shop.base_url}/v2")

        with refused(
            UnprocessableEntityError, ("10015", {"pointer": "/format"}), ("10015", {"pointer": "/max_length"})
        ):
            await shop.record(format="ogg", max_length=14_401)
        for of, call in ((shop, "nobody"), (bank, CALL)):
            with refused(UnprocessableEntityError, ("90015", {"pointer": "/call_control_id"})):
                await of.record(call)
        for act in (shop.record, shop.actions.stop_recording, shop.actions.pause_recording):
            with refused(UnprocessableEntityError, ("90018", None)):
                await act("call-77")
        with refused(NotFoundError, ("10005", {"pointer": "/recording_id"})):
            await shop.actions.stop_recording(CALL, recording_id=finished)
        for of, recording_id, code in (
            (shop, running, "10005"),
            (bank, finished, "10005"),
            (shop, "nope", "10006"),
        ):
            for ask in (of.telnyx.recordings.retrieve, of.telnyx.recordings.delete):
                with refused(NotFoundError, (code, None)):
                    await ask(recording_id)
        with refused(UnprocessableEntityError, ("10015", {"parameter": "filter[name]"})):
            await shop.telnyx.recordings.list(extra_query={"filter[name]": "x"})
        with refused(AuthenticationError, ("10009", None)):
            await nobody.recordings.list()
        await nobody.close()
        await bank.close()


class LosingAnswers(httpx.AsyncHTTPTransport):
    """A network that loses the answers to the first requests, after the server has worked on them."""

    def __init__(self, losses: int) -> None:
        super().__init__(verify=False)
        self.losses = losses
        self.counts: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.counts.append(request.headers["x-stainless-retry-count"])
        response = await super().handle_async_request(request)
        if self.losses:
            self.losses -= 1
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("the connection was lost", request=request)
        return response


async def test_a_request_whose_answer_is_lost_is_sent_again_by_the_client_and_done_once(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        network = LosingAnswers(0)
        http = DefaultAsyncHttpxClient(transport=network, base_url=f"{shop.base_url}/v2")
        patient = Application(shop.base_url, http_client=http)
        await shop.announce()
        async with shop.leg() as socket:
            for said in ({}, {"command_id": "c-1"}):
                network.losses = 1
                await patient.record(**said)
            await say(socket, TONE)
            await shop.heard(CALL, 3000)
            network.losses = 1
            await patient.actions.stop_recording(CALL)
        listed = [each.id async for each in shop.telnyx.recordings.list()]
        network.losses = 1
        deleted = await patient.telnyx.recordings.delete(str(listed[0]))
        left = [each.id async for each in shop.telnyx.recordings.list()]
        await patient.close()

    assert len(listed) == 2  # one of each start
    assert network.counts == ["0", "1"] * 4
    assert deleted.data is not None
    assert left == listed[1:]


async def test_a_refusal_that_asking_again_cannot_mend_is_not_sent_again(tmp_path: Path) -> None:
    async with server(tmp_path) as shop:
        network = LosingAnswers(0)
        http = DefaultAsyncHttpxClient(transport=network, base_url=f"{shop.base_url}/v2")
        eager = Application(shop.base_url, http_client=http)
        with pytest.raises(UnprocessableEntityError):
            await eager.record()
        await shop.announce()
        with pytest.raises(UnprocessableEntityError):
            await eager.actions.stop_recording(CALL)
        await eager.close()

    assert network.counts == ["0", "0"]


async def test_a_full_disk_is_said_with_the_time_to_wait(tmp_path: Path) -> None:
    async with server(tmp_path, limits={"min_free_bytes": 2**60}) as shop:
        await shop.announce()
        patient = shop.telnyx.with_options(max_retries=0)
        with pytest.raises(InternalServerError) as caught:
            await patient.calls.actions.start_recording(CALL, format="wav", channels="dual")

    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "60")


async def test_a_call_that_hangs_up_is_told_with_the_format_that_was_asked_for_and_has_ended(tmp_path: Path) -> None:
    async with Shop() as hook, server(tmp_path, hook=hook.url, webhooks=OPEN) as shop:
        recording_id = await shop.record_whole(CALL, format="mp3", channels="single")
        (told,) = await until(lambda: hook.told)
        with refused(UnprocessableEntityError, ("90018", None)):
            await shop.actions.stop_recording(CALL)

    payload = told.request.message["data"]["payload"]
    assert (payload["recording_id"], payload["format"], payload["channels"]) == (recording_id, "mp3", "single")
    assert {*payload["recording_urls"]} == {"mp3"}
    assert payload["public_recording_urls"] == {}
    assert payload["client_state"] is None
    assert told.file is not None
    assert tones(hear(told.file)[0], A_HZ) == 3


async def test_a_recording_without_audio_is_an_error(tmp_path: Path) -> None:
    async with Shop() as hook, server(tmp_path, hook=hook.url, webhooks=OPEN) as shop:
        await shop.announce()
        recording_id = await shop.record(client_state=STATE)
        await shop.actions.stop_recording(CALL)
        (told,) = await until(lambda: hook.told)
        key = await public_key(shop)
        event: Any = shop.telnyx.webhooks.unwrap(told.request.body.decode(), headers=told.request.headers, key=key)

    payload = event.data.payload
    assert isinstance(event.data, CallRecordingError)
    assert (payload.reason, payload.result) == ("Internal server error", "No audio was received")
    assert (payload.client_state, payload.recording_id, payload.call_control_id) == (STATE, recording_id, CALL)


async def test_a_link_of_the_webhook_ends_and_a_lasting_one_does_where_the_server_gives_it(tmp_path: Path) -> None:
    wall = Wall()
    settings: dict[str, Any] = {"webhooks": OPEN, "facades": FacadeSettings(public_links=True), "wall": wall}
    async with Shop() as hook, server(tmp_path, hook=hook.url, **settings) as shop:
        await shop.record_whole(CALL)
        (told,) = await until(lambda: hook.told)
        payload = told.request.message["data"]["payload"]
        wall.ahead = timedelta(minutes=11)
        ended, lasting = [
            (await shop.http.get(payload[name]["wav"])).status_code
            for name in ("recording_urls", "public_recording_urls")
        ]

    assert (ended, lasting) == (403, 200)


async def test_a_webhook_that_is_not_taken_is_tried_again_and_the_log_of_deliveries_says_so(tmp_path: Path) -> None:
    async with Shop() as hook, server(tmp_path, hook=hook.url, webhooks=OPEN) as shop:
        taking, url = hook.answer, hook.url

        async def refuse(request: Received) -> Answer:
            hook.answer = taking
            return Answer(500)

        hook.answer = refuse
        recording_id = await shop.record_whole(CALL)
        first, second = await hook.wait_for(2)

        async def delivered() -> list[Any]:
            page = await shop.telnyx.webhook_deliveries.list(
                filter={"status": {"eq": "delivered"}, "event_type": "call.recording.saved"}
            )
            return page.data

        (delivery,) = await until(delivered)
        failed = (await shop.telnyx.webhook_deliveries.list(filter={"status": {"eq": "failed"}})).data
        by_text = (await shop.telnyx.webhook_deliveries.list(filter={"webhook": {"contains": recording_id}})).data
        for request in (first, second):
            shop.telnyx.webhooks.unwrap(request.body.decode(), headers=request.headers, key=await public_key(shop))

    data = [request.message["data"] for request in (first, second)]
    assert [request.message["meta"]["attempt"] for request in (first, second)] == [1, 2]
    assert data[0]["id"] == data[1]["id"] == delivery.id == delivery.webhook.id
    assert [(each.status, each.http.request.url) for each in delivery.attempts] == [
        ("delivered", url),
        ("failed", url),
    ]
    assert delivery.attempts[1].http.response.status == 500
    assert delivery.started_at < delivery.finished_at
    assert (failed, [each.id for each in by_text]) == ([], [delivery.id])


async def test_a_call_that_is_not_known_yet_is_recorded_from_its_first_sample_where_the_server_waits(
    tmp_path: Path,
) -> None:
    async with server(tmp_path, facades=FacadeSettings(unknown_calls="wait")) as shop:
        recording_id = await shop.record(CALL)
        async with shop.leg() as socket:
            await say(socket, TONE)
            await shop.heard(CALL, 3000)
        done = await shop.until_finished(recording_id)
        file = await shop.http.get(done.download_urls.wav)

    assert find_beeps(hear(file.content)[0][:, 0], RATE_HZ, A_HZ) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)
