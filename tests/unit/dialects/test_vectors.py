"""Plays the wire transcripts of ``tests/vectors``; ``tests/vectors/README.md`` says how they are written."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.events import Event, Frame, Ignored, Reply, StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import MediaError

VECTORS = Path(__file__).parents[2] / "vectors"
TRANSCRIPTS = sorted(VECTORS.glob("*/*.jsonl"))


@dataclass
class Carried:
    """Audio as it came in binary messages, and as it went on in frames."""

    sent: bytes = b""
    framed: bytes = b""


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_transcript_gives_its_events_and_its_error(path: Path) -> None:
    head, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    dialect = DIALECTS[path.parent.name](
        UpgradeRequest(
            session_id=head.get("session_id", "s"),
            leg=head.get("leg", "a"),
            query=head.get("query", {}),
            headers=head.get("headers", {}),
            defaults=head.get("defaults", {}),
        )
    )
    usual = json.loads((path.parent / "usual.json").read_text(encoding="utf-8"))
    is_transcoded = head.get("transcoded", False)
    got: list[Any] = []
    error: MediaError | None = None
    checked = False
    carried = Carried()
    for line in [{"open": True}, *lines]:
        if "expect" in line:
            assert error is None, error
            assert got == [full(event, usual) for event in line["expect"]], line
            got, checked = [], True
        elif "error" in line:
            assert error is not None, "the dialect took what it should have refused"
            assert {"kind": type(error).__name__, "field": error.field} == line["error"]
            assert line is lines[-1], "a dialect is not called again after an error"
            return
        else:
            assert error is None, error
            try:
                got += [told(event) for event in play(dialect, line, None if is_transcoded else carried)]
            except MediaError as raised:
                error = raised
    assert error is None, error
    assert checked, "the transcript expects nothing"
    assert got == [], "the transcript does not say what its last messages give"


def play(dialect: Dialect, line: dict[str, Any], carried: Carried | None) -> list[Event]:
    """Return the events of a line; ``carried``: None where frames have other bytes than their messages."""
    carried, is_checked = carried or Carried(), carried is not None
    if "open" in line:
        return list(dialect.opened())
    if "text" in line:
        text = line["text"]
        events = list(dialect.text(text.encode() if isinstance(text, str) else json.dumps(text).encode()))
        if isinstance(text, dict) and any(isinstance(event, Frame) for event in events):
            carried.sent += base64.b64decode(text.get("media", text).get("payload", ""))  # Bandwidth's is at the top
    elif "text_hex" in line:
        events = list(dialect.text(bytes.fromhex(line["text_hex"])))
    elif "ended" in line:
        events = list(dialect.ended())
    elif "waited" in line:
        events = list(dialect.waited())
    else:
        payload = bytes(line["binary_zeros"]) if "binary_zeros" in line else bytes.fromhex(line["binary_hex"])
        events = list(dialect.binary(payload))
        carried.sent += b"" if any(isinstance(event, Ignored) for event in events) else payload
    carried.framed += b"".join(event.payload for event in events if isinstance(event, Frame))
    assert not is_checked or carried.sent.startswith(carried.framed)
    return events


def told(event: Event) -> dict[str, Any]:
    if isinstance(event, Reply):  # a text in JSON is easier to read as what it is
        is_text, data = event.message
        return (
            {"Reply": json.loads(data)}
            if is_text and data[:1] == b"{"
            else {"Reply": data.decode() if is_text else data.hex()}
        )
    fields = json.loads(msgspec.json.encode(event))
    if isinstance(event, Frame):
        del fields["payload"]
    return {type(event).__name__: fields}


def full(expected: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """Return the event with the usual values where the transcript leaves some out."""
    ((kind, fields),) = expected.items()
    if kind == Frame.__name__:
        return {kind: {"messages": 1, **fields}}
    if kind != StreamStarted.__name__:
        return expected
    merged = {**usual, **fields}
    for nested in ("format", "call"):
        merged[nested] = {**usual[nested], **fields.get(nested, {})}
    return {kind: merged}
