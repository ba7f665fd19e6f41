"""The variables of a run, and references to them: ``${record_call_url}``, or ``%{record_call_url}`` as it was once.

Which variables there are is known beforehand, so a reference to any other is refused with the document. What one is
worth is known when its step comes: text, which a parameter that is no text takes as JSON writes its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

RECORD_CALL_URL, RECORD_CALL_RESULT, RECORD_CONTROL_ID = "record_call_url", "record_call_result", "record_control_id"
RECORD_URL, RECORD_RESULT = "record_url", "record_result"
STOP_RECORD_CALL_RESULT = "stop_record_call_result"
NAMES = (
    RECORD_CALL_URL,
    RECORD_CALL_RESULT,
    RECORD_CONTROL_ID,
    RECORD_URL,
    RECORD_RESULT,
    STOP_RECORD_CALL_RESULT,
)
"""Those that the verbs set."""
SUCCESS, FAILED = "success", "failed"
"""What a ``..._result`` may be."""

_REFERENCE = re.compile(r"[$%]\{([^{}]*)\}")
_SCOPE = "vars."
"""SWML's scope of variables, which may be named and need not be."""
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


class UnsetVariable(LookupError):
    """No step has set the variable: its name."""


def references(text: str) -> Iterator[str]:
    """Yield the name in each reference that the text has, whether or not there is such a variable."""
    return (_name(match) for match in _REFERENCE.finditer(text))


def is_reference(text: str) -> bool:
    """Return whether the text is one reference and nothing else."""
    return _REFERENCE.fullmatch(text) is not None


def without_references(text: str) -> str:
    """Return the text with a figure in the place of each reference, to be checked before the variables are known."""
    return _REFERENCE.sub("1", text)


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with the value of each variable in the place of its reference; raise UnsetVariable."""

    def value(match: re.Match[str]) -> str:
        try:
            return variables[_name(match)]
        except KeyError as error:
            raise UnsetVariable(_name(match)) from error

    return _REFERENCE.sub(value, text)


def plain(text: str) -> str | bool | float:
    """Return what a variable's text is worth for a parameter that is not text; what is neither stays text."""
    if text in ("true", "false"):
        return text == "true"
    return float(text) if _NUMBER.fullmatch(text) is not None else text


def _name(match: re.Match[str]) -> str:
    return match[1].strip().removeprefix(_SCOPE)
