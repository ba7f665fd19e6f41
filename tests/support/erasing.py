"""An eraser over what a test has."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from wavstream.catalog.catalog import Catalog
from wavstream.journal.set_aside import SetAside
from wavstream.recorder.eraser import Eraser
from wavstream.recorder.recorder import Recorder
from wavstream.storage.local import LocalStorage
from wavstream.storage.stores import FinishedFiles, Stores

NOWHERE = SetAside(Path("nowhere"))


def an_eraser(
    catalog: Catalog,
    storage: LocalStorage,
    recorder: Recorder,
    *,
    set_aside: SetAside = NOWHERE,
    stores: Stores | None = None,
) -> Eraser:
    """Return one that finds nothing set aside, unless it is told where."""
    return Eraser(
        catalog=catalog,
        storage=storage,
        files=FinishedFiles(storage, stores or Stores()),
        recorder=recorder,
        set_aside=set_aside,
        kept=timedelta(hours=24),
    )
