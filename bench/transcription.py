"""What an engine finds in the voices of the demo, in white noise at 0 to 30 dB, and what CPU that takes.

``python -m bench.transcription [--engine NAME --model FOLDER --url URL]``: a table for docs/transcription.md. The noise
is as loud, in RMS, as the speech is less the decibels; the words are those of ``simulator/voices/make_voices.py``.
"""

from __future__ import annotations

import argparse
import io
import os
import re

import numpy as np
import soundfile

from wavstream.simulator.voices.make_voices import CALLEE, CALLER, RATE_HZ, TURNS
from wavstream.transcription.engines.choice import EngineChoice
from wavstream.transcription.process import WorkerProcess
from wavstream.transcription.wire import Job

VOICES = "wavstream/simulator/voices/{}.wav"
RATIOS_DB = (None, 30, 20, 10, 0)


def errors(said: list[str], heard: list[str]) -> int:
    """Return how many words have to be put in, left out or changed to make one of the other."""
    before = list(range(len(heard) + 1))
    for place, word in enumerate(said, start=1):
        row = [place]
        for at, other in enumerate(heard, start=1):
            row.append(min(before[at] + 1, row[-1] + 1, before[at - 1] + (word != other)))
        before = row
    return before[-1]


def call(ratio_db: int | None) -> bytes:
    """Return the call of the demo as a stereo file, the caller left, with noise on both channels."""
    chance, channels = np.random.default_rng(7), []
    for name in (CALLER, CALLEE):
        samples, _ = soundfile.read(VOICES.format(name), dtype="float64")
        if ratio_db is not None:
            loudness = np.sqrt(np.mean(samples[np.abs(samples) > 0.005] ** 2))
            samples = samples + chance.normal(0, loudness / 10 ** (ratio_db / 20), len(samples))
        channels.append(samples.clip(-1, 1))
    file = io.BytesIO()
    soundfile.write(file, np.stack(channels, axis=1), RATE_HZ, format="WAV", subtype="PCM_16")
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", default="pocketsphinx")
    parser.add_argument("--model", default="")
    parser.add_argument("--url", default="")
    chosen = parser.parse_args()
    choice = EngineChoice(
        chosen.engine, model=chosen.model, url=chosen.url, key=os.environ.get("BENCH_KEY"),
        allow_http=True, allow_localhost=True, nice=0,
    )  # fmt: skip
    said = [[word for by, text in TURNS if by == name for word in _words(text)] for name in (CALLER, CALLEE)]
    worker = WorkerProcess(choice, limit_s=600)
    print("| noise | word error rate | speech found, s | CPU for a second of it, s |")
    print("| --- | --- | --- | --- |")
    for ratio_db in RATIOS_DB:
        content = call(ratio_db)
        result = worker.run(Job("en-US", ""), lambda content=content: io.BytesIO(content), lambda _percent: None)  # type: ignore[misc]
        heard: list[list[str]] = [[], []]
        for span in result.spans:
            heard[span.channel] += [word for each in span.words for word in _words(each.word)]
        wrong = sum(errors(a, b) for a, b in zip(said, heard, strict=True)) / sum(map(len, said))
        speech_s = result.done.speech_ms / 1000
        noise = "none" if ratio_db is None else f"{ratio_db} dB below the speech"
        print(f"| {noise} | {wrong:.2f} | {speech_s:.1f} | {result.done.work_ms / 1000 / max(speech_s, 0.001):.2f} |")
    worker.close()


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.casefold())


if __name__ == "__main__":
    main()
