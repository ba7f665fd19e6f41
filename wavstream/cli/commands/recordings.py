"""Recordings: those of a server, by its HTTP API, and files and journals of its data folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavstream.cli.options import HERE, Config, Key, Url, console
from wavstream.errors import OperatorError
from wavstream.settings import load as load_settings

if TYPE_CHECKING:
    from wavstream.simulator.control import Control

app = typer.Typer()
App = Annotated[str | None, typer.Option("--app", help="The app that the key is of: with another's it is refused.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the server answers.")]
RecordingId = Annotated[str, typer.Argument(metavar="ID", help="The recording's id.")]


@contextmanager
def _control(url: str, key: str | None, app_name: str | None) -> Iterator[Control]:
    from wavstream.simulator.address import ServerAddress
    from wavstream.simulator.control import Control

    control = Control(ServerAddress.parse(url), key=key, app=app_name)
    try:
        yield control
    finally:
        control.close()


@app.command("list")
def list_(
    session: Annotated[str | None, typer.Option(help="Of this call only.")] = None,
    status: Annotated[str | None, typer.Option(help="In this state only, such as available; deleted: erased.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
    app_name: App = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """List the recordings of an app, the newest first."""
    from wavstream.cli.recordings import list_recordings

    with _control(url, key, app_name) as control:
        list_recordings(control, session=session, status=status, limit=limit, as_json=as_json, console=console)


@app.command()
def show(
    recording_id: RecordingId, as_json: AsJson = False, app_name: App = None, url: Url = HERE, key: Key = None
) -> None:
    """Show what is known of a recording."""
    from wavstream.cli.recordings import show_recording

    with _control(url, key, app_name) as control:
        show_recording(control, recording_id, as_json=as_json, console=console)


@app.command()
def watch(
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, help="Seconds, then it ends; default: until Ctrl-C.")
    ] = None,
    as_json: AsJson = False,
    app_name: App = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Watch what is live: every leg with its level, and why one is silent."""
    from wavstream.cli.watching import watch

    with _control(url, key, app_name) as control:
        watch(control, console, as_json=as_json, for_s=for_s)


@app.command()
def waveform(
    recording_id: RecordingId, as_json: AsJson = False, app_name: App = None, url: Url = HERE, key: Key = None
) -> None:
    """Draw a recording in the terminal, also one that still runs."""
    from wavstream.cli.drawing import draw_waveform

    with _control(url, key, app_name) as control:
        draw_waveform(control, recording_id, as_json=as_json, console=console)


@app.command()
def play(
    recording_id: RecordingId, as_json: AsJson = False, app_name: App = None, url: Url = HERE, key: Key = None
) -> None:
    """Play the file of a recording, by ffplay, mpv, play, paplay, aplay or afplay, whichever is installed."""
    from wavstream.cli.drawing import play_recording

    with _control(url, key, app_name) as control:
        play_recording(control, recording_id, as_json=as_json, console=console)


@app.command()
def get(
    recording_id: RecordingId,
    file: Annotated[
        str | None, typer.Argument(help="File or folder to write to, or -; default: the recording's name, here.")
    ] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="The same as FILE.")] = None,
    ext: Annotated[
        str | None, typer.Option("--format", help="wav or mp3; default: as FILE ends, else as it was recorded.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
    app_name: App = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Download the file of a recording."""
    from wavstream.cli.download import get_recording

    if file is not None and output is not None:
        raise OperatorError("FILE and --output are the same: give one of them")
    with _control(url, key, app_name) as control:
        get_recording(control, recording_id, file or output, ext=ext, replace=force, as_json=as_json, console=console)


@app.command()
def transcript(
    recording_id: RecordingId,
    form: Annotated[str, typer.Option("--format", help="txt, srt (SubRip) or vtt (WebVTT).")] = "txt",
    as_json: AsJson = False,
    app_name: App = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Print what was said in a recording, with who said it."""
    from wavstream.cli.recordings import print_transcript

    if form not in ("txt", "srt", "vtt"):
        raise OperatorError(f"--format {form}: use one of txt, srt, vtt")
    with _control(url, key, app_name) as control:
        print_transcript(control, recording_id, "" if as_json else f".{form}", console)


@app.command()
def erase(
    recording_id: RecordingId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, to be kept with who asked.")] = None,
    app_name: App = None,
    url: Url = HERE,
    key: Key = None,
) -> None:
    """Erase a recording that has ended: its file, and what tells whom it was about. It cannot be had back."""
    from wavstream.cli.recordings import erase_recording

    if not yes:
        try:
            agreed = typer.confirm(f"Erase recording {recording_id} for good?")
        except typer.Abort:
            if sys.stdin.isatty():  # Ctrl-C
                raise
            raise OperatorError(
                f"recording {recording_id} is not erased, since nobody answers here: add --yes"
            ) from None
        if not agreed:
            raise typer.Abort
    with _control(url, key, app_name) as control:
        erase_recording(control, recording_id, console, reason=reason)


@app.command()
def verify(
    what: Annotated[str, typer.Argument(help="A recording's id, or a file with its sidecar beside it.")],
    config: Config = None,
) -> None:
    """Check a finished file's hash, header and length against the catalog."""
    from wavstream.cli.verify import run_verify

    asyncio.run(run_verify(what, load_settings(config), console))


@app.command()
def replay(
    journal: Annotated[Path, typer.Argument(help="A segment of the journal (its folder must hold the others).")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write.")] = None,
    recording: Annotated[str | None, typer.Option(help="Which recording, where the journal has several.")] = None,
    config: Config = None,
) -> None:
    """Fold a journal to a file again: the same bytes as live."""
    from wavstream.cli.replay import run_replay
    from wavstream.rendering.timeline.clock import Patience

    settings = load_settings(config)
    patience = Patience.of(file_s=settings.behind_wait_s, early_s=settings.stall_wait_s)
    run_replay(journal, output=output, recording_id=recording, patience=patience, console=console)
