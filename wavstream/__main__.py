"""``python -m wavstream``, and the command ``wavstream``."""

import sys

from wavstream.service.signals import end_on_sigterm


def main() -> None:
    """Run the command line; what takes long to import comes after the handler of signals."""
    end_on_sigterm()
    from wavstream.cli.interrupts import Interrupts
    from wavstream.cli.main import main as run

    interrupts = Interrupts()
    if sys.argv[1:2] != ["serve"]:
        interrupts.catch()
    run(interrupts)


if __name__ == "__main__":
    main()
