"""Recordings of real calls, fetched in the format that they were not made in; the tests listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import hear, recorder
from tests.support.traces import files_below
from wavstream.simulator.caller import Leg

RATE_HZ = 8000
PITCHES_HZ = {"a": 600.0, "b": 1500.0}


def audio_files(folder: Path) -> list[str]:
    return [path.name for path in files_below(folder) if path.suffix in (".wav", ".mp3", ".wav-copy", ".mp3-copy")]


@pytest.mark.parametrize(("recorded_as", "asked_for"), [("wav", "mp3"), ("mp3", "wav")])
async def test_both_formats_of_a_recording_say_the_same(tmp_path: Path, recorded_as: str, asked_for: str) -> None:
    legs = [
        Leg(name, beeps(3.0, rate_hz=RATE_HZ, frequency_hz=pitch_hz, offset_s=0.3)[:, None], RATE_HZ)
        for name, pitch_hz in PITCHES_HZ.items()
    ]
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call", format=recorded_as)
        await client.play_at_once("call", *legs)
        own, _ = await client.listen(recording)
        first = await client.http.get(f"/v1/recordings/{recording['id']}.{asked_for}", follow_redirects=True)
        link = first.url
        rest = await client.http.get(link, headers={"Range": "bytes=1000-"})
        await client.http.delete(f"/v1/recordings/{recording['id']}")
        erased = await client.http.get(link)

    copy, rate_hz = hear(first.content)
    assert (copy.shape, rate_hz) == (own.shape, RATE_HZ)
    for channel, pitch_hz in enumerate(PITCHES_HZ.values()):
        expected = find_beeps(own[:, channel], RATE_HZ, pitch_hz)
        assert len(expected) == 3
        assert find_beeps(copy[:, channel], RATE_HZ, pitch_hz) == pytest.approx(expected, abs=0.001)
    assert (rest.status_code, rest.content) == (206, first.content[1000:])
    assert erased.status_code == 404
    assert audio_files(tmp_path) == []
