"""The seam between blocks and file formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Encoder(Protocol):
    """Blocks in, bytes of one file out. The header has a fixed size and is written last."""

    header_bytes: ClassVar[int]

    def encode(self, block: NDArray[np.int16]) -> bytes:
        """The file bytes that a block, (samples, channels), completes."""

    def finish(self) -> bytes:
        """The bytes that end the audio; nothing is encoded after it."""

    def header(self) -> bytes:
        """The header, ``header_bytes`` long, that is right for all that was encoded so far."""
