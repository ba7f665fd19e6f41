"""``wavstream waveform``: a recording drawn in the terminal; and ``play``, by a player that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from wavstream.errors import OperatorError, WavstreamError
from wavstream.simulator.control import Control

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LEVELS = 8
_MARGIN = 8
_NARROWEST = 20
PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("play", "-q"),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
)
"""Commands that play a WAV file, the best first."""


class NotPlayed(WavstreamError):
    """The player failed."""


def draw_waveform(control: Control, recording_id: str, *, as_json: bool, console: Console) -> None:
    """Draw the waveform of a recording, each channel by itself; raise what the server answers."""
    width = max(_NARROWEST, (console.width if console.is_terminal else 80) - _MARGIN)
    waveform = control.waveform(recording_id, points=width)
    if as_json:
        console.print(json.dumps(waveform), markup=False, highlight=False, soft_wrap=True)
        return
    channels = waveform["channels"]
    names = ("left", "right") if channels == 2 else ("",)
    for column, name in enumerate(names):
        console.print(Text(f"{name:<6} ") + Text(_line(waveform, column, channels), style="cyan"), soft_wrap=True)
    length_s = waveform["duration_s"]
    end = f"{length_s:.1f} s" + ("" if waveform["is_final"] else ", and it goes on")
    console.print(f"{'':<6} 0 s{end:>{max(1, waveform['length'] - 3)}}", markup=False, highlight=False, soft_wrap=True)


def _line(waveform: dict[str, Any], column: int, channels: int) -> str:
    data, roots = waveform["data"], waveform["rms"]
    drawn = []
    for point in range(waveform["length"]):
        place = point * channels + column
        loud = max(-data[2 * place], data[2 * place + 1], roots[place] // 2)
        # By the square root, so that speech, which is rarely loud, is seen.
        drawn.append(_BLOCKS[min(_LEVELS, round((loud / 128) ** 0.5 * _LEVELS))])
    return "".join(drawn)


def play_recording(control: Control, recording_id: str, *, as_json: bool, console: Console) -> None:
    """Play the file of a recording; raise what the server answers, OperatorError if nothing is there to play it."""
    player = next((command for command in PLAYERS if shutil.which(command[0])), None)
    if player is None:
        names = ", ".join(command[0] for command in PLAYERS)
        raise OperatorError(f"there is no player here: install one of {names}, or fetch the file with 'wavstream get'")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.wav"
        with path.open("wb") as file:
            control.download(recording_id, "wav", file, lambda done, size: None)
        if as_json:
            told = {"recording_id": recording_id, "player": player[0], "size_bytes": path.stat().st_size}
            console.print(json.dumps(told), markup=False, highlight=False, soft_wrap=True)
        code = subprocess.run([*player, str(path)], stdin=subprocess.DEVNULL, check=False).returncode
    if code:
        raise NotPlayed(f"{player[0]} has failed with exit code {code}: it said why above")
