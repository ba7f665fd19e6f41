"""What is given as text, by people and by orchestrators: what of it is meant, what is told, what is passed over.

1. Blanks, line ends and a byte order mark around a text are dropped: a secret that comes from a file ends in a line
   end.
2. Quotes around a text are told. Docker's ``--env-file`` and a Secret of Kubernetes keep them, so they would become a
   part of the key; nobody can say whether they are meant.
3. The master key stays as it is: one that was made with a line end goes on so (``access.master_key``).
4. A key that callers send has the characters of a header's value, and neither begins nor ends in a quote, of which the
   other may have been lost on the way.
5. Links of services whose names begin as ours are passed over. Kubernetes gives each container of a namespace, for each
   Service with an address, variables that begin with the name of the Service in capitals, ``_`` for ``-``: a Service
   ``wavstream-prod`` has ``WAVSTREAM_PROD_SERVICE_HOST``. A Service ``wavstream`` even has ``WAVSTREAM_PORT``, which is
   a setting. Docker's links have the same, and some of their own. Name and value decide together, so that a setting
   which is spelt wrongly is told all the same: what ends in ``_PORT`` is a link where its value is
   ``tcp://10.0.0.1:8080``, and a mistake where it is ``8080``. Docker passes on the variables of a linked container,
   as ``ALIAS_ENV_NAME`` with any value: these are links only beside the ``ALIAS_NAME`` of that link.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables and
``pkg/kubelet/envvars/envvars.go``; https://docs.docker.com/engine/network/links/#environment-variables and ``ToEnv``
in moby's ``daemon/links/links.go``, which makes one set of variables of ports that follow each other, with ``_START``
and ``_END``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

_PROTOCOLS = ("tcp", "udp", "sctp")
_KEPT = ("master_key", "wavstream_master_key")
CONTROL_CHARACTERS = "must have no line end and no other control character in it"
_QUOTES = ('"', "'")


def without_blanks(given: Any, name: str = "") -> Any:
    """Return a value without what is around its texts (rule 1); of tables and lists, all that they hold."""
    if isinstance(given, Mapping):
        return {key: without_blanks(value, key) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [without_blanks(each) for each in given]
    if not isinstance(given, str) or name.lower() in _KEPT:  # rule 3
        return given
    return given.strip().strip("\ufeff").strip()


def mistakes_in(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each text that is probably not what was meant, and what is wrong with it (rule 2)."""
    for key, value in given.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from mistakes_in(value, f"{name}.")
        elif isinstance(value, list):
            for each in value:
                yield from mistakes_in({key: each}, prefix)
        elif isinstance(value, str) and is_quoted(value) and name.lower() not in _KEPT:
            yield name, "must not have quotes around it, which would be a part of it: leave them out"


def mistake_in_key(text: str) -> str | None:
    """Return why a text cannot be a key that callers send; None: it can.

    It goes into headers, in which other characters arrive changed or not at all, and nobody ends a key in a quote.
    """
    if not text.isprintable():
        return CONTROL_CHARACTERS
    if not all("!" <= character <= "~" for character in text):
        return "must be printable ASCII characters without spaces"
    if text.startswith(_QUOTES) or text.endswith(_QUOTES):
        return "must have no quote at its beginning or its end: leave it out"
    return None


def is_quoted(text: str) -> bool:
    """Return whether a text begins and ends with the same quote."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES


def is_service_link(name: str, value: str, environment: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Return whether an orchestrator has set this variable, for a service whose name begins with ``wavstream``.

    ``environment`` are all that are set.
    """
    if any(form.fullmatch(name) and is_value(value) for form, is_value in _FORMS):
        return True
    if name.endswith("_NAME"):
        return _is_name_of_link(name.removesuffix("_NAME"), value)
    return any(
        _is_name_of_link(alias, environment.get(f"{alias}_NAME", ""))
        for alias in (name[: found.start()] for found in re.finditer("_ENV_", name))
    )


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdigit() and 0 < int(value) < 65_536


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        address, port = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in _PROTOCOLS and bool(port) and _is_address(address or "") and not parts.path


def _is_protocol(value: str) -> bool:
    return value in _PROTOCOLS


def _is_name_of_link(alias: str, value: str) -> bool:
    """Return whether this is what Docker names a link with: the container and, in any case, the alias."""
    if re.fullmatch(_SERVICE, alias) is None or re.fullmatch(r"(/[\w.-]+){2,}", value) is None:
        return False
    return value.rpartition("/")[2].upper().replace("-", "_") == alias


# The name of a Service begins with a letter and ends in a letter or a digit; an alias of Docker's may have dots.
_SERVICE = r"WAVSTREAM(?:[_.][A-Z0-9_.]*[A-Z0-9])?"
_ONE_PORT = rf"{_SERVICE}_PORT_[0-9]+_(?:TCP|UDP|SCTP)"
_FORMS: list[tuple[re.Pattern[str], Callable[[str], bool]]] = [
    (re.compile(rf"{_SERVICE}_SERVICE_HOST"), _is_address),
    (re.compile(rf"{_SERVICE}_SERVICE_PORT(?:_[A-Z0-9_]*[A-Z0-9])?"), _is_port),
    (re.compile(rf"{_SERVICE}_PORT"), _is_url),
    (re.compile(_ONE_PORT), _is_url),
    (re.compile(rf"{_ONE_PORT}_PROTO"), _is_protocol),
    (re.compile(rf"{_ONE_PORT}_PORT"), _is_port),
    (re.compile(rf"{_ONE_PORT}_ADDR"), _is_address),
    # Docker's own, of ports that follow each other.
    (re.compile(rf"{_ONE_PORT}_(?:START|END)"), _is_url),
    (re.compile(rf"{_ONE_PORT}_PORT_(?:START|END)"), _is_port),
]
