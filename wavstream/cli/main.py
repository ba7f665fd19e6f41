"""The command line.

Exit codes: 0 done; 1 tried and failed (a recording that does not verify, a call that was refused); 2 the command cannot
work as it was given: the one line on standard error says what to change.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wavstream import __version__
from wavstream.errors import OperatorError, WavstreamError
from wavstream.settings import load as load_settings

EXIT_FAILED, EXIT_CANNOT = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Records phone calls that media servers stream over WebSocket.",
)
apps = typer.Typer(no_args_is_help=True, help="The apps (tenants) that may record, and their keys.")
app.add_typer(apps, name="apps")
webhooks = typer.Typer(no_args_is_help=True, help="Webhooks that were given up: the dead letters.")
app.add_typer(webhooks, name="webhooks")
keys = typer.Typer(no_args_is_help=True, help="More keys of an app, each with a name: to change one without a gap.")
app.add_typer(keys, name="keys")
links = typer.Typer(no_args_is_help=True, help="The links that open finished files.")
app.add_typer(links, name="links")
master_key = typer.Typer(no_args_is_help=True, help="The key that all others are derived from.")
app.add_typer(master_key, name="master-key")

Config = Annotated[Path | None, typer.Option("--config", help="TOML file of settings; the environment wins over it.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="WAVSTREAM_API_KEY",
        help="The app's key, where the server wants one.",
        callback=lambda key: key.strip() if key else key,  # as the server reads its own
    ),
]
Url = Annotated[str, typer.Option(help="Where the server is, such as ws://127.0.0.1:8080.")]
Dialect = Annotated[str, typer.Option(help="What the synthetic media server speaks.")]
console = Console()


def main() -> None:
    """Run the command; print every expected error as one line."""
    try:
        app()
    except OperatorError as error:
        _complain(error)
        raise SystemExit(EXIT_CANNOT) from None
    except WavstreamError as error:
        _complain(error)
        raise SystemExit(EXIT_FAILED) from None


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Addresses to listen on, commas between them.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of HTTP and WebSocket.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is running then goes on at the next start."""
    from wavstream.service.logs import configure
    from wavstream.service.server import serve as run

    settings = load_settings(config, overrides={"host": host, "port": port})
    configure(settings.log)
    run(settings)


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Where the demonstration keeps what it records.")] = Path("demo-data"),
) -> None:
    """Start a server, play a spoken call into it, record it and check the file."""
    from wavstream.cli.demo import run_demo

    raise SystemExit(asyncio.run(run_demo(data_dir, console)))


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="WAV files: the legs a, b, c, ... of one call.")],
    url: Url = "ws://127.0.0.1:8080",
    dialect: Dialect = "pcm",
    session: Annotated[str | None, typer.Option(help="The call's id; default: a fresh one.")] = None,
    codec: Annotated[str | None, typer.Option(help="l16, l16be, pcmu or pcma; default: the dialect's usual.")] = None,
    speed: Annotated[float, typer.Option(help="Times real time; inf: as fast as the server takes it.")] = 1.0,
    quirk: Annotated[list[str] | None, typer.Option(help="What goes wrong, such as a=stall:2:1.5.")] = None,
    record: Annotated[bool, typer.Option(help="Ask for a recording with the stream.")] = False,
    key: Key = None,
) -> None:
    """Play WAV files to a server as a media server would."""
    from wavstream.simulator.send import SendRequest, run_send

    request = SendRequest(
        files=files,
        url=url,
        dialect=dialect,
        session_id=session,
        codec=codec,
        speed=speed,
        quirks=quirk or (),
        key=key,
        record=record,
    )
    raise SystemExit(run_send(request, console))


@app.command()
def load(
    legs: Annotated[int, typer.Option(help="Streams: two to a call.")] = 100,
    url: Url = "ws://127.0.0.1:8080",
    dialect: Dialect = "pcm",
    duration: Annotated[float, typer.Option(help="Seconds of every call.")] = 20.0,
    processes: Annotated[int, typer.Option(help="Of the generator.")] = 1,
    burst: Annotated[
        bool, typer.Option("--burst/--spread", help="All legs at one instant, or spread as in life.")
    ] = False,
    verify: Annotated[bool, typer.Option(help="Fetch every file and compare every sample.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
    key: Key = None,
) -> None:
    """Load a server with calls of known audio and report what it cost and what was lost."""
    from wavstream.simulator.load import LoadRequest
    from wavstream.simulator.load_report import report_load

    request = LoadRequest(
        url=url,
        legs=legs,
        dialect=dialect,
        duration_s=duration,
        processes=processes,
        burst=burst,
        verify=verify,
        key=key,
    )
    raise SystemExit(report_load(request, console, json_file=json))


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


@app.command()
def recover(config: Config = None) -> None:
    """Finish everything that a crash left, without serving."""
    from wavstream.cli.recover import run_recover
    from wavstream.service.logs import configure

    settings = load_settings(config)
    configure(settings.log)
    asyncio.run(run_recover(settings, console))


@app.command()
def journals(config: Config = None) -> None:
    """List the journals, and what was set aside from them with what is wrong."""
    from wavstream.cli.journals import run_journals

    run_journals(load_settings(config), console)


@app.command()
def verify(
    what: Annotated[str, typer.Argument(help="A recording's id, or a file with its sidecar beside it.")],
    config: Config = None,
) -> None:
    """Check a finished file's hash, header and length against the catalog."""
    from wavstream.cli.verify import run_verify

    asyncio.run(run_verify(what, load_settings(config), console))


@apps.command("add")
def apps_add(
    app_id: Annotated[str, typer.Argument(help="1 to 64 of letters, digits, _ and -.")],
    retention_hours: Annotated[int | None, typer.Option(min=1, max=87_600, help="Default: the server's.")] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Its id at a vendor, such as bird=<workspace id>; again for more.")
    ] = None,
    config: Config = None,
) -> None:
    """Add an app and print its key, once."""
    from wavstream.cli.apps import add_app

    asyncio.run(add_app(app_id, retention_hours, account or (), load_settings(config), console))


@apps.command("list")
def apps_list(config: Config = None) -> None:
    """List the apps."""
    from wavstream.cli.apps import list_apps

    asyncio.run(list_apps(load_settings(config), console))


@apps.command("rotate-key")
def apps_rotate_key(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Give an app a new first key and print it; the old one is refused within a second. Its other keys stay."""
    from wavstream.cli.apps import rotate_key

    asyncio.run(rotate_key(app_id, load_settings(config), console))


@apps.command("keys")
def apps_keys(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Print what an app's receivers check the signatures of each vendor's webhooks with."""
    from wavstream.cli.apps import show_keys

    asyncio.run(show_keys(app_id, load_settings(config), console))


@apps.command("remove")
def apps_remove(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """Remove an app, its keys and its links; its recordings stay until their retention ends, and nobody gets them."""
    from wavstream.cli.apps import remove_app

    asyncio.run(remove_app(app_id, load_settings(config), console))


@keys.command("add")
def keys_add(
    app_id: Annotated[str, typer.Argument()],
    name: Annotated[str, typer.Argument(help="1 to 64 of letters, digits, _ and -.")],
    expires_hours: Annotated[float | None, typer.Option(min=0.01, max=87_600, help="Default: it does not.")] = None,
    config: Config = None,
) -> None:
    """Give an app one more key and print it, once; those that it has stay good."""
    from wavstream.cli.apps import add_key

    asyncio.run(add_key(app_id, name, expires_hours, load_settings(config), console))


@keys.command("list")
def keys_list(app_id: Annotated[str, typer.Argument()], config: Config = None) -> None:
    """List the names of an app's keys; the first is called main."""
    from wavstream.cli.apps import list_keys

    asyncio.run(list_keys(app_id, load_settings(config), console))


@keys.command("revoke")
def keys_revoke(
    app_id: Annotated[str, typer.Argument()], name: Annotated[str, typer.Argument()], config: Config = None
) -> None:
    """Take a key away, and with it its stream tokens and those who listen live by it, within a second."""
    from wavstream.cli.apps import revoke_key

    asyncio.run(revoke_key(app_id, name, load_settings(config), console))


@links.command("rotate")
def links_rotate(config: Config = None) -> None:
    """End every link that was handed out: signed links and the addresses of files."""
    from wavstream.cli.secrets import rotate_links

    asyncio.run(rotate_links(load_settings(config), console))


@master_key.command("reset")
def master_key_reset(config: Config = None) -> None:
    """Take another master key from the next start on: app keys of before are refused then. The server must not run."""
    from wavstream.cli.secrets import reset_master_key

    asyncio.run(reset_master_key(load_settings(config), console))


@webhooks.command("list")
def webhooks_list(
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """List them, a line each: id, app, since when, event, session, why."""
    from wavstream.cli.webhooks import list_dead_letters

    asyncio.run(list_dead_letters(app_id, load_settings(config), console))


@webhooks.command("replay")
def webhooks_replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    app_id: Annotated[str | None, typer.Option("--app", help="Of this app only.")] = None,
    config: Config = None,
) -> None:
    """Have them sent again, for another 24 hours."""
    from wavstream.cli.webhooks import replay_dead_letters

    asyncio.run(replay_dead_letters(app_id, ids or [], load_settings(config), console))


@app.command()
def version() -> None:
    """Print the version."""
    console.print(__version__)


def _complain(error: WavstreamError) -> None:
    Console(stderr=True).print(f"wavstream: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
