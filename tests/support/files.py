"""Files as a recorder makes them, with their receipts, without the recorder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from wavstream.model.options import FileFormat
from wavstream.model.recording import Integrity, Receipt
from wavstream.rendering.encoders.encoder import new_encoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def recorded_file(said: NDArray[np.int16], rate_hz: int, file_format: FileFormat) -> tuple[bytes, Receipt]:
    """Return the file of samples (n, channels), and what its recording says of it."""
    samples, channels = said.shape
    encoder = new_encoder(file_format, sample_rate_hz=rate_hz, channels=channels)
    audio = encoder.encode(said) + encoder.finish()
    file = encoder.header(samples) + audio
    receipt = Receipt(
        sample_rate=rate_hz, channels=channels, samples=samples, audio_sha256=hashlib.sha256(audio).hexdigest(),
        size_bytes=len(file), integrity=Integrity(samples=samples * channels),
    )  # fmt: skip
    return file, receipt
