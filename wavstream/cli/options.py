"""Options that several commands have, and the console that all print to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wavstream.errors import OperatorError
from wavstream.model.given import mistake_in_key, without_blanks


def as_the_server_reads_its_own(key: str | None) -> str | None:
    """Return a key without blanks around it; raise OperatorError if it is none that a server can be sent."""
    text: str = without_blanks(key or "")
    if (mistake := mistake_in_key(text)) is not None:
        raise OperatorError(f"--key, or WAVSTREAM_API_KEY: {mistake}")
    return text or None


HERE = "ws://127.0.0.1:8080"
"""Where a server is that was told nothing else."""

Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings; the environment wins over it.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="WAVSTREAM_API_KEY",
        help="The app's key, where the server wants one.",
        callback=as_the_server_reads_its_own,
    ),
]
Url = Annotated[
    str,
    typer.Option(
        envvar="WAVSTREAM_SERVER",
        help="Where the server is: ws, wss, http or https://HOST:PORT, and the path of a proxy.",
    ),
]
Dialect = Annotated[str, typer.Option(help="What the synthetic media server speaks.")]

console = Console()
