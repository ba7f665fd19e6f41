"""What a fold says of the file that it makes."""

from __future__ import annotations

from dataclasses import dataclass

from wavstream.model.recording import Integrity, LegReceipt, Receipt


@dataclass(frozen=True, slots=True)
class FileAccount:
    """The facts of a receipt that do not need the file's bytes."""

    sample_rate: int
    """Hertz."""
    channels: int
    samples: int
    """Of each channel."""
    legs: tuple[LegReceipt, ...]
    """In order of arrival."""
    integrity: Integrity
    before_start_ms: int
    """Audio that arrived during the recording but was said before it: neither in the file nor lost."""

    def receipt(self, *, audio_sha256: str, size_bytes: int) -> Receipt:
        """The receipt of the file whose bytes after the header have this hash."""
        return Receipt(
            sample_rate=self.sample_rate,
            channels=self.channels,
            samples=self.samples,
            audio_sha256=audio_sha256,
            size_bytes=size_bytes,
            legs=self.legs,
            integrity=self.integrity,
        )
