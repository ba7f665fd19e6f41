"""Looking for traces: in which files of a folder words or audio are, whatever the files are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIECE = 80
"""Samples: 10 ms at 8 kHz, of which no two of a noise are alike."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder of a server that runs: folders and files may go at any moment."""
    # Not rglob, which raises where a folder that it was about to read has been removed.
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))


def content_of(path: Path) -> bytes:
    """Return what is in a file; of one that has just been removed nothing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def files_with(folder: Path, audio: NDArray[np.int16], words: Sequence[str] = (), *, every: int = 160) -> list[str]:
    """Return the names of the files below the folder that have one of the words, or a piece of the audio.

    A piece is looked for each ``every`` samples, in any codec of the path, in mono and in either channel of stereo.
    """
    pieces = [audio[start : start + PIECE] for start in range(0, len(audio), every)]
    needles = [form for piece in pieces for form in (piece.tobytes(), piece.byteswap().tobytes())]
    # A stereo file has it with the other channel in between.
    needles += [np.repeat(piece, 2).tobytes() for piece in pieces]
    found = []
    for path in files_below(folder):
        content = content_of(path).rstrip(b"\0")  # the reserve is 8 MiB of zeros
        samples = np.frombuffer(content[: len(content) // 4 * 4], np.int16)
        forms = (content, samples[::2].tobytes(), samples[1::2].tobytes())
        has_words = any(word.encode() in content for word in words)
        if has_words or any(needle in form for needle in needles for form in forms):
            found.append(path.name)
    return found
