"""``wavstream send``: play WAV files to a server as the legs of one call.

Exit codes: 0 the call was played and hung up; 1 the server refused a leg or ended it; 2 the command cannot work as it
was given (a file, an option, or no server at the address).
"""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from wavstream.errors import OperatorError, WavstreamError
from wavstream.model.audio import MAX_RATE_HZ, MIN_RATE_HZ
from wavstream.model.ids import is_customer_id, new_id
from wavstream.model.recording import Status
from wavstream.rendering.codecs.encode import Samples
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg, LegReport, play_call
from wavstream.simulator.control import Control
from wavstream.simulator.quirks import check_quirks, needs_chance, parse_quirks
from wavstream.simulator.vendors.registry import PEERS

EXIT_OK, EXIT_CALL_FAILED = 0, 1

_LOOKED_AT = 50
"""Recordings of the session, the newest: a call has one or two."""
_INTEGER_WIDTHS = ("PCM_16", "PCM_S8", "PCM_U8", "PCM_24", "PCM_32", "ULAW", "ALAW")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """The call that is asked for."""

    files: Sequence[Path]
    """One leg each, named a, b, c, ... in this order."""
    url: str
    dialect: str = "pcm"
    session_id: str | None = None
    """None: a fresh one."""
    codec: str | None = None
    """None: the usual one of the dialect."""
    speed: float = 1.0
    """Call seconds in a second; infinity for as fast as the server takes it."""
    quirks: Sequence[str] = ()
    """As ``parse_quirks`` reads them."""
    seed: int | None = None
    """Of what quirks leave to chance; None: a fresh one, which is printed."""
    key: str | None = None
    record: bool = False
    """Whether the streams ask for a recording."""


def run_send(request: SendRequest, console: Console) -> int:
    """Play the call with a progress bar for each leg and return the exit code; errors are one line."""
    try:
        return _run_send(request, console)
    except WavstreamError as failed:
        _complain(str(failed))
        return failed.exit_code
    except KeyboardInterrupt:
        _complain("interrupted; the streams were broken off")
        return EXIT_CALL_FAILED


def _complain(text: str) -> None:
    Console(stderr=True).print(f"wavstream send: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


def _run_send(request: SendRequest, console: Console) -> int:
    server, session_id, legs = _prepare(request)
    over = _recordings_over(server, request)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bars = {
            leg.name: progress.add_task(f"{leg.name}  {file.name}", total=len(leg.samples), at="")
            for leg, file in zip(legs, request.files, strict=True)
        }
        rates_hz = {leg.name: leg.rate_hz for leg in legs}

        def advance(leg: str, position: int) -> None:
            progress.update(bars[leg], completed=position, at=f"{position / rates_hz[leg]:.1f} s")

        reports = asyncio.run(
            play_call(
                legs,
                server=server,
                session_id=session_id,
                dialect=request.dialect,
                speed=request.speed,
                key=request.key,
                progress=advance,
            )
        )
    console.print(f"session {session_id}: {_summary(reports, rates_hz)}", markup=False, highlight=False, soft_wrap=True)
    if any(needs_chance(leg.quirks) for leg in legs):
        console.print(f"the same again with --seed {legs[0].seed}", markup=False, highlight=False, soft_wrap=True)
    if not request.record and _was_recorded(server, session_id, over, request.key) is False:
        line = f"nothing of it is kept: no recording of session {session_id} was running; start one before, or --record"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return EXIT_OK


def _recordings_over(server: ServerAddress, request: SendRequest) -> set[str]:
    """Return the ids of the session's recordings that are over before the call, the newest, if we may know them."""
    if request.record or request.session_id is None:
        return set()
    with suppress(WavstreamError), closing(Control(server, key=request.key)) as control:
        of_session = control.recordings(_LOOKED_AT, session_id=request.session_id)
        return {each["id"] for each in of_session if each["ended_at"] is not None}
    return set()


def _was_recorded(server: ServerAddress, session_id: str, over: set[str], key: str | None) -> bool | None:
    """Return whether a recording of the session has something of the call; None: the server does not tell us."""
    try:
        with closing(Control(server, key=key)) as control:
            found = [*control.recordings(_LOOKED_AT, session_id=session_id)]
    except WavstreamError:  # a stream token lets nobody look, nor does a proxy that passes on streams alone
        return None
    return any(each["id"] not in over and each["status"] != Status.ABSENT for each in found)


def read_wav(file: Path) -> tuple[Samples, int]:
    """Return the file's samples, shape ``(samples, channels)``, and its rate in hertz; raise OperatorError."""
    try:
        with soundfile.SoundFile(file) as wav:
            rate_hz, channels, subtype = wav.samplerate, wav.channels, wav.subtype
            if channels > 2:
                raise OperatorError(f"{file}: has {channels} channels; make it one or two: sox {file} -c 1 out.wav")
            if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
                raise OperatorError(
                    f"{file}: {rate_hz} Hz cannot be streamed; resample it: sox {file} -r 16000 out.wav"
                )
            if subtype in _INTEGER_WIDTHS:
                samples = wav.read(dtype="int16", always_2d=True)
            else:
                # libsndfile does not scale floating-point files to integers.
                scaled = np.rint(wav.read(dtype="float32", always_2d=True) * 32_767)
                samples = np.clip(scaled, -32_768, 32_767).astype(np.int16)
    except soundfile.LibsndfileError as broken:
        reason = "no such file" if not file.exists() else broken.error_string
        raise OperatorError(f"{file}: cannot be read ({reason}); give a WAV file") from None
    if not len(samples):
        raise OperatorError(f"{file}: there is no audio in it")
    return samples, rate_hz


def _prepare(request: SendRequest) -> tuple[ServerAddress, str, list[Leg]]:
    """Check and read everything, before the first connection."""
    peer = PEERS.get(request.dialect)
    if peer is None:
        raise OperatorError(f"--dialect {request.dialect}: the simulator speaks {', '.join(PEERS)}")
    if request.codec not in (None, *peer.codecs):
        raise OperatorError(f"--codec {request.codec}: use one of {', '.join(peer.codecs)}")
    if not request.speed > 0:
        raise OperatorError(f"--speed {request.speed}: use a number above 0, or inf for as fast as possible")
    session_id = f"send-{new_id()[:12]}" if request.session_id is None else request.session_id
    if not is_customer_id(session_id):
        raise OperatorError("--session: use 1 to 256 printable characters")
    names = string.ascii_lowercase[: len(request.files)]
    if not 1 <= len(request.files) <= len(string.ascii_lowercase):
        raise OperatorError(f"{len(request.files)} files: give 1 to 26, one for each leg")
    quirks = [each for text in request.quirks for each in parse_quirks(text)]
    for name, quirk in quirks:
        if name is not None and name not in names:
            raise OperatorError(f"--quirk {name}={quirk}: there is no leg {name}; the legs are {', '.join(names)}")
    codec = next(codec for codec in peer.codecs if request.codec in (None, codec.value))
    check_quirks([quirk for _, quirk in quirks], peer, codec)
    seed = random.randrange(1_000_000) if request.seed is None else request.seed
    legs = [
        Leg(
            name,
            *read_wav(file),
            codec,
            quirks=[quirk for leg, quirk in quirks if leg in (None, name)],
            query={"record": "1"} if request.record else {},
            seed=seed,
        )
        for name, file in zip(names, request.files, strict=True)
    ]
    for leg, file in zip(legs, request.files, strict=True):
        if leg.samples.shape[1] > peer.max_channels:
            raise OperatorError(f"{file}: {request.dialect} carries one channel; give each its own file")
        if peer.rates_hz is not None and leg.rate_hz not in peer.rates_hz:
            rates = ", ".join(map(str, peer.rates_hz))
            raise OperatorError(
                f"{file}: {request.dialect} carries {rates} Hz; sox {file} -r {peer.rates_hz[0]} out.wav"
            )
    return ServerAddress.parse(request.url), session_id, legs


def _summary(reports: Sequence[LegReport], rates_hz: dict[str, int]) -> str:
    return ", ".join(
        f"leg {report.leg} {report.samples_sent / rates_hz[report.leg]:.2f} s in {report.messages_sent} messages"
        + (f", {report.samples_lost / rates_hz[report.leg]:.2f} s lost" if report.samples_lost else "")
        + (f", {report.dials} connections" if report.dials != 1 else "")
        for report in reports
    )
