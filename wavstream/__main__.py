"""``python -m wavstream``, and the command ``wavstream``."""

from wavstream.service.signals import end_on_sigterm


def main() -> None:
    """Run the command line; what takes long to import comes after the handler of signals."""
    end_on_sigterm()
    from wavstream.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
