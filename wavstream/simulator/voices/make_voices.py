"""Make ``caller.wav`` and ``callee.wav``, the spoken two-leg call of the demo, with espeak-ng.

The turns alternate: while one leg speaks the other is digital silence, so that whoever listens to a recording knows at
every moment which channel must be heard. Both files have the same length.
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

RATE_HZ = 8_000
PAUSE_SAMPLES = RATE_HZ * 3 // 10
PEAK = 16_384
"""Half of full scale: two legs mixed into one channel do not clip."""
SILENCE = 200
"""Samples quieter than this at the ends of a turn are cut away."""

CALLER = "caller"
CALLEE = "callee"
VOICES = {CALLER: "en-us+m3", CALLEE: "en-gb+f2"}
WORDS_A_MINUTE = "180"
TURNS = (
    (CALLEE, "Good morning, front desk. How may I help?"),
    (CALLER, "Hello. I would like to move my visit to Friday."),
    (CALLEE, "Friday at ten is free. Shall I book it?"),
    (CALLER, "Yes, please. Thank you, goodbye."),
)


def speak(voice: str, text: str) -> npt.NDArray[np.int16]:
    """Return the text in the voice, as 8 kHz samples from its first sound to its last."""
    command = ["espeak-ng", "-v", voice, "-s", WORDS_A_MINUTE, "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate_hz = soundfile.read(io.BytesIO(wav), dtype="float64")
    samples = soxr.resample(samples, rate_hz, RATE_HZ, quality="VHQ")
    samples = samples * (PEAK / np.abs(samples).max())
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    turn: npt.NDArray[np.int16] = np.rint(samples[loud[0] : loud[-1] + 1]).astype(np.int16)
    return turn


def main() -> None:
    """Write both files beside this script."""
    parts: dict[str, list[npt.NDArray[np.int16]]] = {CALLER: [], CALLEE: []}
    pause = np.zeros(PAUSE_SAMPLES, np.int16)
    for speaker, text in TURNS:
        turn = speak(VOICES[speaker], text)
        for leg, leg_parts in parts.items():
            leg_parts += [turn if leg == speaker else np.zeros(len(turn), np.int16), pause]
    for leg, leg_parts in parts.items():
        soundfile.write(Path(__file__).with_name(f"{leg}.wav"), np.concatenate(leg_parts), RATE_HZ, subtype="PCM_16")


if __name__ == "__main__":
    main()
