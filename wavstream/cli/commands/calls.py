"""``wavstream send`` and ``wavstream load``: calls that are played to a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wavstream.cli.options import HERE, Dialect, Key, Url, console
from wavstream.errors import OperatorError

app = typer.Typer()


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(help="WAV files: the legs a, b, c, ... of one call.")],
    url: Url = HERE,
    dialect: Dialect = "pcm",
    session: Annotated[str | None, typer.Option(help="The call's id; default: a fresh one.")] = None,
    codec: Annotated[str | None, typer.Option(help="l16, l16be, pcmu or pcma; default: the dialect's usual.")] = None,
    speed: Annotated[float, typer.Option(help="Times real time; inf: as fast as the server takes it.")] = 1.0,
    quirk: Annotated[
        list[str] | None, typer.Option(help="What goes wrong, such as lost=2%,swap or a=stall:2:1.5; see simulator.md.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats what a call with quirks left to chance.")] = None,
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
        seed=seed,
        key=key,
        record=record,
    )
    raise SystemExit(run_send(request, console))


@app.command()
def load(
    legs: Annotated[int | None, typer.Option(help="Streams at one time, two to a call; default: 100.")] = None,
    url: Url = HERE,
    dialect: Dialect = "pcm",
    duration: Annotated[float, typer.Option(help="Seconds of the whole load; for a soak, hours of them.")] = 20.0,
    call_length: Annotated[
        float | None, typer.Option(help="Seconds of each call, after which another comes; default: --duration.")
    ] = None,
    ramp: Annotated[float, typer.Option(help="Seconds within which the first calls begin.")] = 0.0,
    cps: Annotated[
        float | None, typer.Option(help="Calls that begin in a second, in place of --legs; with --call-length.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Of the generator.")] = 1,
    burst: Annotated[
        bool, typer.Option("--burst/--spread", help="All legs at one instant, or spread as in life.")
    ] = False,
    verify: Annotated[bool, typer.Option(help="Fetch every file and compare every sample.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the recordings on the server.")] = False,
    metrics_url: Annotated[
        str | None, typer.Option(help="Where the server's /metrics are, if --url is a proxy that keeps them back.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
    key: Key = None,
) -> None:
    """Load a server with calls of known audio and report what it cost and what was lost."""
    from wavstream.simulator.load_plan import LoadRequest, legs_for
    from wavstream.simulator.load_report import report_load

    if cps is not None:
        if legs is not None or ramp or call_length is None or cps <= 0:
            raise OperatorError("--cps: give it, above 0, with --call-length, and without --legs and --ramp")
        legs = legs_for(cps, call_length)
    request = LoadRequest(
        url=url,
        legs=100 if legs is None else legs,
        call_s=call_length,
        ramp_s=ramp,
        cps=cps,
        keep=keep,
        metrics_url=metrics_url,
        dialect=dialect,
        duration_s=duration,
        processes=processes,
        burst=burst,
        verify=verify,
        key=key,
    )
    raise SystemExit(report_load(request, console, json_file=json))
