"""Object keys: where a finished file lies in storage, made from the operator's template.

A key is a relative path of plain names. Only ids that we made or checked go into it; the id of a session, which its
peer has chosen, as it is only if it is such a name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from wavstream.errors import OperatorError

SIDECAR_SUFFIX = ".json"
COPY_SUFFIX = "-copy"
WAVEFORM_SUFFIX = ".waveform"
BESIDE = (SIDECAR_SUFFIX, COPY_SUFFIX, WAVEFORM_SUFFIX)
"""What names end in that lie beside a file; no object key does."""

_SETTING = "WAVSTREAM_OBJECT_KEY"
_FIELDS = ("app", "date", "year", "month", "day", "session", "recording_id", "ext")
_FIELD = re.compile(r"\{([^{}]*)\}")
# A name that does not begin with a dot is neither "..", nor hidden, nor the temporary name of a file being published.
_SESSION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)


def is_object_key(text: str) -> bool:
    """Return whether text is a relative path of plain names that cannot leave its root."""
    return len(text) <= 1024 and _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """The template of every object key; making one raises OperatorError if the text cannot be a template."""

    text: str = "{app}/{date}/{recording_id}.{ext}"

    def __post_init__(self) -> None:
        fields = _FIELD.findall(self.text)
        if unknown := sorted(set(fields) - set(_FIELDS)):
            raise _wrong(f"it has {{{unknown[0]}}}; there are only {', '.join(f'{{{each}}}' for each in _FIELDS)}")
        if "recording_id" not in fields:
            raise _wrong("it must have {recording_id}, or two recordings would share a file")
        if not self.text.endswith(".{ext}"):
            raise _wrong("it must end with .{ext}")
        if not is_object_key(self._filled(**dict.fromkeys(_FIELDS, "0"))):
            raise _wrong(
                "it must be a relative path of letters, digits, '.', '_', '-' and '/'; no part begins with '.'"
            )

    def key(self, *, app_id: str, session_id: str, recording_id: str, created_at: datetime, ext: str) -> str:
        """Return the object key of a recording.

        ``{date}`` is the UTC day of ``created_at`` as 2026-08-21, ``{session}`` the session's id, or a digest of one
        that is no plain name.
        """
        date = created_at.strftime("%Y-%m-%d")
        year, month, day = date.split("-")
        return self._filled(
            app=app_id,
            date=date,
            year=year,
            month=month,
            day=day,
            session=_plain(session_id),
            recording_id=recording_id,
            ext=ext,
        )

    def _filled(self, **values: str) -> str:
        return _FIELD.sub(lambda match: values[match[1]], self.text)


def _plain(session_id: str) -> str:
    if _SESSION.fullmatch(session_id):
        return session_id
    return f"call-{hashlib.sha256(session_id.encode(errors='surrogatepass')).hexdigest()[:32]}"


def sidecar_key(object_key: str) -> str:
    """Return the key of the JSON sidecar beside a file."""
    return object_key + SIDECAR_SUFFIX


def copy_key(object_key: str, ext: str) -> str:
    """Return the key of a file's copy in another format; no object key ends like it."""
    return f"{object_key}.{ext}{COPY_SUFFIX}"


def waveform_key(object_key: str) -> str:
    """Return the key of the waveform beside a file."""
    return object_key + WAVEFORM_SUFFIX


def base_key(key: str) -> str:
    """Return the key of the file beside which a sidecar, waveform or copy lies; a file's own comes back unchanged."""
    for suffix in (SIDECAR_SUFFIX, WAVEFORM_SUFFIX):
        if key.endswith(suffix):
            return key.removesuffix(suffix)
    return key.removesuffix(COPY_SUFFIX).rpartition(".")[0] if key.endswith(COPY_SUFFIX) else key


def _wrong(why: str) -> OperatorError:
    return OperatorError(f"{_SETTING}: {why}")
