"""A finished file compared with its receipt: hash, header and length. All of it blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import soundfile

from wavstream.model.recording import Recording
from wavstream.rendering.encoders.encoder import new_encoder

CHUNK_BYTES = 1 << 20


def differences(path: Path, recording: Recording) -> Iterator[str | None]:
    """Yield every difference, a sentence each, and None after each piece of the file that was read in between.

    Raises OSError if the file cannot be read.
    """
    expected = recording.receipt
    assert expected is not None
    encoder = new_encoder(recording.options.format, sample_rate_hz=expected.sample_rate, channels=expected.channels)
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        if size_bytes != expected.size_bytes:
            yield f"it has {size_bytes} bytes instead of {expected.size_bytes}"
        yield from _of_header(path, recording)
        digest = hashlib.sha256()
        file.seek(max(0, expected.size_bytes - encoder.audio_bytes(expected.samples)))
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield None
    if digest.hexdigest() != expected.audio_sha256:
        yield "its audio has another hash"


def _of_header(path: Path, recording: Recording) -> Iterator[str]:
    expected = recording.receipt
    assert expected is not None
    try:
        with soundfile.SoundFile(path) as file:
            found = (file.frames, file.channels, file.samplerate)
    except soundfile.LibsndfileError as error:
        yield f"its header cannot be read ({error.error_string})"
        return
    if found != (expected.samples, expected.channels, expected.sample_rate):
        yield (
            f"its header says {found[0]} samples, {found[1]} channels, {found[2]} Hz instead of "
            f"{expected.samples}, {expected.channels}, {expected.sample_rate}"
        )
