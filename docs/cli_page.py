"""Writes cli.md from the commands themselves: `python -m docs.cli_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperGroup

from wavstream.cli.main import app

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """\
# The command line

Written by `python -m docs.cli_page` from [wavstream/cli/commands](../wavstream/cli/commands); a test fails when it is
out of date. `wavstream --help`, and `--help` behind any command, say the same.

| these | work on | and are told where by |
| --- | --- | --- |
| `list`, `show`, `get`, `erase`, `watch`, `waveform`, `play`, `send`, `load` | a running server | `--url`, `--key` |
| all others | a data folder | [the settings of its server](operations.md#which-folder-a-command-uses) |

`WAVSTREAM_SERVER` and `WAVSTREAM_API_KEY` stand for `--url` and `--key`.

A server may run on the folder meanwhile, but for `serve`, `recover`, `restore`, `catalog move` and `master-key reset`.
`demo`, `replay` and `version` need neither.

Exit codes: 0, it is done; 1, it was tried and failed (a file that does not verify, a request or a stream that was
refused, a connection that broke: the line on standard error has the `detail` of the answer); 2, it cannot work as it
was given: the line says what to change.

SIGTERM and SIGHUP end a command as Ctrl-C does: a load is hung up and what it recorded removed, an unfinished download
or backup too, and the exit code is 1, or 128 and the number of the signal. `serve` stops in good order.

`get` writes a regular file whole or not at all. It follows a symlink, writes into a FIFO, a device or `/dev/stdout` as
it is, and replaces a file that is there only with `--force`.

Completion of commands and options, for bash, zsh, fish and PowerShell: `wavstream --install-completion` sets it up for
the shell that it is run in, `wavstream --show-completion` prints what that would be.

What a server was told in a file it is checked with before it is restarted, beside the one that runs:

```sh
wavstream serve --check --config /etc/wavstream.toml
```

It does what a start does on a copy of catalog and keys, tells nobody of anything, and ends with 0 or 2.

A soak of a day, 5 calls beginning in a second and lasting two minutes each, that leaves nothing on the server:

```sh
wavstream load --url wss://rec.example.com --cps 5 --call-length 120 --duration 86400 --verify
```

A proxy should keep `/metrics` back. With `--metrics-url http://10.0.0.5:8080` the load reads them at the server itself;
without, it tells no CPU and no memory. A server or proxy with a certificate of its own is trusted by `SSL_CERT_FILE`.
"""


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_sections(typer.main.get_group(app), "wavstream"))


def _sections(group: TyperGroup, words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _sections(command, f"{words} {name}")
        else:
            yield _section(f"{words} {name}", command)


def _section(words: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    title = " ".join((words, *(_argument(each) for each in arguments)))
    rows = [f"| `{_argument(each)}` | {_help(each)} |\n" for each in arguments if each.help]
    rows += [f"| {_option(each)} | {_help(each)} |\n" for each in options]
    table = "\n| | |\n| --- | --- |\n" + "".join(rows) if rows else ""
    return f"\n## `{title}`\n\n{' '.join((command.help or '').split())}\n{table}"


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).strip("{}[]").upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {(parameter.metavar or parameter.name).strip('<>').upper()}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _help(parameter: Any) -> str:
    said = [" ".join((parameter.help or "").split())]
    if parameter.default not in (None, False, ()) and not callable(parameter.default) and not parameter.required:
        said.append(f"Default: `{parameter.default}`.")
    if getattr(parameter, "envvar", None):
        said.append(f"Or `{parameter.envvar}`.")
    return " ".join(filter(None, said)).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
