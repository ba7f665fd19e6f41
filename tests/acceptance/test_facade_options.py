"""Each option of each vendor's API, set through that API and heard in the file; and two of these APIs on one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.listening import find_beeps
from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import RATE_HZ, silence, spoken
from tests.support.talking import say
from tests.support.waiting import until

# One set of calls serves all of them.
pytestmark = pytest.mark.xdist_group("options of facades")

WORD = spoken()
WORD_S = len(WORD) / RATE_HZ
PARTY, OTHER = 1.0, 6.0
"""When the party speaks, and when what it hears speaks, in seconds."""
LENGTH_S = 9.0
"""Of a call: all has been said by then. 45 are streamed, folded and encoded."""
QUIET_S = 6.0
"""Of a call that is over for whoever waits 5 s for a word."""
AUDIO = NDArray[np.int16]


def turn(start_s: float, length_s: float, *, volume: float = 1.0) -> AUDIO:
    """Return silence with one spoken turn, (n,)."""
    sound = silence(length_s)
    first = int(start_s * RATE_HZ)
    sound[first : first + len(WORD)] = (WORD * volume).astype(np.int16)
    return sound


CALL = np.stack([turn(PARTY, LENGTH_S), turn(OTHER, LENGTH_S)], axis=1)
NOBODY = np.stack([silence(QUIET_S)] * 2, axis=1)


async def telnyx(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    said = {"format": "wav", "channels": "dual", **options}
    return await client.http.post(
        f"/v2/calls/{call_id}/actions/record_start", json=said, headers={"Authorization": "Bearer key"}
    )


async def bird(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    return await client.http.post(
        f"/workspaces/w/channels/c/calls/{call_id}/recordings",
        json=options,
        headers={"Authorization": "AccessKey key"},
    )


async def voicemail(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    return await client.http.post(
        f"/workspaces/w/channels/c/calls/{call_id}/record", json=options, headers={"Authorization": "AccessKey key"}
    )


async def signalwire(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    # REST's own defaults end a recording after half a second of silence.
    audio = {"format": "wav", "direction": "both", "initial_timeout": 0, "end_silence_timeout": 0, **options}
    said = {"id": call_id, "command": "calling.record", "params": {"audio": audio}}
    return await client.http.post("/api/calling/calls", json=said, auth=("project", "key"))


async def swml(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    document = {"version": "1.0.0", "sections": {"main": [{"record_call": options}]}}
    return await client.http.post(f"/swml/calls/{call_id}", json=document, auth=("project", "key"))


async def native(client: Recorder, call_id: str, options: dict[str, Any]) -> httpx.Response:
    return await client.http.post("/v1/recordings", json={"session_id": call_id, **options})


@dataclass(frozen=True)
class Heard:
    """A recording that ended with its call, or before it by itself."""

    done: dict[str, Any]
    file: AUDIO
    """(n, channels)."""
    kind: str
    """The content type of the file."""

    def says(self, start_s: float, channel: int = 0) -> bool:
        """Whether there is a turn at that time of the file."""
        first = int(start_s * RATE_HZ)
        part = self.file[first : first + len(WORD), channel].astype(float)
        return len(part) > 0 and float(np.sqrt(np.mean(part**2))) > 300


Start = Callable[[Recorder, str, dict[str, Any]], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Case:
    """One option of one API."""

    start: Start
    options: dict[str, Any]
    is_heard: Callable[[Heard], bool]
    sound: AUDIO = field(default_factory=lambda: CALL, repr=False)
    digit: str = ""
    """Pressed when all has been said, if any."""


def is_stereo(heard: Heard) -> bool:
    own = heard.says(PARTY, 0) and heard.says(OTHER, 1)
    return heard.file.shape[1] == 2 and own and not heard.says(OTHER, 0) and not heard.says(PARTY, 1)


def is_mono(heard: Heard) -> bool:
    return heard.file.shape[1] == 1 and heard.says(PARTY) and heard.says(OTHER)


def has_only(spoken_s: float, other_s: float) -> Callable[[Heard], bool]:
    return lambda heard: heard.file.shape[1] == 1 and heard.says(spoken_s) and not heard.says(other_s)


def ended(reason: str, length_s: float, *, within_s: float = 0.0) -> Callable[[Heard], bool]:
    """``within_s``: what is counted from what was said comes later by as much as the call did."""

    def is_so(heard: Heard) -> bool:
        beyond_s: float = heard.done["duration_ms"] / 1000 - length_s
        return heard.done["end_reason"] == reason and -0.2 <= beyond_s <= max(0.01, within_s)

    return is_so


def falls_silent(heard: Heard) -> bool:
    """Whether it ended two seconds after the turn of the party."""
    return ended("silence", PARTY + WORD_S + 2, within_s=3)(heard)


def is_pressed(heard: Heard) -> bool:
    """Whether it ended with the key: behind all that was said before, and in front of the words said after it."""
    # How long the silence up to the key is depends on how soon this process could press it.
    before_s = len(CALL) / RATE_HZ
    behind = heard.file[int(before_s * RATE_HZ) :]
    return ended("terminator", before_s, within_s=60)(heard) and np.abs(behind).max(initial=0) < 300


def is_of(kind: str) -> Callable[[Heard], bool]:
    return lambda heard: heard.kind == kind and heard.says(PARTY)


def beeps(heard: Heard) -> bool:
    return find_beeps(heard.file[: RATE_HZ // 2, 0], RATE_HZ, 1400.0)[:1] == [pytest.approx(0.0, abs=0.03)]


def is_trimmed(heard: Heard) -> bool:
    return bool(heard.done["integrity"]["trimmed_ms"]["start"] > 500) and heard.says(0.2)


def says_of_itself(**said: Any) -> Callable[[Heard], bool]:
    return lambda heard: all(str(heard.done[name]).startswith(value) for name, value in said.items())


def goes_on(heard: Heard) -> bool:
    return str(heard.done["end_reason"]) == "hangup"


CASES = {
    "telnyx format wav": Case(telnyx, {"format": "wav"}, is_of("audio/wav")),
    "telnyx format mp3": Case(telnyx, {"format": "mp3"}, is_of("audio/mpeg")),
    "telnyx channels dual": Case(telnyx, {"channels": "dual"}, is_stereo),
    "telnyx channels single": Case(telnyx, {"channels": "single"}, is_mono),
    "telnyx recording_track inbound": Case(telnyx, {"recording_track": "inbound"}, has_only(PARTY, OTHER)),
    "telnyx recording_track outbound": Case(telnyx, {"recording_track": "outbound"}, has_only(OTHER, PARTY)),
    "telnyx max_length": Case(telnyx, {"max_length": 2}, ended("max_length", 2)),
    "telnyx timeout_secs": Case(telnyx, {"timeout_secs": 2, "recording_track": "inbound"}, falls_silent),
    "telnyx play_beep": Case(telnyx, {"play_beep": True}, beeps),
    "telnyx trim": Case(telnyx, {"trim": "trim-silence"}, is_trimmed),
    "telnyx custom_file_name": Case(telnyx, {"custom_file_name": "support"}, says_of_itself(file_name="support-1")),
    "telnyx client_state": Case(telnyx, {"client_state": "aGk="}, says_of_itself(client_state="aGk=")),
    "bird": Case(bird, {}, lambda heard: is_of("audio/mpeg")(heard) and is_mono(heard)),
    "bird stereo": Case(bird, {"stereo": True}, is_stereo),
    "bird maxLength": Case(bird, {"maxLength": 2}, ended("max_length", 2)),
    "bird record maxLength": Case(voicemail, {"maxLength": 2}, ended("max_length", 2)),
    "bird record timeout": Case(voicemail, {"timeout": 2}, falls_silent),
    "bird record beep": Case(voicemail, {"beep": True}, beeps),
    "bird record endKey": Case(voicemail, {"endKey": "5"}, is_pressed, digit="5"),
    "signalwire format wav": Case(signalwire, {"format": "wav"}, is_of("audio/wav")),
    "signalwire format mp3": Case(signalwire, {"format": "mp3"}, is_of("audio/mpeg")),
    "signalwire stereo": Case(signalwire, {"stereo": True}, is_stereo),
    "signalwire direction both": Case(signalwire, {"direction": "both"}, is_mono),
    "signalwire direction speak": Case(signalwire, {"direction": "speak"}, has_only(PARTY, OTHER)),
    "signalwire direction listen": Case(signalwire, {"direction": "listen"}, has_only(OTHER, PARTY)),
    "signalwire initial_timeout": Case(signalwire, {"initial_timeout": 2.5}, ended("no_input", 2.5), sound=NOBODY),
    "signalwire end_silence_timeout": Case(signalwire, {"end_silence_timeout": 2}, falls_silent),
    "signalwire terminators": Case(signalwire, {"terminators": "5*"}, is_pressed, digit="*"),
    "signalwire beep": Case(signalwire, {"beep": True}, beeps),
    "signalwire max_length": Case(signalwire, {"max_length": 2.5}, ended("max_length", 2.5)),
    "signalwire input_sensitivity low": Case(
        signalwire, {"input_sensitivity": 0.0, "initial_timeout": 5}, ended("no_input", 5),
        sound=np.stack([turn(PARTY, QUIET_S, volume=0.02), silence(QUIET_S)], axis=1),
    ),
    "signalwire input_sensitivity high": Case(
        signalwire, {"input_sensitivity": 100.0, "initial_timeout": 5}, goes_on,
        sound=np.stack([turn(PARTY, QUIET_S, volume=0.02), silence(QUIET_S)], axis=1),
    ),
    "swml format mp3": Case(swml, {"format": "mp3"}, is_of("audio/mpeg")),
    "swml stereo": Case(swml, {"stereo": True}, is_stereo),
    "swml direction speak": Case(swml, {"direction": "speak"}, has_only(PARTY, OTHER)),
    "swml direction listen": Case(swml, {"direction": "listen"}, has_only(OTHER, PARTY)),
    "swml initial_timeout": Case(swml, {"initial_timeout": 2.5}, ended("no_input", 2.5), sound=NOBODY),
    "swml end_silence_timeout": Case(swml, {"end_silence_timeout": 2}, falls_silent),
    "swml terminators": Case(swml, {"terminators": "#"}, is_pressed, digit="#"),
    "swml beep": Case(swml, {"beep": True}, beeps),
    "swml max_length": Case(swml, {"max_length": 2.5}, ended("max_length", 2.5)),
    "swml defaults": Case(swml, {}, lambda heard: is_of("audio/wav")(heard) and is_mono(heard) and goes_on(heard)),
    "native by telnyx's names": Case(
        native, {"telnyx": {"format": "mp3", "channels": "single", "timeout_secs": 2}}, falls_silent
    ),
    "native by bird's names": Case(native, {"bird": {"maxLength": 2, "stereo": True}}, ended("max_length", 2)),
    "native by signalwire's names": Case(
        native, {"signalwire": {"direction": "speak", "end_silence_timeout": 2}}, falls_silent
    ),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heard]:
    """All these calls, beside each other."""
    async with recorder(tmp_path_factory.mktemp("data")) as (client, _):
        one_speaks = asyncio.Lock()

        async def play(name: str) -> Heard:
            case, call_id = CASES[name], name.replace(" ", "-").replace("'", "")
            async with client.connect(f"/media/pcm/{call_id}/a?channels=2") as socket:
                await known(client, call_id)
                # What is said at once is placed as the backlog that it is: the start must not lie long before it.
                async with one_speaks:
                    answer = await case.start(client, call_id, case.options)
                    assert answer.is_success, f"{name}: {answer.status_code} {answer.text}"
                    await recording_runs(client, call_id)
                    await say_all(client, socket, call_id, case)
            done = await client.until(await client.only_recording(call_id))
            answer = await client.http.get(done["url"])
            return Heard(done, hear(answer.content)[0], answer.headers["content-type"])

        made = await asyncio.gather(*map(play, CASES))
    return dict(zip(CASES, made, strict=True))


async def known(client: Recorder, call_id: str) -> None:
    """Wait until the call is there: its stream may be on its way."""

    async def is_there() -> bool:
        return (await client.http.get(f"/v1/sessions/{call_id}")).status_code == 200

    await until(is_there)


async def recording_runs(client: Recorder, call_id: str) -> None:
    """Wait until the recording has begun: a document is run after its answer."""

    async def running() -> bool:
        return bool((await client.http.get(f"/v1/sessions/{call_id}")).json()["recordings"])

    await until(running)


async def say_all(client: Recorder, socket: ClientConnection, call_id: str, case: Case) -> None:
    """Say all of it, and press the key of the case."""
    await say(socket, case.sound)
    if case.digit:
        await client.until_received(call_id, round(LENGTH_S * 1000))
        await socket.send(f'{{"event":"dtmf","digit":"{case.digit}"}}')
        # What follows the key is not in the file.
        await say(socket, np.stack([WORD, WORD], axis=1))


@pytest.mark.parametrize("name", CASES)
def test_an_option_that_is_set_through_a_vendors_api_is_heard_in_the_file(calls: dict[str, Heard], name: str) -> None:
    assert CASES[name].is_heard(calls[name]), calls[name].done


async def test_two_apis_that_drive_one_call_see_each_others_recordings_and_do_not_stop_them(tmp_path: Path) -> None:
    bearer = {"Authorization": "Bearer key"}
    async with recorder(tmp_path) as (client, _):
        async with client.connect("/media/pcm/call-77/a?channels=2") as socket:
            await known(client, "call-77")
            for start in (telnyx, signalwire, bird):
                assert (await start(client, "call-77", {})).is_success
            ours = await client.start("call-77")
            await say(socket, CALL)
            await client.until_received("call-77", round(LENGTH_S * 1000))
            live = (await client.http.get("/v1/sessions/call-77")).json()["recordings"]
            stopped = await client.http.post("/v2/calls/call-77/actions/record_stop", json={}, headers=bearer)
            left = (await client.http.get("/v1/sessions/call-77")).json()["recordings"]
            by_id = await client.http.post(
                "/v2/calls/call-77/actions/record_stop", json={"recording_id": ours["id"]}, headers=bearer
            )
            end = {"id": "call-77", "command": "calling.record.stop", "params": {}}
            assert (await client.http.post("/api/calling/calls", json=end, auth=("project", "key"))).is_success
        listed = (await client.http.get("/v1/recordings", params={"session_id": "call-77"})).json()["data"]
        files = [(await client.listen(each))[0] for each in listed]
        seen = (await client.http.get("/v2/recordings", headers=bearer)).json()["data"]

    assert stopped.json()["data"]["result"] == by_id.json()["data"]["result"] == "ok"
    assert (len(live), len(left)) == (4, 3)
    assert ours["id"] in {each["id"] for each in left}
    assert sorted(each["api"] for each in listed) == ["bird", "native", "signalwire", "telnyx"]
    assert {each["id"].replace("-", "") for each in seen} == {each["id"] for each in listed}
    assert all(len(file) >= LENGTH_S * RATE_HZ for file in files)
