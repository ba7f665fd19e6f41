"""A start whose options are a vendor's, by the vendor's own names: ``{"session_id": "call-77", "telnyx": {...}}``.

They are translated as in a request to the vendor's API, so there is no second mapping that could differ.
Options of ours may stand beside them, and win.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, create_model, model_validator

from wavstream.api.options import StartRecording
from wavstream.api.registry import FACADES
from wavstream.model.options import RecordingOptions

_VENDORS = tuple(facade.name for facade in FACADES)


def _with_vendors(model: type[StartRecordingAs]) -> type[StartRecordingAs]:
    fields: dict[str, Any] = {
        facade.name: (
            facade.start_options | None,
            Field(None, description=f"Options by the names of {facade.name}'s API, in place of ours."),
        )
        for facade in FACADES
    }
    return create_model("StartRecording", __base__=model, __module__=__name__, __doc__=model.__doc__, **fields)


@_with_vendors
class StartRecordingAs(StartRecording):
    """Start a recording of a session, with options; what is left out is as the app's or the server's settings say."""

    @model_validator(mode="after")
    def _names_one_vendor(self) -> Self:
        if len(named := self._vendors()) > 1:
            raise ValueError(f"name the options of one vendor, not of {' and '.join(named)}")
        return self

    def options(self, defaults: RecordingOptions) -> RecordingOptions:
        """Return the options asked for, over ``defaults``."""
        for facade in FACADES:
            if (said := getattr(self, facade.name)) is not None:
                defaults = facade.options_of(said, defaults)
        return super().options(defaults)

    def named_options(self) -> dict[str, Any]:
        """Return the options of ours that the request names, as JSON has them."""
        return self.model_dump(exclude_unset=True, exclude={"session_id", *_VENDORS})

    def _vendors(self) -> list[str]:
        return [name for name in _VENDORS if getattr(self, name) is not None]
