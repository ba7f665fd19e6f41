"""What transcripts cost the calls: 50 recordings are to be transcribed at once while 100 calls stream.

``python -m bench.transcribing [--engine NAME --model FOLDER --url URL]``. Recordings of the demo's caller are made,
then calls of two legs stream in real time, and in their midst a transcript of each recording is asked for, all at once.
Must hold: no sample of the calls is lost, the event loop's delay is under 20 ms in 99 of 100 looks of the last minute
of the stream, and every transcript arrives. Server, generator and the program that transcribes share the machine's
cores, as they are. Exits 1 when something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import numpy as np
import soundfile

from bench.processes import Measured, wavstream_server
from bench.scenario import delay_p99_ms, wrong_samples
from bench.senders import fastest_generator
from tests.support.recorder import Recorder
from wavstream.simulator.caller import Leg
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest, LoadResult
from wavstream.simulator.voices.make_voices import CALLER, RATE_HZ

BUDGET_MS = 20.0
VOICE = f"wavstream/simulator/voices/{CALLER}.wav"
SAID_S = (2.64, 5.64)
"""Of the voice: its first turn."""
SETTLED_S = 5.0
"""From the first frames of the calls until transcripts are asked for."""
LOOK_S = 0.5
LONGEST_S = 1_800.0


@dataclass
class Transcripts:
    """What became of the transcripts that were asked for."""

    asked_s: float = 0.0
    """When, by the monotonic clock."""
    after_s: dict[str, float] = field(default_factory=dict)
    """Seconds from then until a recording's was over."""
    statuses: Counter[str] = field(default_factory=Counter)
    errors: set[str] = field(default_factory=set)


async def recordings(url: str, count: int) -> list[str]:
    """Return the ids of so many finished recordings of some seconds of speech."""
    samples, _ = soundfile.read(VOICE, dtype="int16")
    start, end = (round(each * RATE_HZ) for each in SAID_S)
    leg = Leg("a", np.asarray(samples[start:end, None]), RATE_HZ)
    made, user = [], Recorder(url)
    for number in range(count):
        recording = await user.start(f"said-{number}", channels="mono")
        await user.play_at_once(f"said-{number}", leg)
        made.append((await user.until(recording))["id"])
    await user.http.aclose()
    return made


async def transcribe(url: str, ids: list[str], told: Transcripts) -> None:
    """Ask for all transcripts at once, and wait until each is there or has failed."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        told.asked_s = time.monotonic()
        answers = await asyncio.gather(*(http.post(f"/v1/recordings/{each}/transcription") for each in ids))
        assert all(answer.status_code == 202 for answer in answers), answers[0].text
        left = list(ids)
        while left and time.monotonic() - told.asked_s < LONGEST_S:
            await asyncio.sleep(LOOK_S)
            work = (await http.get(f"/v1/recordings/{left[0]}/transcription")).json()
            if work["status"] in ("done", "failed"):  # they are worked off in the order of their wishes
                told.after_s[left.pop(0)] = time.monotonic() - told.asked_s
                told.statuses[work["status"]] += 1
                told.errors |= {work["error"]} - {None}
        told.statuses["missing"] = len(left)


def measure(server: Measured, request: LoadRequest, ids: list[str]) -> tuple[LoadResult, Transcripts, float]:
    """Stream the calls, have the transcripts made, and return both with the time at which the stream was over."""
    told, ended_s = Transcripts(), 0.0

    def ask() -> None:
        time.sleep(SETTLED_S)
        asyncio.run(transcribe(server.url.replace("ws", "http", 1), ids, told))

    asking = threading.Thread(target=ask, name="transcripts")

    def progress(phase: str, _done: float) -> None:
        nonlocal ended_s
        if phase == "stream":
            ended_s = time.monotonic()
            if asking.ident is None:
                asking.start()

    result = run_load(request, progress, fastest_generator())
    asking.join()
    return result, told, ended_s


def main() -> int:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.transcribing", description=__doc__)
    parser.add_argument("--recordings", type=int, default=50, help="0: the calls alone, to compare")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the calls")
    parser.add_argument("--engine", default="pocketsphinx")
    parser.add_argument("--model", default="")
    parser.add_argument("--url", default="")
    chosen = parser.parse_args()
    more = {f"transcription__{name}": each for name in ("model", "url") if (each := getattr(chosen, name))}
    # Whatever comes is taken: what is measured is what becomes of it.
    with wavstream_server(
        False, transcription__engine=chosen.engine, limits__loop_delay_s=0, limits__fold_delay_s=0, **more
    ) as server:
        ids = asyncio.run(recordings(server.url.replace("ws", "http", 1), chosen.recordings))
        request = LoadRequest(url=server.url, legs=2 * chosen.calls, duration_s=chosen.seconds, verify=True)
        result, told, ended_s = measure(server, request, ids)
    done, wrong, delay_ms = told.statuses["done"], wrong_samples(result), delay_p99_ms(result)
    while_calls = sum(told.asked_s + after_s <= ended_s for after_s in told.after_s.values())
    for complaint in [*result.complaints[:3], *sorted(told.errors)[:3]]:
        print(complaint)
    print("| calls | transcripts | wrong samples | loop delay p99, ms | there | while calls ran | the last after, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {chosen.calls} | {chosen.recordings} | {wrong:.0f} | {delay_ms:.1f} | {done} | {while_calls} "
        f"| {max(told.after_s.values(), default=0.0):.0f} |"
    )
    if result.late_ticks > 10:
        print(f"the generator had {result.late_ticks} late ticks, the worst {result.worst_late_ms:.0f} ms: "
              "the machine was too busy to tell")  # fmt: skip
    is_whole = wrong == 0 and result.verified_files == chosen.calls
    return int(not (is_whole and delay_ms < BUDGET_MS and done == chosen.recordings))


if __name__ == "__main__":
    raise SystemExit(main())
