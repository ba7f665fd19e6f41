"""``python -m bench.detector``: what the sensitivity of the speech detector misses, and what it takes for speech.

The spoken voices of the simulator, each at five speeds, are mixed with noise. A frame of 20 ms is speech when the clean
voice has energy in it: no less than 30 dB below the level of the speech; breaks below 120 ms are speech too. Prints
the tables of ``docs/speech.md``. Everything is seeded: the same libraries give the same figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import pairwise

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavstream.rendering.speech.detector import Detector, gate_dbfs, vad_mode

Signal = NDArray[np.float64]
Frames = NDArray[np.bool_]

RATE_HZ, FRAME = 8_000, 160
SENSITIVITIES = (0, 20, 44, 60, 80, 100)
SNRS_DB = (30, 20, 10, 0)
LEVELS_DBFS = (-60, -50, -40, -30)
SPEECH_DBFS, QUIET_DBFS = -20.0, (-30.0, -40.0)
SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2)
LEAD_S = 3
TURN_BREAK = 10
FULL_SCALE = 32_768


def detect(signal: Signal, sensitivity: float) -> Frames:
    """Return the verdict on every frame; a frame that is undecided at the end is not speech."""
    samples = np.rint(signal * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    heard = Detector(RATE_HZ, 1, sensitivity).hear(samples[:, np.newaxis])
    return np.pad(heard, (0, len(signal) // FRAME - len(heard)))


def level_db(signal: Signal) -> Signal:
    """Return the level of each frame."""
    power = np.square(signal[: len(signal) // FRAME * FRAME]).reshape(-1, FRAME).mean(axis=1)
    return np.asarray(10 * np.log10(power + 1e-12))


def truth(speech: Signal) -> Frames:
    """Return which frames of clean speech at ``SPEECH_DBFS`` are speech."""
    is_speech = level_db(speech) > SPEECH_DBFS - 30
    found = np.flatnonzero(is_speech)
    for before, after in pairwise(found):
        is_speech[before:after] |= after - before <= 6
    return is_speech


def voices() -> Iterator[Signal]:
    """Yield calls of one party at ``SPEECH_DBFS``, measured while it speaks, with silence before and after."""
    for file in ("caller.wav", "callee.wav"):
        voice = spoken(file)
        for speed in SPEEDS:
            turn = np.interp(np.arange(0, len(voice) - 1, speed), np.arange(len(voice)), voice)
            levels = level_db(turn)
            active = np.repeat(levels > levels.max() - 30, FRAME)
            turn = turn * 10 ** (SPEECH_DBFS / 20) / turn[: len(active)][active].std()
            yield np.pad(turn[: len(active)], LEAD_S * RATE_HZ)


def spoken(file: str) -> Signal:
    with resources.as_file(resources.files("wavstream.simulator") / "voices" / file) as path:
        samples, _ = soundfile.read(path, dtype="float64")
    return np.asarray(samples)


def white(length: int, rng: np.random.Generator) -> Signal:
    return rng.standard_normal(length)


def hum(length: int, rng: np.random.Generator) -> Signal:
    """Return mains hum: 50 Hz, its harmonics, and hiss 20 dB below."""
    at_s = np.arange(length) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * 50 * harmonic * at_s + harmonic) / harmonic for harmonic in range(1, 8))
    return np.asarray(tones + 0.1 * rng.standard_normal(length))


def babble(length: int, rng: np.random.Generator) -> Signal:
    """Return twelve parties of the same voices at once."""
    call = np.concatenate((spoken("caller.wav"), spoken("callee.wav")))
    total = np.zeros(length)
    for _ in range(12):
        party = np.interp(np.arange(0, len(call) - 1, rng.uniform(0.85, 1.15)), np.arange(len(call)), call)
        total += np.roll(np.resize(party, length), rng.integers(length))
    return total


NOISES: dict[str, Callable[[int, np.random.Generator], Signal]] = {"white": white, "hum": hum, "babble": babble}


def at_level(noise: Signal, dbfs: float) -> Signal:
    return noise * (10 ** (dbfs / 20) / float(noise.std()))


def misses_and_alarms(signals: list[Signal], sensitivity: float, is_speech: Frames) -> str:
    heard = np.concatenate([detect(signal, sensitivity) for signal in signals])
    missed, alarmed = ~heard[is_speech], heard[~is_speech]
    return f"{100 * missed.mean():.1f} / {100 * alarmed.mean():.1f}"


def turns(is_speech: Frames) -> list[tuple[int, int]]:
    """Return (first frame, frame after the last) of stretches of speech with breaks up to ``TURN_BREAK`` frames."""
    found = np.flatnonzero(is_speech)
    breaks = np.flatnonzero(np.diff(found) > TURN_BREAK)
    ends = zip(found[[0, *(breaks + 1)]], found[[*breaks, -1]], strict=True)
    return [(int(first), int(last) + 1) for first, last in ends]


class Edges:
    """How late the starts and ends of turns are found."""

    def __init__(self) -> None:
        self.starts_ms: list[int] = []
        self.ends_ms: list[int] = []
        self.lost = 0

    def compare(self, heard: Frames, is_speech: Frames) -> None:
        """Compare the turns. A turn reaches half way to the next; the first and last reach to the ends of the call."""
        known = turns(is_speech)
        bounds = [0, *((end + start) // 2 for (_, end), (start, _) in pairwise(known)), len(heard)]
        for (start, end), (low, high) in zip(known, pairwise(bounds), strict=True):
            found = np.flatnonzero(heard[low:high]) + low
            if len(found):
                self.starts_ms.append((int(found[0]) - start) * 20)
                self.ends_ms.append((int(found[-1]) + 1 - end) * 20)
            else:
                self.lost += 1

    def cells(self) -> tuple[str, ...]:
        spread = [f"{np.median(late):.0f} ({min(late)} to {max(late)})" for late in (self.starts_ms, self.ends_ms)]
        return *spread, f"{self.lost} of {len(self.starts_ms) + self.lost}"


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def head(*cells: object) -> None:
    print()
    row(*cells)
    row(*("---" for _ in cells))


def clean_table(calls: list[Signal], is_speech: Frames) -> None:
    head("`sensitivity`", "gate, dBFS", "mode", *(f"speech at {dbfs:.0f} dBFS" for dbfs in (SPEECH_DBFS, *QUIET_DBFS)))
    for sensitivity in SENSITIVITIES:
        cells = []
        for dbfs in (SPEECH_DBFS, *QUIET_DBFS):
            gain = 10 ** ((dbfs - SPEECH_DBFS) / 20)
            cells.append(misses_and_alarms([call * gain for call in calls], sensitivity, is_speech))
        row(sensitivity, f"{gate_dbfs(sensitivity):.1f}", vad_mode(sensitivity), *cells)


def noisy_table(mixed: dict[tuple[str, int], list[Signal]], is_speech: Frames) -> None:
    head("noise", "`sensitivity`", *(f"{snr} dB" for snr in SNRS_DB))
    for name in NOISES:
        for sensitivity in SENSITIVITIES:
            cells = [misses_and_alarms(mixed[name, snr], sensitivity, is_speech) for snr in SNRS_DB]
            row(name, sensitivity, *cells)


def edge_table(mixed: dict[str, list[Signal]], calls: list[Signal]) -> None:
    head("in", "`sensitivity`", "start late, ms", "end late, ms", "turns lost")
    for name, signals in mixed.items():
        for sensitivity in SENSITIVITIES:
            edges = Edges()
            for signal, call in zip(signals, calls, strict=True):
                edges.compare(detect(signal, sensitivity), truth(call))
            row(name, sensitivity, *edges.cells())


def noise_table() -> None:
    head("noise alone", "`sensitivity`", *(f"{dbfs} dBFS" for dbfs in LEVELS_DBFS))
    for name, noise in NOISES.items():
        alone = noise(60 * RATE_HZ, np.random.default_rng(2))
        for sensitivity in SENSITIVITIES:
            heard = [detect(at_level(alone, dbfs), sensitivity) for dbfs in LEVELS_DBFS]
            row(name, sensitivity, *(f"{100 * frames.mean():.1f}" for frames in heard))


def main() -> None:
    began_s = time.perf_counter()
    calls = list(voices())
    is_speech = np.concatenate([truth(call) for call in calls])
    mixed = {}
    for name, noise in NOISES.items():
        rng = np.random.default_rng(1)
        for snr in SNRS_DB:
            mixed[name, snr] = [call + at_level(noise(len(call), rng), SPEECH_DBFS - snr) for call in calls]
    print("Misses / false alarms, in percent of the frames with / without speech.")
    clean_table(calls, is_speech)
    noisy_table(mixed, is_speech)
    edge_table({"clean": calls, "white, 30 dB": mixed["white", 30], "white, 20 dB": mixed["white", 20]}, calls)
    noise_table()
    print(f"\n{time.perf_counter() - began_s:.0f} s")


if __name__ == "__main__":
    main()
