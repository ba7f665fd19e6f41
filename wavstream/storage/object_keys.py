"""Object keys: where a finished file lies in storage and in a bucket, made from the operator's template.

A key is a relative path of plain names. It is made when the recording is asked for, of what is known then, and stays:
the file is looked for there by whatever comes after a crash.

1. What we made or checked (app, id of the recording, time, extension) is in a key as it is. ``{recording_id}`` is in
   every key, so no two recordings have one, whatever their peers chose.
2. What a peer or an app chose (``{session_id}``, ``{from}``, ``{to}``, ``{direction}``, metadata) is in it as it is
   only where that is a plain name: at most 64 ASCII letters, digits, ``.``, ``_`` and ``-``, of which a letter, a digit
   or ``_`` is the first. So it makes no folder, no ``..``, no hidden file, nothing that a program takes for an option.
3. Numbers as networks write them are readable: ``+4930123456`` is ``plus4930123456``.
4. Of anything else it has what can be read, ``--`` and a digest. What is not there at all is ``none``.
5. Two values never look the same: a plain name that looks like the outcome of rule 3 or 4 is told by its digest too.
6. ``{session}`` is older: the id of a session as it is, or a digest alone.
7. A template is refused by whose longest key something would be longer than a file system or a bucket takes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from wavstream.errors import OperatorError
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording

SIDECAR_SUFFIX = ".json"
COPY_SUFFIX = "-copy"
WAVEFORM_SUFFIX = ".waveform"
TRANSCRIPT_SUFFIX = ".words"
BESIDE = (SIDECAR_SUFFIX, COPY_SUFFIX, WAVEFORM_SUFFIX, TRANSCRIPT_SUFFIX)
"""What names end in that lie beside a file; no object key does."""
NOTHING = "none"
"""What stands in a key where a value is not known."""
LONGEST_NAME_BYTES = 255 - len(".mp3") - len(COPY_SUFFIX)
"""Of a part of a key, so that what lies beside the file has a name too; file systems take 255."""
LONGEST_KEY_BYTES = 768
"""Of a key without the prefix of its bucket; buckets take 1024 of both."""

_SETTING = "WAVSTREAM_OBJECT_KEY"
_METADATA = "metadata."
# Each with the most characters that it can be. An app's id may have a generation behind its name.
_WIDTHS = {
    "app": 64 + len(".999999"),
    "date": 10,
    "year": 4,
    "month": 2,
    "day": 2,
    "hour": 2,
    "session": 128,
    "session_id": 64,
    "from": 64,
    "to": 64,
    "direction": 64,
    "recording_id": 32,
    "ext": 3,
}
_OF_METADATA_WIDTH = 64
_PERSONAL = frozenset(("session", "session_id", "from", "to"))
_FIELD = re.compile(r"\{([^{}]*)\}")
# A name that does not begin with a dot is neither "..", nor hidden, nor the temporary name of a file being published.
_SESSION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_](?!.*--)[A-Za-z0-9._-]{0,63}", re.ASCII)
_NUMBER = re.compile(r"\+([0-9]{1,60})", re.ASCII)
_LIKE_OURS = re.compile(rf"{NOTHING}|plus[0-9]+", re.ASCII)
_UNREADABLE = re.compile(r"[^A-Za-z0-9._]+", re.ASCII)
_READABLE = 40
_DIGEST = 16


def is_object_key(text: str) -> bool:
    """Return whether text is a relative path of plain names that cannot leave its root."""
    return len(text) <= 1024 and _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """The template of every object key; making one raises OperatorError if the text cannot be a template."""

    text: str = "{app}/{date}/{recording_id}.{ext}"

    def __post_init__(self) -> None:
        fields = _FIELD.findall(self.text)
        if unknown := sorted(each for each in fields if each not in _WIDTHS and not each.removeprefix(_METADATA)):
            raise _wrong(f"it has {{{unknown[0]}}}, which names nothing")
        if unknown := sorted(each for each in fields if each not in _WIDTHS and not each.startswith(_METADATA)):
            there_is = ", ".join(f"{{{each}}}" for each in (*_WIDTHS, f"{_METADATA}NAME"))
            raise _wrong(f"it has {{{unknown[0]}}}; there are only {there_is}")
        if "recording_id" not in fields:
            raise _wrong("it must have {recording_id}, or two recordings would share a file")
        if not self.text.endswith(".{ext}"):
            raise _wrong("it must end with .{ext}")
        longest = self._filled({each: "0" * _WIDTHS.get(each, _OF_METADATA_WIDTH) for each in fields})
        if _KEY.fullmatch(longest) is None:
            raise _wrong(
                "it must be a relative path of letters, digits, '.', '_', '-' and '/'; no part begins with '.'"
            )
        if (most := max(map(len, longest.split("/")))) > LONGEST_NAME_BYTES:  # rule 7
            raise _wrong(
                f"a part of it may become {most} bytes long, more than the {LONGEST_NAME_BYTES} that a name may have: "
                "put a '/' between some of its fields"
            )
        if len(longest) > LONGEST_KEY_BYTES:
            raise _wrong(f"a key may become {len(longest)} bytes long, more than {LONGEST_KEY_BYTES}: leave fields out")

    @property
    def is_personal(self) -> bool:
        """Whether keys have in them what tells of the call: its session, its parties, its metadata."""
        return any(each in _PERSONAL or each.startswith(_METADATA) for each in _FIELD.findall(self.text))

    def key(self, recording: Recording) -> str:
        """Return the object key of a recording that is made now; its own ``object_key`` does not count.

        ``{date}`` and ``{hour}`` are of the UTC time at which it was asked for, ``{from}``, ``{to}`` and
        ``{direction}`` what is known of the call at that moment.
        """
        date = recording.created_at.strftime("%Y-%m-%d")
        year, month, day = date.split("-")
        values = {
            "app": recording.app_id,
            "date": date,
            "year": year,
            "month": month,
            "day": day,
            "hour": recording.created_at.strftime("%H"),
            "session": _session(recording.session_id),
            "session_id": plain_name(recording.session_id),
            "from": plain_name(recording.call.from_),
            "to": plain_name(recording.call.to),
            "direction": plain_name(recording.call.direction),
            "recording_id": recording.id,
            "ext": str(recording.options.format),
        }
        metadata = recording.options.metadata
        for each in _FIELD.findall(self.text):
            if each not in values:
                values[each] = plain_name(metadata.get(each.removeprefix(_METADATA), ""))
        return self._filled(values)

    def _filled(self, values: dict[str, str]) -> str:
        return _FIELD.sub(lambda match: values[match[1]], self.text)


def plain_name(value: str) -> str:
    """Return the plain name, of at most 64 characters, that stands for a value in a key (rules 2 to 5)."""
    if not value:
        return NOTHING
    if (number := _NUMBER.fullmatch(value)) is not None:
        return f"plus{number[1]}"
    if _PLAIN.fullmatch(value) is not None and _LIKE_OURS.fullmatch(value) is None:
        return value
    readable = _UNREADABLE.sub("-", value).strip("-.")[:_READABLE].rstrip("-.")
    return f"{readable or 'value'}--{_digest(value)[:_DIGEST]}"


def _session(session_id: str) -> str:
    if _SESSION.fullmatch(session_id):
        return session_id
    return f"call-{_digest(session_id)[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def sidecar_key(object_key: str) -> str:
    """Return the key of the JSON sidecar beside a file."""
    return object_key + SIDECAR_SUFFIX


def copy_key(object_key: str, ext: str) -> str:
    """Return the key of a file's copy in another format; no object key ends like it."""
    return f"{object_key}.{ext}{COPY_SUFFIX}"


def waveform_key(object_key: str) -> str:
    """Return the key of the waveform beside a file."""
    return object_key + WAVEFORM_SUFFIX


def transcript_key(object_key: str) -> str:
    """Return the key of the transcript beside a file."""
    return object_key + TRANSCRIPT_SUFFIX


def base_key(key: str) -> str:
    """Return the key of the file beside which a sidecar, waveform or copy lies; a file's own comes back unchanged."""
    for suffix in (SIDECAR_SUFFIX, WAVEFORM_SUFFIX, TRANSCRIPT_SUFFIX):
        if key.endswith(suffix):
            return key.removesuffix(suffix)
    return key.removesuffix(COPY_SUFFIX).rpartition(".")[0] if key.endswith(COPY_SUFFIX) else key


def is_of_recording(key: str) -> bool:
    """Return whether the key ends as one of a recording does; what people put beside it ends otherwise."""
    return key.rpartition(".")[2] in tuple(FileFormat)


def _wrong(why: str) -> OperatorError:
    return OperatorError(f"{_SETTING}: {why}")
