"""``python -m wavstream``, and the command ``wavstream``."""

import os
import sys

from wavstream.service.signals import end_quietly


def main() -> None:
    """Run the command line; what takes long to import comes after the handlers of signals."""
    _open_standard_streams()
    end_quietly()
    from wavstream.cli.interrupts import Interrupts
    from wavstream.cli.main import main as run

    interrupts = Interrupts()
    if sys.argv[1:2] != ["serve"]:
        interrupts.catch()
    run(interrupts)


def _open_standard_streams() -> None:
    """Open those that whoever started us has closed: else a file of ours gets such a number, and the log lands in it.

    A descriptor that is opened gets the lowest number that is free.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(os.dup(1), "w")
    sys.stderr = sys.stderr or os.fdopen(os.dup(2), "w")


if __name__ == "__main__":
    main()
