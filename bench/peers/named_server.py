"""The server, whose threads tell the kernel their names: Python does that itself from 3.14 on only.

The environment's ``BENCH_PROFILE``, if given, names a folder: each thread leaves its profile there when it ends.
"""

from __future__ import annotations

import cProfile
import os
import threading
import time
from pathlib import Path
from typing import Any

_run = threading.Thread.run
_profiles = os.environ.get("BENCH_PROFILE")


def _named_run(thread: threading.Thread) -> None:
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(thread.name[:15])
    _profiled(thread.name, lambda: _run(thread))


def _profiled(name: str, run: Any) -> None:
    if _profiles is None:
        run()
        return
    profile = cProfile.Profile(time.thread_time)
    try:
        profile.runcall(run)
    finally:
        profile.dump_stats(Path(_profiles, f"{name}-{threading.get_native_id()}.prof"))


if __name__ == "__main__":
    threading.Thread.run = _named_run  # type: ignore[method-assign, assignment]
    from wavstream.__main__ import main

    _profiled("loop", main)
