"""A worker's process, as its supervisor starts it: ``python -m wavstream.service.worker DESCRIPTOR``."""

from __future__ import annotations

import sys

from wavstream.errors import WavstreamError
from wavstream.service.logs import configure
from wavstream.service.server import serve_as_worker
from wavstream.service.worker_place import WorkerPlace, WorkerStart


def main() -> None:
    """Serve in the place that the supervisor has given; a start that cannot be is the supervisor's to tell."""
    start = WorkerStart.read(int(sys.argv[1]))
    configure(start.settings.log, worker=start.index)
    place = WorkerPlace(start)
    try:
        serve_as_worker(place)
    except WavstreamError as error:
        place.refuse(error)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
