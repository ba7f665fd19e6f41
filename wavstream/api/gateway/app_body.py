"""What a request may say of an app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from wavstream.access.tokens import PREFIX
from wavstream.api.gateway.answers import Refused
from wavstream.api.options import StartRecording
from wavstream.api.problems import json_pointer
from wavstream.webhooks.signing import secret_key


def _key(text: str) -> str:
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("must be printable ASCII characters without spaces")
    if text.startswith(PREFIX):
        raise ValueError(f"must not begin with {PREFIX}: that is how stream tokens begin")
    return text


def _signing_secret(text: str) -> str:
    secret_key(text)
    return text


def _recording(options: dict[str, Any]) -> dict[str, Any]:
    """As ``POST /v1/recordings`` takes them, but for the session."""
    if "session_id" in options:
        raise ValueError("session_id: is not an option")
    try:
        return StartRecording.model_validate({"session_id": "any", **options}).model_dump(
            mode="json", exclude_unset=True, exclude={"session_id"}
        )
    except ValidationError as error:
        raise ValueError(
            "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        ) from None


class AppBody(BaseModel):
    """An app, whole: what is left out has its default, but for the key and the secret of one that is there already."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    webhook_url: str | None = None
    api_key: Annotated[str, Field(min_length=16, max_length=512), AfterValidator(_key)] | None = None
    rate_limit: Annotated[int, Field(ge=0, le=10_000)] = 0
    events: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=50)] = []
    retention_hours: Annotated[int, Field(ge=1, le=87_600)] | None = None
    recording: Annotated[dict[str, Any], AfterValidator(_recording)] = {}
    webhook_secret: Annotated[str, AfterValidator(_signing_secret)] | None = None


def read_app(body: bytes) -> AppBody:
    """The body of a request; raises Refused with every wrong field."""
    try:
        return AppBody.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise wrong(
            [(json_pointer(each["loc"]), each["msg"].removeprefix("Value error, ")) for each in error.errors()]
        ) from None


def wrong(fields: Sequence[tuple[str, str]]) -> Refused:
    """The refusal of a body with these wrong fields: a JSON pointer and what is wrong, each."""
    detail = {"errors": [{"pointer": pointer, "detail": said} for pointer, said in fields]}
    return Refused(400, "Invalid request body", detail=detail)
