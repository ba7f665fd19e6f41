"""Streams that are described wrongly are recorded all the same, and whoever looks is told what is wrong with them.

What is sent in 13 s tells; all of it is sent side by side.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import spoken

LENGTH_S = 20.0
"""Three times as long as six looks take: of speech that hisses nothing is said."""
FRAME_S = 0.02
SPEECH = np.tile(spoken(), 10)[: int(LENGTH_S * 8_000)]
STEREO = np.stack([SPEECH, np.roll(SPEECH, 30_000)], axis=1)
SPEECH_16K = np.repeat(SPEECH, 2)
SPEECH_16K[1::2] = (SPEECH.astype(int) + np.roll(SPEECH, -1)) // 2


@dataclass(frozen=True, slots=True)
class Call:
    """What a sender sends, and the URL or custom parameters that it gives."""

    path: str
    audio: bytes
    """For ``LENGTH_S``."""
    parameters: dict[str, str] | None = None
    """Of Twilio-like streams."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a call: while it was live, by its recording, and in the log."""

    stream: dict[str, Any]
    leg: dict[str, Any]
    samples: NDArray[np.int16]
    """(n, channels)."""
    warnings: list[str]


def big(samples: NDArray[np.int16]) -> bytes:
    return samples.astype(">i2").tobytes()


CALLS = {
    "right": Call("/media/pcm/right/a?rate=8000&record=1", SPEECH.tobytes()),
    "16-as-8": Call("/media/pcm/16-as-8/a?rate=8000&record=1", SPEECH_16K.tobytes()),
    "two-as-one": Call("/media/pcm/two-as-one/a?channels=1&record=1", STEREO.tobytes()),
    "one-as-two": Call("/media/pcm/one-as-two/a?channels=2&record=1", SPEECH.tobytes()),
    "swapped": Call("/media/audio-fork/swapped/a?rate=8000&record=1", big(SPEECH)),
    "big": Call("/media/audio-fork/big/a?rate=8000&byteorder=big&record=1", big(SPEECH)),
    "clone-swapped": Call("/media/twilio/clone-swapped/a", big(SPEECH), {"record": "1"}),
    "clone-big": Call("/media/twilio/clone-big/a", big(SPEECH), {"record": "1", "byteorder": "big"}),
}


async def send(client: Recorder, call: Call) -> None:
    """Send it in real time; a sender that was late sends what is due."""
    frames = round(LENGTH_S / FRAME_S)
    size = len(call.audio) // frames
    loop = asyncio.get_running_loop()
    async with client.connect(call.path) as socket:
        if call.parameters is not None:
            form = {"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 1}
            start = {"streamSid": "MZ1", "tracks": ["inbound"], "mediaFormat": form}
            await socket.send(json.dumps({"event": "start", "start": {**start, "customParameters": call.parameters}}))
        begin_s = loop.time()
        for number in range(frames):
            await asyncio.sleep(begin_s + number * FRAME_S - loop.time())
            frame = call.audio[number * size : (number + 1) * size]
            if call.parameters is None:
                await socket.send(frame)
            else:
                media = {"track": "inbound", "timestamp": str(number * 20), "payload": base64.b64encode(frame).decode()}
                await socket.send(json.dumps({"event": "media", "media": media}))
        await client.until_received(call.path.split("/")[3], 1)


async def play(folder: Path) -> dict[str, Told]:
    with capture_logs() as lines:
        async with recorder(folder) as (client, _):

            async def live(name: str) -> dict[str, Any]:
                answer = await client.http.get(f"/v1/sessions/{name}")
                (stream,) = answer.json()["streams"]
                return stream  # type: ignore[no-any-return]

            async def one(name: str) -> tuple[dict[str, Any], dict[str, Any], NDArray[np.int16]]:
                sending = asyncio.create_task(send(client, CALLS[name]))
                await asyncio.sleep(LENGTH_S - 0.5)
                stream = await live(name)
                await sending
                recording = await client.only_recording(name)
                samples, _ = hear(await client.fetch(await client.until(recording)))
                return stream, (await client.get(recording))["legs"][0], samples

            found = await asyncio.gather(*(one(name) for name in CALLS))
    suspicious = [line for line in lines if line["event"] == "stream_suspicious"]
    return {
        name: Told(*told, [line["suspicion"] for line in suspicious if line["session_id"] == name])
        for name, told in zip(CALLS, found, strict=True)
    }


pytestmark = pytest.mark.xdist_group("wrong descriptions")
"""All tests listen to the same calls, of which one process has enough."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    return asyncio.run(play(tmp_path_factory.mktemp("calls")))


def test_a_stream_that_is_described_rightly_has_the_pace_of_real_time(told: dict[str, Told]) -> None:
    right = told["right"]

    assert right.stream["paces"] == [{"track": "inbound", "pace": pytest.approx(1, abs=0.02)}]
    assert right.leg["pace"] == pytest.approx(1, abs=0.02)
    assert (right.stream["suspicions"], right.leg["suspicions"], right.warnings) == ([], [], [])


@pytest.mark.parametrize(
    ("name", "pace", "cause", "setting"),
    [
        ("16-as-8", 2.0, "16 kHz sent as rate=8000", "set rate=16000"),
        ("two-as-one", 2.0, "two channels sent as one", "channels=2"),
        ("one-as-two", 0.5, "one channel sent as two", "channels=1"),
    ],
)
def test_a_stream_of_another_rate_or_number_of_channels_is_told_by_its_pace(
    told: dict[str, Told], name: str, pace: float, cause: str, setting: str
) -> None:
    call = told[name]

    assert [each["pace"] for each in call.stream["paces"]] == [pytest.approx(pace, rel=0.03)] * len(
        call.stream["paces"]
    )
    assert call.leg["pace"] == pytest.approx(pace, rel=0.03)
    (live,), (kept,), (warned,) = call.stream["suspicions"], call.leg["suspicions"], call.warnings
    for said in (live, kept, warned):
        assert cause in said
        assert setting in said


def test_which_of_two_mistakes_it_was_is_told_where_the_samples_prove_it(told: dict[str, Told]) -> None:
    (one,), (two,) = told["16-as-8"].leg["suspicions"], told["two-as-one"].leg["suspicions"]

    assert "two channels" not in one
    assert "16 kHz" not in two


@pytest.mark.parametrize("name", ["swapped", "clone-swapped"])
def test_samples_in_the_other_byte_order_are_told(told: dict[str, Told], name: str) -> None:
    call = told[name]

    assert call.leg["codec"] == "l16"
    (live,), (kept,), (warned,) = call.stream["suspicions"], call.leg["suspicions"], call.warnings
    assert live == kept == warned
    assert kept.startswith("noise, which is smooth with its bytes swapped")
    assert kept.endswith("byteorder=big")


@pytest.mark.parametrize("name", ["big", "clone-big"])
def test_with_the_option_the_same_speech_is_heard_to_the_bit(told: dict[str, Told], name: str) -> None:
    call = told[name]

    assert call.leg["codec"] == "l16be"
    assert (call.stream["suspicions"], call.leg["suspicions"], call.warnings) == ([], [], [])
    (found,) = [begin for begin in range(400) if np.array_equal(call.samples[begin:, 0][: len(SPEECH)], SPEECH)][:1]
    assert found < 400
