"""The request that starts a recording, and how it becomes options.

Types are strict: a number in quotes is refused, since guessing would hide the mistake until the file sounds wrong.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wavstream.model.ids import is_customer_id
from wavstream.model.options import RecordingOptions, with_options


def _customer_id(text: str) -> str:
    if not is_customer_id(text):
        raise ValueError("must be 1 to 256 printable characters")
    return text


SessionId = Annotated[
    str,
    AfterValidator(_customer_id),
    Field(
        title="Session id",
        description="The id of the call, as your switch knows it: 1 to 256 printable characters.",
        json_schema_extra={"minLength": 1, "maxLength": 256},
        examples=["call-77"],
    ),
]


def _describe(schema: dict[str, Any]) -> None:
    schema["examples"] = [
        {"session_id": "call-77"},
        {"session_id": "call-77", "channels": "mono", "file_name": "support", "metadata": {"agent": "12"}},
        {"session_id": "call-77", "format": "mp3", "end_silence_timeout_s": 5, "trim": "silence", "terminators": "#"},
    ]
    for field in schema["properties"].values():
        # What is left out is the operator's choice, so the defaults below are not promised to the reader.
        field.pop("default", None)


@with_options()
class StartRecording(BaseModel):
    """Start a recording of a session, with options; what is left out is as the app's or the server's settings say."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra=_describe)

    session_id: SessionId

    def options(self, defaults: RecordingOptions) -> RecordingOptions:
        """Return the options asked for, over ``defaults``."""
        named = self.named_options()
        if named.get("retention_hours", 0) is None:
            del named["retention_hours"]  # null asks for the app's or the server's hours, which the defaults have
        return defaults.changed(named)

    def named_options(self) -> dict[str, Any]:
        """Return the options that the request names, as JSON has them."""
        return self.model_dump(exclude_unset=True, exclude={"session_id"})

    def digest(self) -> str:
        """Return the same text for equal requests, however they were written."""
        said = self.model_dump(exclude_unset=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
