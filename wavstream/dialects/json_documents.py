"""JSON documents that stand back to back in one text: FreeSWITCH's modules join texts that wait for the same write."""

from __future__ import annotations

import json

import msgspec

_MAX_DOCUMENTS = 64
"""In one text; a peer that sends more is not joining texts, and each costs us as much as a message."""
_SPACE = " \t\r\n"

_scan = json.JSONDecoder().raw_decode


def read_documents(message: bytes) -> tuple[list[object], bool]:
    """The documents at the start of the text, and whether they are all of it; empty text is no document."""
    text = message.decode("utf-8", "replace")
    documents: list[object] = []
    at = _skip_space(text, 0)
    while at < len(text) and len(documents) < _MAX_DOCUMENTS:
        try:
            _, end = _scan(text, at)
            # Half a surrogate pair, which the standard library lets through, cannot be written down again.
            documents.append(msgspec.json.decode(text[at:end]))
        except (ValueError, RecursionError):
            break
        at = _skip_space(text, end)
    return documents, at == len(text) and bool(documents)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
