"""The seam between blocks and file formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Encoder(Protocol):
    """Blocks in, bytes of one file out. The header has a fixed size and is written last."""

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """The file bytes that a block, (samples, channels), completes."""

    def finish(self) -> bytes:
        """The bytes that end the audio; nothing is encoded after it."""

    def audio_bytes(self, samples: int) -> int:
        """Bytes after the header of a file of so many samples of each channel, also before they are encoded.

        Of a file that was encoded to its end, this many bytes are a whole file of the first ``samples`` samples.
        """

    def header(self, samples: int) -> bytes:
        """The header that is right for a file of so many samples of each channel; its size is always the same."""
