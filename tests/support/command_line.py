"""Runs a command of the command line in this process, as the shell would."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
import typer.main

from tests.support.kept_commands import kept_commands
from wavstream.cli.main import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and with which exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The shell: call it with the words of a command."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: object) -> Said:
        self.monkeypatch.setattr(sys, "argv", ["wavstream", *map(str, words)])
        for hook in ("excepthook", "unraisablehook"):  # `serve` takes them, and the tests want theirs back
            self.monkeypatch.setattr(sys, hook, getattr(sys, hook))
        self.monkeypatch.setattr(typer.main, "get_command", kept_commands)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.capsys.readouterr()
        return Said(code, out, err)
