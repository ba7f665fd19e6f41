"""The commands as Typer makes them of their functions, once: it makes all of them at each run, for 0.1 s of a core."""

from __future__ import annotations

import functools
from unittest.mock import patch

import typer.main

from wavstream.cli.main import app

kept_commands = functools.cache(typer.main.get_command)
"""What stands for ``typer.main.get_command`` in a process that runs several commands."""


def keep_commands() -> None:
    """Make them now, for all that are forked from this process."""
    patch.object(typer.main, "get_command", kept_commands).start()
    kept_commands(app)
