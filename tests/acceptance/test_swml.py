"""Documents of steps on real calls: a party speaks and hears what is played to it, and the test listens to the file."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from signalwire.core.function_result import FunctionResult
from websockets.asyncio.client import ClientConnection

from tests.support.listening import beeps, find_beeps, loudest_shift
from tests.support.receiver import Receiver
from tests.support.recorder import Recorder, recorder
from tests.support.talking import FRAME, RATE_HZ, say, speak
from tests.support.truth import real_time
from tests.support.waiting import until
from tests.unit.api.signalwire.swml import pages
from wavstream.api.signalwire.swml.speech import can_speak
from wavstream.settings import WebhookSettings

SAYS_HZ, HEARS_HZ, BEEP_HZ = 700.0, 1_000.0, 1_400.0
TONE = beeps(60.0, rate_hz=RATE_HZ, frequency_hz=SAYS_HZ, offset_s=0.5)
BEEP = RATE_HZ // 5
"""Samples of the tone that says that a recording has begun."""
SKIPPED = "say: was skipped, nothing speaks here: install wavstream[say]"
YAML = {"Content-Type": "application/yaml"}


@dataclass
class Party:
    """One leg of a call, that speaks and hears."""

    call: str
    client: Recorder
    socket: ClientConnection
    _heard: list[bytes] = field(default_factory=list)

    @property
    def heard(self) -> NDArray[np.int16]:
        """All that was played to it so far."""
        return np.frombuffer(b"".join(self._heard), "<i2")

    async def listen(self) -> None:
        async for message in self.socket:
            assert isinstance(message, bytes)
            self._heard.append(message)

    async def press(self, key: str) -> None:
        await self.socket.send(f'{{"event": "dtmf", "digit": "{key}"}}')

    async def start(self, document: Any) -> str:
        """Run a document on the call, YAML where it is text; return the address of the run."""
        path = f"/swml/calls/{self.call}"
        sent = {"content": document, "headers": YAML} if isinstance(document, str) else {"json": document}
        answer = await self.client.http.post(path, **sent)
        assert answer.status_code == 202, answer.text
        return answer.json()["url"]  # type: ignore[no-any-return]

    async def ended(self, url: str) -> dict[str, Any]:
        """Wait for the end of a run; return it."""

        async def over() -> dict[str, Any] | None:
            run = (await self.client.http.get(url)).json()
            return run if run["status"] != "running" else None

        run = await until(over)
        assert run is not None
        return run

    async def run(self, document: Any) -> dict[str, Any]:
        return await self.ended(await self.start(document))


@contextlib.asynccontextmanager
async def party(
    client: Recorder, call: str, said: NDArray[np.int16] | None = None, query: str = ""
) -> AsyncIterator[Party]:
    """Let a party join a call, speak in real time if it has something to say, and hang up."""
    async with client.connect(f"/media/pcm/{call}/a?{query}") as socket, asyncio.TaskGroup() as tasks:
        one = Party(call, client, socket)
        listening = tasks.create_task(one.listen())
        speaking = None if said is None else tasks.create_task(speak(socket, said))
        if said is None:
            await begin(client, call, socket)
        else:
            await client.until_received(call, 100)
        try:
            yield one
        finally:
            if speaking is not None:
                speaking.cancel()
            await socket.close()
            await listening


async def begin(client: Recorder, call: str, socket: ClientConnection) -> None:
    """Let the stream begin: with its first frame, where its address says nothing of it."""
    await say(socket, np.zeros((FRAME, 1), np.int16))
    await client.until_received(call, 1)


async def file_of(client: Recorder, call: str) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """Return the finished recording of a call: its samples, (n, channels), and its document."""
    await until(lambda: has_recording(client, call))
    done = await client.until(await client.only_recording(call))
    samples, rate_hz = soundfile.read(io.BytesIO(await client.fetch(done)), dtype="int16", always_2d=True)
    assert rate_hz == RATE_HZ
    return samples, done


# ---- the page's examples, to the letter, side by side ----------------------------------------------------------------


@real_time
async def test_the_examples_of_the_pages_record_and_play_back(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), asyncio.TaskGroup() as calls:
        calls.create_task(an_mp3(client))
        calls.create_task(both_sides(client))
        calls.create_task(the_speakers_side(client))
        calls.create_task(in_the_foreground(client))


async def an_mp3(client: Recorder) -> None:
    async with party(client, "mp3", TONE) as caller:
        run = await caller.run(pages.MP3)
        await client.until_received("mp3", 3_000)
    samples, done = await file_of(client, "mp3")

    assert (run["status"], done["format"], done["end_reason"]) == ("completed", "mp3", "hangup")
    assert run["variables"]["record_call_url"] == done["url"]
    assert len(find_beeps(samples[:, 0], RATE_HZ, SAYS_HZ)) >= 2


async def both_sides(client: Recorder) -> None:
    async with party(client, "both", TONE) as caller:
        url = await caller.start(pages.as_data(pages.BOTH_SIDES))
        await client.until_received("both", 2_000)
        await caller.press("#")
        run = await caller.ended(url)
        samples, done = await file_of(client, "both")
        await until(lambda: is_heard(samples, caller.heard))

    assert run["status"] == "completed"
    assert [step["note"] for step in run["steps"]] == [
        None, None if can_speak() else SKIPPED, "the recording had ended already (terminator)",
        None if can_speak() else SKIPPED,
    ]  # fmt: skip
    assert (done["end_reason"], done["track"], done["channels"]) == ("terminator", "both", "mono")
    assert len(find_beeps(samples[:, 0], RATE_HZ, SAYS_HZ)) >= 1
    assert find_beeps(caller.heard, RATE_HZ, BEEP_HZ)[0] == 0.0


async def the_speakers_side(client: Recorder) -> None:
    hears = beeps(60.0, rate_hz=RATE_HZ, frequency_hz=HEARS_HZ, offset_s=0.7)
    async with party(client, "speaker", np.stack([TONE, hears], axis=1), "channels=2") as caller:
        url = await caller.start(pages.SPEAKERS_SIDE_BEFORE)
        samples, done = await file_of(client, "speaker")
        await until(lambda: is_heard(samples[: 2 * RATE_HZ], caller.heard[::2]))
    run = await caller.ended(url)

    assert (done["end_reason"], done["track"]) == ("stopped", "inbound")
    assert len(find_beeps(samples[:, 0], RATE_HZ, SAYS_HZ)) >= 9
    assert find_beeps(samples[:, 0], RATE_HZ, HEARS_HZ) == []
    assert (run["status"], run["error"]) == ("failed", "the call has ended")


async def in_the_foreground(client: Recorder) -> None:
    async with party(client, "foreground", TONE) as caller:
        url = await caller.start(pages.FOREGROUND)
        recording = await until(lambda: running(client, "foreground"))
        await until(lambda: reaches(client, recording, 2_000))
        await caller.press("#")
        run = await caller.ended(url)
        samples, done = await file_of(client, "foreground")
        await until(lambda: is_heard(samples, caller.heard))

    assert (run["status"], run["steps"][1]["note"]) == ("completed", "the recording ended (terminator)")
    assert run["variables"] == {"record_url": done["url"], "record_result": "success"}
    assert (done["track"], done["end_reason"]) == ("inbound", "terminator")
    assert len(find_beeps(samples[:, 0], RATE_HZ, SAYS_HZ)) >= 1


async def has_recording(client: Recorder, call: str) -> bool:
    """Return whether the document has begun to record: it is run after it was answered."""
    return bool((await client.http.get("/v1/recordings", params={"session_id": call})).json()["data"])


async def running(client: Recorder, call: str) -> dict[str, Any] | None:
    rows = (await client.http.get("/v1/recordings", params={"session_id": call})).json()["data"]
    return rows[0] if rows and rows[0]["status"] == "ongoing" else None


async def reaches(client: Recorder, recording: dict[str, Any] | None, length_ms: int) -> bool:
    """Return whether so much was said since the recording began, or a little more."""
    assert recording is not None
    session = (await client.http.get(f"/v1/sessions/{recording['session_id']}")).json()
    since = recording.setdefault("since", session["streams"][0]["received_ms"])
    return bool(session["streams"][0]["received_ms"] >= since + length_ms)


def is_heard(samples: NDArray[np.int16], heard: NDArray[np.int16]) -> bool:
    """Return whether the file was played to the party by now, sample by sample."""
    shift = loudest_shift(heard, samples[:, 0])
    return np.array_equal(heard[shift : shift + len(samples)], samples[:, 0])


# ---- documents on calls ---------------------------------------------------------------------------------------------


async def test_the_documents_of_signalwires_client_record_a_call_that_they_are_sent_to(tmp_path: Path) -> None:
    result = FunctionResult("Recording").record_call(control_id="rec-1", stereo=True).stop_record_call("rec-1")
    start, stop = (action["SWML"] for action in result.to_dict()["action"])
    both = np.stack([TONE, beeps(60.0, rate_hz=RATE_HZ, frequency_hz=HEARS_HZ, offset_s=0.7)], axis=1)
    async with recorder(tmp_path) as (client, _), party(client, "call-77", query="channels=2") as caller:
        await caller.run(start)
        await say(caller.socket, both[: 3 * RATE_HZ])
        await client.until_received("call-77", 3_000)
        run = await caller.run(stop)
        samples, done = await file_of(client, "call-77")

    assert (run["status"], done["end_reason"]) == ("completed", "stopped")
    assert [bool(find_beeps(channel, RATE_HZ, SAYS_HZ)) for channel in samples.T] == [True, False]
    assert [bool(find_beeps(channel, RATE_HZ, HEARS_HZ)) for channel in samples.T] == [False, True]


async def test_a_recording_of_an_earlier_call_is_played_to_this_one_at_its_own_rate(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        async with party(client, "earlier") as caller:
            await caller.run({"sections": {"main": ["record_call"]}})
            await say(caller.socket, TONE[: 2 * RATE_HZ])
            await client.until_received("earlier", 2_000)
        _, done = await file_of(client, "earlier")
        async with party(client, "call-77", query="rate=16000") as caller:
            run = await caller.run({"sections": {"main": [{"play": done["url"]}]}})
            heard = caller.heard

    assert run["status"] == "completed"
    assert len(find_beeps(heard, 16_000, SAYS_HZ)) == 2


async def test_the_states_of_a_recording_are_told_to_its_status_url(tmp_path: Path) -> None:
    webhooks = WebhookSettings(allow_http=True, allow_localhost=True)
    async with Receiver() as receiver, recorder(tmp_path, webhooks=webhooks) as (client, _):
        async with party(client, "call-77") as caller:
            step = {"record_call": {"control_id": "rec-1", "status_url": receiver.url}}
            await caller.run({"sections": {"main": [step]}})
            await say(caller.socket, TONE[: 2 * RATE_HZ])
            await client.until_received("call-77", 2_000)
            await caller.run({"sections": {"main": ["stop_record_call"]}})
        messages = [request.message for request in await receiver.wait_for(2)]

    assert [message["event_channel"] for message in messages] == ["swml:call-77"] * 2
    assert [message["params"]["state"] for message in messages] == ["recording", "finished"]
    assert {message["params"]["control_id"] for message in messages} == {"rec-1"}


async def test_a_document_that_is_wrong_starts_nothing(tmp_path: Path) -> None:
    document = "sections:\n  main:\n    - record_call\n    - record_call: {format: mp4}\n    - hangup\n"
    async with recorder(tmp_path) as (client, _), party(client, "call-77"):
        answer = await client.http.post("/swml/calls/call-77", content=document, headers=YAML)
        recordings = (await client.http.get("/v1/recordings")).json()["data"]

    assert answer.status_code == 422
    assert [error["attribute"] for error in answer.json()["errors"]] == [
        "sections.main.1.record_call.format", "sections.main.2"
    ]  # fmt: skip
    assert "at line 4, column 21" in answer.json()["errors"][0]["message"]
    assert recordings == []


async def test_a_run_ends_with_the_hang_up_and_another_with_the_server(tmp_path: Path) -> None:
    waiting = {"sections": {"main": [{"play": "silence:600"}]}}
    async with recorder(tmp_path) as (client, _):
        async with party(client, "one") as caller:
            url = await caller.start(waiting)
        run = await caller.ended(url)
        socket = await client.connect("/media/pcm/two/a")
        await begin(client, "two", socket)
        for document in (waiting, {"sections": {"main": ["record"]}}):
            await Party("two", client, socket).start(document)
        await until(lambda: running(client, "two"))
        assert len(runs()) == 2
    await until(lambda: not runs())
    await socket.close()

    assert (run["status"], run["error"]) == ("failed", "the call has ended")


def runs() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("swml")]
