"""Calls through every dialect: what each vendor's side is given to say, and what became of it.

All are played in real time to one server, as many side by side as one process can play and record in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
_AT_ONCE = 8
"""Legs: each takes about 2 % of a core, server and all."""
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
    truth: Truth


@dataclass(frozen=True)
class Run:
    """All calls that were played to one server."""

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
    """Play all calls, those again for which the machine was too slow to tell anything of them."""

    async def work() -> Run:
        played: dict[str, Played] = {}
        async with recorder(folder) as (client, service):
            for some in _groups(calls):
                played |= await again_if_too_slow(partial(_play, client, service, some))
            return Run(played, dict(service.endpoint.counters.ignored))

    return asyncio.run(work())


def _groups(calls: Mapping[str, Call]) -> Iterator[dict[str, Call]]:
    group: dict[str, Call] = {}
    for name, call in calls.items():
        if group and sum(len(each.legs) for each in (*group.values(), call)) > _AT_ONCE:
            yield group
            group = {}
        group[name] = call
    yield group


async def _play(client: Recorder, service: Service, calls: Mapping[str, Call], prefix: str) -> dict[str, Played]:
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
        played[name] = Played(call, samples, rate_hz, await client.get(recordings[name]), of_legs, truth)
    return played
