"""Names of files for people, made of ids that are any text. Never a path: files lie in storage under ids of ours.

1. An id is in a name whole and in its own script, or not at all: a part of one looks like another id.
2. What no name may hold, on one of the systems that people download to, becomes ``-``. Two ids that differ only there
   have names that differ in the number behind them (``sessions.admission``).
3. An id for which there is no room is told by its hash: of one session it is always the same.
"""

from __future__ import annotations

import hashlib
import re
import string
from urllib.parse import quote

from wavstream.model.options import FileFormat

MEDIA_TYPES = {FileFormat.WAV: "audio/wav", FileFormat.MP3: "audio/mpeg"}

LONGEST_STEM_BYTES = 200
"""In UTF-8. File systems take 255; a time, a number and an extension follow."""
# Windows forbids more than Linux: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_NOT_OF_A_NAME = re.compile(r'[\s<>:"/\\|?*-]*[\s<>:"/\\|?*][\s<>:"/\\|?*-]*')
_HASH_DIGITS = 16


def file_stem(customer_id: str) -> str:
    """Return the begin of the name of a file that belongs to this id (rules 1 to 3)."""
    stem = plain_stem(customer_id)
    if len(stem.encode(errors="surrogatepass")) <= LONGEST_STEM_BYTES:
        return stem or "call"
    return f"call-{hashlib.sha256(customer_id.encode(errors='surrogatepass')).hexdigest()[:_HASH_DIGITS]}"


def plain_stem(text: str) -> str:
    """Return all of the text that may be in a name (rule 2), however long; it may be nothing."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    # A name that begins with a dot is hidden, and Windows takes off dots and spaces at an end.
    return _NOT_OF_A_NAME.sub("-", printable).strip("-. ")


def content_disposition(file_name: str) -> str:
    """Return the header that names the download (RFC 6266), with a fallback where the name is not plain ASCII."""
    plain = "".join(character if character in _PLAIN else "_" for character in file_name)
    header = f'inline; filename="{plain}"'
    return header if plain == file_name else f"{header}; filename*=UTF-8''{quote(file_name, safe='')}"


_PLAIN = frozenset(string.ascii_letters + string.digits + " !#$&+-.^_`(),;=@[]{}~")
"""Within quotes these mean themselves; a quote, a backslash, a percent sign or a slash is read differently."""
