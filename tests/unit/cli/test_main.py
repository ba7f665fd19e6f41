"""Which commands there are, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from wavstream import __version__
from wavstream.cli.interrupts import Interrupts
from wavstream.cli.options import as_the_server_reads_its_own

COMMANDS = (
    "serve", "demo", "send", "load", "replay", "recover", "journals", "verify", "backup",
    "list", "show", "get", "erase", "apps", "keys", "links", "master-key", "webhooks",
)  # fmt: skip
SUBCOMMANDS = (
    "apps add", "apps list", "apps rotate-key", "apps remove",
    "webhooks list", "webhooks replay", "webhooks pending", "webhooks test",
)  # fmt: skip


def one_line(err: str) -> bool:
    return err.startswith("wavstream: ") and err.count("\n") == 1


def test_help_lists_every_command(wavstream: CommandLine) -> None:
    said = wavstream("--help")

    assert said.code == 0
    assert [command for command in COMMANDS if f" {command} " not in said.out] == []


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_every_command_has_help(wavstream: CommandLine, command: str) -> None:
    assert wavstream(*command.split(), "--help").code == 0


def test_the_version_is_printed(wavstream: CommandLine) -> None:
    assert wavstream("version").out == wavstream("--version").out == f"{__version__}\n"


@pytest.mark.parametrize(("words", "completions"), [("wavstream web", {"webhooks"}), ("wavstream keys r", {"revoke"})])
def test_a_shell_completes_commands(
    wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch, words: str, completions: set[str]
) -> None:
    monkeypatch.setenv("_WAVSTREAM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))

    assert set(wavstream().out.split()) == completions


@pytest.mark.parametrize(
    "options",
    [("--cps", "2"), ("--cps", "0", "--call-length", "2"), ("--cps", "2", "--call-length", "2", "--legs", "4")],
    ids=" ".join,
)
def test_calls_a_second_are_given_with_their_length_and_without_legs(
    wavstream: CommandLine, options: tuple[str, ...]
) -> None:
    said = wavstream("load", *options)

    assert (said.code, one_line(said.err)) == (2, True)
    assert "--call-length" in said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does_once_and_not_where_it_is_switched_off(number: signal.Signals) -> None:
    was = signal.getsignal(number)
    try:
        signal.signal(number, signal.SIG_IGN)  # nohup
        off = Interrupts()
        off.catch()
        os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_DFL)
        interrupts = Interrupts()
        interrupts.catch()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # what is removed now is removed
    finally:
        signal.signal(number, was)

    assert (off.number, interrupts.exit_code) == (None, 128 + number)


def test_a_command_that_does_not_exist_cannot_be_done(wavstream: CommandLine) -> None:
    assert wavstream("dance").code == 2


def test_a_wrong_setting_is_one_line_that_names_it(wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_RETENTION__HOURS", "soon")

    said = wavstream("apps", "list")

    assert (said.code, one_line(said.err)) == (2, True)
    assert "WAVSTREAM_RETENTION__HOURS" in said.err


def test_a_settings_file_that_is_not_there_is_one_line(wavstream: CommandLine) -> None:
    said = wavstream("verify", "x", "--config", "nowhere.toml")

    assert (said.code, one_line(said.err)) == (2, True)
    assert "nowhere.toml" in said.err


def test_a_data_folder_that_cannot_be_used_is_one_line(wavstream: CommandLine, data_dir: Path) -> None:
    data_dir.write_text("a file")

    for command in (("apps", "list"), ("apps", "add", "shop"), ("verify", "x")):
        said = wavstream(*command)
        assert (said.code, one_line(said.err)) == (2, True), (command, said)
        assert "WAVSTREAM_DATA_DIR" in said.err


@pytest.mark.parametrize(
    "key", ["two\nlines", "wsk_\u043a\u043b\u044e\u0447", '"quoted"', "'half", "wsk_\ufeffof", "a b", "a\x00b"]
)
@pytest.mark.parametrize("words", [["list"], ["send", "call-77"], ["load"]], ids=" ".join)
def test_a_key_that_no_header_carries_is_refused_in_one_line(
    wavstream: CommandLine, monkeypatch: pytest.MonkeyPatch, words: list[str], key: str
) -> None:
    said = wavstream(*words, "--key", key)
    assert said.code == 2
    assert said.err.startswith("wavstream: --key, or WAVSTREAM_API_KEY: must ")
    assert said.err.count("\n") == 1
    assert key not in said.err
    if "\x00" not in key:
        monkeypatch.setenv("WAVSTREAM_API_KEY", key)
        assert wavstream(*words) == said


def test_blanks_and_a_byte_order_mark_around_a_key_are_no_part_of_it() -> None:
    assert as_the_server_reads_its_own("\ufeff wsk_of_the_operator\n") == "wsk_of_the_operator"
    assert as_the_server_reads_its_own(" \n") is None
