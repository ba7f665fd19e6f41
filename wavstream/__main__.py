"""``python -m wavstream``."""

from wavstream.cli.main import main

if __name__ == "__main__":
    main()
