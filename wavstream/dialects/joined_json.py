"""Several JSON documents back to back in one text: each is taken by itself.

FreeSWITCH's modules join texts that wait for the same write, without a separator, and so do clones of other vendors'
streams that are built on them (``mod_audio_fork_twilio`` on Twilio's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from wavstream.dialects.parameters import too_deep

_MAX_DOCUMENTS = 64
"""JSON documents in one text; a peer that sends more does not join texts, and each costs as much as a message."""
_SPACE = b" \t\r\n"
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
"""How msgspec says where a document ends that is not all of the text."""

_decode = msgspec.json.Decoder().decode


class Document(NamedTuple):
    """A JSON document, and the part of the text that it is."""

    value: object
    text: bytes


def read_documents(message: bytes) -> tuple[list[Document], bool]:
    """Return the JSON documents at the start of the text, and whether they are all of it; empty text has none.

    Bytes that are no UTF-8 are read as replacement characters. Raise BadPayload for JSON that is nested too deeply.
    """
    documents: list[Document] = []
    rest = message.decode("utf-8", "replace").encode().strip(_SPACE)
    try:
        while rest and len(documents) < _MAX_DOCUMENTS:
            document, end = _first_document(rest)
            documents.append(Document(document, rest[:end]))
            rest = rest[end:]
    except msgspec.DecodeError:
        pass
    except RecursionError:
        raise too_deep() from None
    return documents, not rest and bool(documents)


def objects_in(message: bytes) -> Iterator[dict[str, object]]:
    """Yield the fields of each JSON object among the documents; raise BadPayload as ``read_documents`` does."""
    return (document.value for document in read_documents(message)[0] if isinstance(document.value, dict))


def _first_document(text: bytes) -> tuple[object, int]:
    """Return the first JSON document of a text, and where the next one begins; raise msgspec.DecodeError.

    A text of one document is read once, as the standard library's scanner is ten times as slow as msgspec.
    """
    try:
        return _decode(text), len(text)
    except msgspec.DecodeError as error:
        trailing = _TRAILING.search(str(error))
        if trailing is None:
            raise
    end = int(trailing.group(1)) - 1  # it counts from 1
    return _decode(text[:end]), end
