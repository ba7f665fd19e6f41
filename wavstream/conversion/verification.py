"""A finished file compared with its receipt: hash, header and length. All of it blocks."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator

import soundfile

from wavstream.conversion.decoding import decoded
from wavstream.model.recording import Recording
from wavstream.rendering.encoders.encoder import new_encoder

CHUNK_BYTES = 1 << 20


def differences(opening: Callable[[], io.BufferedReader], recording: Recording) -> Iterator[str | None]:
    """Yield every difference, a sentence each, and None after each piece of the file that was read in between.

    ``opening`` opens it, once for its header and once for what it says. Raises OSError or StoreError if it cannot be
    read.
    """
    expected = recording.receipt
    assert expected is not None
    encoder = new_encoder(recording.options.format, sample_rate_hz=expected.sample_rate, channels=expected.channels)
    with opening() as file:
        size_bytes = file.seek(0, io.SEEK_END)
        if size_bytes != expected.size_bytes:
            yield f"it has {size_bytes} bytes instead of {expected.size_bytes}"
        yield from _of_header(opening, recording)
        digest = hashlib.sha256()
        file.seek(max(0, expected.size_bytes - encoder.audio_bytes(expected.samples)))
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            yield None
    if digest.hexdigest() != expected.audio_sha256:
        yield "its audio has another hash"


def is_as_recorded(opening: Callable[[], io.BufferedReader], recording: Recording) -> bool:
    """Return whether a finished file is as its receipt says. Raises OSError or StoreError if it cannot be read."""
    return recording.receipt is not None and all(each is None for each in differences(opening, recording))


def _of_header(opening: Callable[[], io.BufferedReader], recording: Recording) -> Iterator[str]:
    expected = recording.receipt
    assert expected is not None
    try:
        with opening() as recorded, decoded(recorded) as file:
            found = (file.frames, file.channels, file.samplerate)
    except soundfile.LibsndfileError as error:
        yield f"its header cannot be read ({error.error_string})"
        return
    if found != (expected.samples, expected.channels, expected.sample_rate):
        yield (
            f"its header says {found[0]} samples, {found[1]} channels, {found[2]} Hz instead of "
            f"{expected.samples}, {expected.channels}, {expected.sample_rate}"
        )
