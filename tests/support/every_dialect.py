"""Calls through every dialect at one time: what each vendor's side is given to say, and what became of it.

All are played in real time to one server, side by side, so a run takes as long as one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

import wavstream.simulator
from tests.support.recorder import Recorder, recorder
from tests.support.truth import Truth, again_if_too_slow, witnessed
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.service.service import Service
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg, LegReport, play_call
from wavstream.simulator.quirks import Quirk
from wavstream.simulator.vendors.registry import PEERS

_VOICES = Path(wavstream.simulator.__file__).parent / "voices"
_BETWEEN_S = 0.01
"""From one call's start to the next one's: not all handshakes fall together."""


@dataclass(frozen=True)
class Call:
    """One call through one dialect."""

    dialect: str
    legs: Sequence[Leg]


@dataclass(frozen=True)
class Played:
    """What became of a call."""

    call: Call
    samples: NDArray[np.int16]
    """Of the file, (n, channels)."""
    rate_hz: int
    done: dict[str, Any]
    """The recording as it is in the end."""
    reports: Sequence[LegReport]
    opened_s: Mapping[str, Sequence[float]]
    """By leg, when the server opened its streams."""
    truth: Truth


@dataclass(frozen=True)
class Run:
    """All calls that were played at one time."""

    calls: Mapping[str, Played]
    ignored: Mapping[str, int]
    """Messages of all streams that the server made nothing of, by reason."""


def rate_of(dialect: str) -> int:
    """Hertz that the vendor sends, 8 kHz where it can choose."""
    rates_hz = PEERS[dialect].rates_hz
    return 8000 if rates_hz is None or 8000 in rates_hz else rates_hz[0]


def voice(name: str, rate_hz: int, from_s: float, to_s: float) -> NDArray[np.int16]:
    """Return a stretch of one of the voices that talk to each other, ``caller`` or ``callee``."""
    samples, file_rate_hz = soundfile.read(_VOICES / f"{name}.wav", dtype="float64")
    at_rate = soxr.resample(samples[round(from_s * file_rate_hz) : round(to_s * file_rate_hz)], file_rate_hz, rate_hz)
    return np.asarray(np.rint(at_rate * 32_768), np.int16)


def legs_of(dialect: str, *channels: NDArray[np.int16], quirks: Sequence[Quirk] = (), stereo: bool) -> list[Leg]:
    """One leg of two tracks, or one for each channel."""
    codec, rate_hz = PEERS[dialect].codecs[0], rate_of(dialect)
    sounds = [np.stack(channels, 1)] if stereo else [channel[:, None] for channel in channels]
    return [Leg(name, sound, rate_hz, codec, quirks=quirks, seed=77) for name, sound in zip("ab", sounds, strict=False)]


def carried(leg: Leg) -> Samples:
    """Return what the codec makes of a leg's samples; those of a codec of packets are as they were."""
    if not isinstance(leg.codec, Codec):
        return leg.samples
    payload = np.frombuffer(encode(leg.samples, leg.codec), np.uint8)
    return decode(leg.codec, leg.samples.shape[1], payload)


def run(folder: Path, calls: Mapping[str, Call]) -> Run:
    """Play all calls, again if the machine was too slow to tell anything of them."""

    async def work() -> Run:
        async with recorder(folder) as (client, service):
            return await again_if_too_slow(lambda prefix: _play(client, service, prefix, calls))

    return asyncio.run(work())


async def _play(client: Recorder, service: Service, prefix: str, calls: Mapping[str, Call]) -> Run:
    server = ServerAddress.parse(client.base_url)
    sessions = {name: f"{prefix}-{name}" for name in calls}
    recordings = {name: await client.start(session) for name, session in sessions.items()}

    async def play(number: int, name: str) -> Sequence[LegReport]:
        await asyncio.sleep(number * _BETWEEN_S)
        call = calls[name]
        return await play_call(call.legs, server=server, session_id=sessions[name], dialect=call.dialect)

    async with witnessed(service) as truth:
        reports = await asyncio.gather(*(play(number, name) for number, name in enumerate(calls)))
    truth.check()
    played = {}
    for (name, call), of_legs in zip(calls.items(), reports, strict=True):
        samples, rate_hz = await client.listen(recordings[name])
        opened_s = {leg: at_s for (session, leg), at_s in truth.opened_s.items() if session == sessions[name]}
        played[name] = Played(call, samples, rate_hz, await client.get(recordings[name]), of_legs, opened_s, truth)
    return Run(played, dict(service.endpoint.counters.ignored))
