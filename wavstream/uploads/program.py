"""The operator's program, run once for an uploaded file. Blocks: for a thread of its own.

1. No shell: the setting is the program and its arguments. What it is told is in its environment; of ours it gets all
   but the settings of this server, which hold secrets.
2. It has a time limit. One that is late is ended with all that it has started: they are one group of processes. What it
   has left behind by itself, after it ended, is its own.
3. Of what it says only the end of its standard error is kept, for the log.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Event

from wavstream.model.app import app_name
from wavstream.model.recording import Recording
from wavstream.model.times import rfc3339
from wavstream.settings.server import PREFIX

_LOOK_S = 0.2
"""How often it is looked whether the program has ended, while somebody else holds its standard error."""
_SAID_BYTES = 2_000


class ProgramFailed(Exception):
    """It could not be run, ended with another code than 0, or was late."""


def environment_of(recording: Recording, *, url: str, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the program is told (rule 1); ``url`` is the address of the file."""
    receipt, stored = recording.receipt, recording.stored
    assert receipt is not None
    assert stored is not None
    told = {
        "RECORDING_ID": recording.id,
        "APP": app_name(recording.app_id),
        "SESSION": recording.session_id,
        "URL": url,
        "STORE": stored.url,
        "KEY": recording.object_key,
        "FILE_NAME": recording.file_name,
        "SHA256": receipt.audio_sha256,
        "SIZE": str(receipt.size_bytes),
        "DURATION_MS": str(receipt.duration_ms),
        "FORMAT": recording.options.format.value,
        "CREATED": rfc3339(recording.created_at),
    }
    kept = {name: text for name, text in ours.items() if not name.upper().startswith(PREFIX)}
    return kept | {f"{PREFIX}{name}": _as_variable(text) for name, text in told.items()}


def run(
    command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float, is_stopping: Event | None = None
) -> None:
    """Run the program to its end; raise ProgramFailed. ``is_stopping``: once it is set, the program is ended."""
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ProgramFailed(f"{command[0]} cannot be run: {error}") from error
    with process:
        said = _wait(process, time.monotonic() + timeout_s, is_stopping)
        if process.poll() is None:  # rule 2
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ProgramFailed(f"it had not ended after {timeout_s:g} s{_quoted(said)}")
    if process.returncode != 0:
        raise ProgramFailed(f"it ended with {process.returncode}{_quoted(said)}")


def _wait(process: subprocess.Popen[bytes], give_up_s: float, is_stopping: Event | None) -> bytes:
    """Return the end of what it says once it has ended, is late or is to end."""
    assert process.stderr is not None
    descriptor, said, is_said = process.stderr.fileno(), b"", False
    while process.poll() is None and (is_stopping is None or not is_stopping.is_set()):
        left_s = give_up_s - time.monotonic()
        if left_s <= 0:
            break
        if is_said:  # it has closed it, and goes on
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(left_s, _LOOK_S))
        elif _says_more(descriptor, min(left_s, _LOOK_S)):
            said, is_said = _more(descriptor, said)
    while not is_said and _says_more(descriptor, 0) and time.monotonic() < give_up_s:
        said, is_said = _more(descriptor, said)
    return said


def _says_more(descriptor: int, wait_s: float) -> bool:
    """Return whether there is something to read, or its end, within so long."""
    # select() takes no descriptor above 1023, and a server with a thousand calls has given those away.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _more(descriptor: int, said: bytes) -> tuple[bytes, bool]:
    chunk = os.read(descriptor, 65_536)
    return (said + chunk)[-_SAID_BYTES:], not chunk


def _quoted(said: bytes) -> str:
    text = " ".join(said.decode(errors="replace").split())
    return f": {text}" if text else ""


def _as_variable(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\0", "")
