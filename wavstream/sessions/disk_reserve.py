"""Whether the disk has room for another recording: running ones must be able to finish."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from wavstream.errors import LimitReached


@dataclass(frozen=True, slots=True)
class DiskReserve:
    """The reserve of the spool's disk."""

    spool: Path
    min_free_bytes: int

    def check(self) -> None:
        """Raises LimitReached when a new recording must be refused."""
        free_bytes = shutil.disk_usage(self.spool).free
        if free_bytes < self.min_free_bytes:
            raise LimitReached(
                f"the spool's disk has {free_bytes // 1_000_000} MB left, less than limits.min_free_bytes: "
                "running recordings go on, new ones are refused until there is room",
                retry_after_s=60,
            )
