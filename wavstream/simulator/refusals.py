"""What a server said when it refused: the detail of its problem document (RFC 9457), or what there is instead."""

from __future__ import annotations

import json

_MAX_CHARACTERS = 300


class StreamRefused(ConnectionError):
    """The server answered the request for a stream with something else than a stream."""

    def __init__(self, what: str, *, status: int, why: str) -> None:
        """``why``: as ``said`` gives it."""
        super().__init__(what + why)
        self.what, self.status, self.why = what, status, why


def said(body: bytes | bytearray | None) -> str:
    """Return what the body of a refusal says, in one line, to be put behind a status; empty if it says nothing.

    A proxy's page is no explanation, so of HTML nothing is told.
    """
    text = bytes(body or b"").decode(errors="replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        detail = "" if text.startswith("<") else text
    else:
        told = document if isinstance(document, dict) else {}
        detail = str(told.get("detail") or told.get("title") or "")
    # It is somebody else's text, which must not write to the terminal.
    line = " ".join("".join(character if character.isprintable() else " " for character in detail).split())
    return f": {line[:_MAX_CHARACTERS]}" if line else ""
