"""What every JSON object of the API's answers has in common, and the problem that any request may get."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON object that the server sends."""

    model_config = ConfigDict(use_attribute_docstrings=True, populate_by_name=True, extra="forbid")


class WrongField(Answer):
    """One wrong field of a request."""

    pointer: str
    """JSON pointer of the field in the body; for a parameter or header its name."""
    detail: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "/channels: accepted: mono, stereo",
                    "errors": [{"pointer": "/channels", "detail": "accepted: mono, stereo"}],
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str | None = None
    """What to do about it."""
    state: str | None = None
    """With 409: the state that the recording is in."""
    errors: list[WrongField] | None = None
    """With 422: every wrong field."""
