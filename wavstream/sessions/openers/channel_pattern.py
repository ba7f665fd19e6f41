"""Where the media server's channel is in a session id, and which variable of it names its app: settings, checked."""

from __future__ import annotations

import re

from wavstream.errors import OperatorError

_VARIABLE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def channel_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern whose group ``channel`` finds the channel; raise OperatorError if it is none."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise OperatorError(f"opener.channel is not a regular expression: {error}") from error
    if "channel" not in pattern.groupindex:
        raise OperatorError("opener.channel needs a group of this name: (?P<channel>...)")
    return pattern


def variable_name(text: str | None) -> str | None:
    """Return the name of the variable that has the app's id; raise OperatorError if it cannot be one."""
    if text is not None and not _VARIABLE.fullmatch(text):
        raise OperatorError(f"opener.owner_variable: {text!r} is not the name of a channel variable")
    return text
