"""The parameters that a media server may set for its stream in every dialect, checked field by field."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import Channel, Codec
from wavstream.model.call import CallFacts
from wavstream.model.ids import is_customer_id

ByteOrder = Literal["little", "big"]
"""Of 16-bit samples: a parameter of the dialects that carry them, where it is called ``byteorder``."""
BYTE_ORDERS = "little or big"
"""Its accepted values, for a person."""

_Text = Annotated[str, msgspec.Meta(max_length=256)]
MAX_FIELDS = 256
"""Fields of one document of a peer; real metadata have a few dozen."""
_FIELD = re.compile(r"\$\.(\w+)")


class StreamParameters(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Parameters that every dialect takes; a dialect with more derives from this."""

    channel: Channel | None = None
    from_: _Text = ""
    to: _Text = ""
    direction: Literal["", "inbound", "outbound"] = ""
    record: bool = False
    keepalive: bool | None = None

    @property
    def call(self) -> CallFacts:
        """The facts of the call among them."""
        return CallFacts(from_=self.from_, to=self.to, direction=self.direction)


ACCEPTED: Mapping[str, str] = {
    "channel": "left or right",
    "from": "text of at most 256 characters",
    "to": "text of at most 256 characters",
    "direction": "inbound or outbound",
    "record": "0 or 1",
    "keepalive": "0 or 1",
}
"""The accepted values of each field, for a person."""

AnyParameters = TypeVar("AnyParameters", bound=StreamParameters)


def read_parameters(fields: Mapping[str, Any], kind: type[AnyParameters], accepted: Mapping[str, str]) -> AnyParameters:
    """Return the parameters among ``fields``, whose values may be text; raise BadParameter.

    Keys that are not in ``accepted`` are ignored: load balancers and vendors add their own.
    """
    known = {key: fields[key] for key in accepted if key in fields}
    try:
        return msgspec.convert(known, kind, strict=False)
    except msgspec.ValidationError as error:
        where = _FIELD.search(str(error))
        field = where.group(1) if where else "settings"
        raise BadParameter(field, f"{_shown(known.get(field))} is not accepted; {accepted[field]} is") from error


def ordered(codec: Codec, order: ByteOrder) -> Codec:
    """Return the codec whose samples, if they have two bytes, are in this order."""
    if codec.sample_bytes == 1:
        return codec
    return Codec.L16BE if order == "big" else Codec.L16


def read_id(fields: Mapping[str, Any], field: str) -> str | None:
    """Return the id of a session or a leg, which may be a number; raise BadParameter."""
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not is_customer_id(value):
        raise BadParameter(field, "1 to 256 printable characters are accepted")
    return value


def customer_ids(fields: Mapping[str, Any], ours: Collection[str]) -> dict[str, str]:
    """Return the customer's own ids of the call: the texts whose names are not ``ours``."""
    return {
        name: value
        for name, value in fields.items()
        if name not in ours and is_customer_id(name) and isinstance(value, str) and is_customer_id(value)
    }


def first_fields(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a document that are looked at: a text of 1 MiB may have 100,000 names."""
    return fields if len(fields) <= MAX_FIELDS else dict(islice(fields.items(), MAX_FIELDS))


def too_deep() -> BadPayload:
    """Return the refusal of JSON that is nested more deeply than it can be read."""
    return BadPayload("text", "JSON that is nested this deeply is not read")


def _shown(value: object) -> str:
    """Return a wrong value, short enough for a close reason."""
    text = ascii(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
