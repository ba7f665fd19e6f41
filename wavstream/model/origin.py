"""Who asked for a recording, in which API's words, and what that API goes on to say of it.

The core reads none of it but ``api`` and ``status_url``, which tell how and where the recording's facts are announced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NATIVE = "native"
"""Our own API, and streams that ask for their recording themselves."""
GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Origin:
    """The command that started a recording."""

    api: str = NATIVE
    """Whose words it was asked for in: ``native``, or the name of a facade."""
    command: str = ""
    """The API's word for the command, where it has several."""
    control_id: str | None = None
    """The name that the caller gave the recording; no two that run in a session have the same."""
    status_url: str | None = None
    """Where its facts go, in place of the app's own target; a URL that webhooks may go to."""
    said: dict[str, Any] = field(default_factory=dict)
    """What the API repeats in answers and webhooks and the model has no word for, as JSON has it."""
