"""How the options of other APIs become ours: each field of a vendor's request says so itself.

    channels: Annotated[Literal["single", "dual"], Becomes("channels", {"single": "mono", "dual": "stereo"})]

That is the one table of the mapping. Requests are translated by it, ``POST /v1/recordings`` takes a vendor's options by
it, and the page about the mapping is checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from wavstream.model.options import RecordingOptions

TRANSCRIPTION = "transcription"
NO_TRANSCRIPTS = "not available: this server makes no transcripts"
"""What the metadata of a recording say of a transcript that is wanted, where none is made."""


@dataclass(frozen=True, slots=True)
class Becomes:
    """Marks the field of a vendor's request that is an option of ours."""

    option: str
    """A name of ``RecordingOptions``."""
    values: Mapping[Any, Any] | Callable[[Any], Any] | None = None
    """From the vendor's values to those that JSON has for the option; None: they are the same."""

    def value(self, said: Any) -> Any:
        """Return the option's value for what the vendor's request says."""
        if self.values is None:
            return said
        return self.values(said) if callable(self.values) else self.values[said]


def marked(request: type[BaseModel]) -> Iterator[tuple[str, Becomes]]:
    """Yield the fields of a vendor's request that become options, by the vendor's names."""
    for name, field in request.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Becomes):
                yield field.alias or name, mark


def translated(request: BaseModel) -> dict[str, Any]:
    """Return the options that a vendor's request means, by our names, as ``RecordingOptions.changed`` takes them.

    Defaults of the vendor are among them, so that no default of ours changes what the vendor's API promises. What is
    null is not said.
    """
    options = {}
    for name, field in type(request).model_fields.items():
        said = getattr(request, name)
        for mark in field.metadata:
            if isinstance(mark, Becomes) and said is not None:
                options[mark.option] = mark.value(said)
    return options


def with_transcript(options: RecordingOptions) -> RecordingOptions:
    """Return the options of a start on a server that makes transcripts: nothing says that there is none."""
    if options.metadata.get(TRANSCRIPTION) != NO_TRANSCRIPTS:
        return options
    return replace(options, metadata={name: text for name, text in options.metadata.items() if name != TRANSCRIPTION})
