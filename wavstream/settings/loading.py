"""Loads the settings from the command line, the environment and a TOML file, with every complaint at once."""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError

from wavstream.errors import OperatorError
from wavstream.model.given import is_service_link, mistakes_in, without_blanks
from wavstream.settings.quotas import AppQuotas
from wavstream.settings.server import PREFIX, Settings, every_setting, variable
from wavstream.settings.tables import LogSettings, RouteSettings
from wavstream.settings.transcription import EngineSettings

SERVER_VARIABLE = f"{PREFIX}SERVER"
"""Where commands find a server: no setting of one."""
OLDER_NAMES = {"stall_wait_s": "hold_s"}
"""Earlier names in a file of settings outside any table, read too; the name of today wins."""
OLDER_VARIABLES = {
    **{name: variable(older) for name, older in OLDER_NAMES.items()},
    "admin_api_key": "ADMIN_API_KEY",
    "recording_base_url": "RECORDING_BASE_URL",
    "retention.hours": "RECORDING_RETENTION_HOURS",
    "webhooks.allow_http": "ALLOW_HTTP_WEBHOOKS",
    "webhooks.allow_localhost": "ALLOW_LOCALHOST_WEBHOOKS",
}
"""Variables with other names that are read too; our own name wins."""
_OF_MANY: Mapping[str, tuple[type[BaseModel], str]] = {
    "quotas.apps": (AppQuotas, "quota"),
    "media.routes": (RouteSettings, "setting"),
    "transcription.engines": (EngineSettings, "setting"),
}
"""Settings that hold many tables, each with names of its own; and what one of those is called."""


def load(config: Path | None = None, *, overrides: Mapping[str, object] = MappingProxyType({})) -> Settings:
    """Return the settings of the command line (``overrides``; None is not given), the environment and the file.

    The first of the three that has a setting wins. Raise OperatorError with a line for each wrong setting.
    """
    file = _with_names_of_today({} if config is None else without_blanks(_read(config)))
    environment = _environment()
    given = without_blanks({name: value for name, value in overrides.items() if value is not None})
    complaints = [*_unknown_in_file(file, config), *_unknown_in_environment(environment)]
    in_file, beside = [*mistakes_in(file)], [*mistakes_in(environment | given)]
    complaints += [f"{config}: {name}: {wrong}" for name, wrong in in_file]
    complaints += [f"{name}: {wrong}" for name, wrong in beside]
    told = {name.upper() for name, _ in (*in_file, *beside)}
    try:
        settings = Settings(**_merge(file, *_older_variables(environment), _variables(environment), given))
    except ValidationError as error:
        complaints += [
            _complaint(wrong) for wrong in error.errors() if not _is_listed(wrong) and not told & _names(wrong)
        ]
    except SettingsError:  # a variable with the name of a whole table is already among the complaints
        complaints += _not_json(environment)
    else:
        if not complaints:
            return settings
    raise OperatorError("\n".join(complaints))


def load_log(config: Path | None = None) -> LogSettings:
    """Return how the log is set, as far as that can be read: before all else, since what is wrong is logged so.

    What cannot be read has its default here; ``load`` says what is wrong with it.
    """
    try:
        table = ({} if config is None else _read(config)).get("log")
    except OperatorError:
        table = None
    given = without_blanks(table) if isinstance(table, Mapping) else {}
    environment = {name.upper(): value for name, value in _environment().items() if value}
    settings = LogSettings()
    for name in LogSettings.model_fields:
        value = environment.get(variable(f"log.{name}"), given.get(name))
        if value is not None:
            with suppress(ValidationError):
                said = LogSettings.model_validate({name: value})
                settings = settings.model_copy(update={name: getattr(said, name)})
    return settings


def _read(config: Path) -> dict[str, Any]:
    try:
        content = config.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError("it is in UTF-16, and TOML is in UTF-8: save it so")
        return tomllib.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise OperatorError(f"{config}: {error}; name a readable TOML file with --config") from error


def _merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return one mapping of all layers; later ones win, in tables key by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping) and isinstance(below := merged.get(key), Mapping):
                value = _merge(below, value)
            merged[key] = value
    return merged


def _with_names_of_today(file: dict[str, Any]) -> dict[str, Any]:
    for name, older in OLDER_NAMES.items():
        if older in file:
            value = file.pop(older)
            file.setdefault(name, value)
    return file


def _environment() -> dict[str, str]:
    """Return the variables that are ours, without blanks around their values."""
    older = [name for name in OLDER_VARIABLES.values() if not name.startswith(PREFIX)]
    ours = {
        name: value
        for name, value in os.environ.items()
        if (name.upper().startswith(PREFIX) and name.upper() != SERVER_VARIABLE) or name in older
    }
    return {
        name: without_blanks(value, name)
        for name, value in ours.items()
        if not is_service_link(name, value, os.environ)
    }


def _variables(environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environment.items() if value}
    return source()


def _older_variables(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    # Ours may be written in any case, as those of today; the others are somebody's and stand as they are.
    ours = {given.upper(): value for given, value in environment.items() if given.upper().startswith(PREFIX)}
    for name, older in OLDER_VARIABLES.items():
        if value := (ours if older.startswith(PREFIX) else environment).get(older):
            table, _, key = name.rpartition(".")
            yield {table: {key: value}} if table else {key: value}
    if environment.get(variable("url")) == "":
        yield {"url": ""}  # the one setting whose empty value has a meaning


def _unknown_in_file(file: Mapping[str, Any], config: Path | None) -> Iterator[str]:
    known = dict(every_setting())
    tables = {name.partition(".")[0] for name in known if "." in name}
    for key, value in file.items():
        for name in [f"{key}.{inner}" for inner in value] if isinstance(value, Mapping) else [key]:
            if name not in known and name not in tables:
                near = _nearest(name, list(known))
                yield f"{config}: {name}: there is no such setting{near and f'; did you mean {near}?'}"


def _unknown_in_environment(environment: Mapping[str, str]) -> Iterator[str]:
    known = {variable(name): name for name, _ in every_setting()}
    known |= {older: name for name, older in OLDER_VARIABLES.items()}
    for given in sorted(environment):
        if given.upper().startswith(PREFIX) and given.upper() not in known:
            near = _nearest(given[len(PREFIX) :].lower().replace("__", "."), list(known.values()))
            yield f"{given}: there is no such setting{near and f'; did you mean {variable(near)}?'}"


def _not_json(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a complaint for each variable that holds many values, and no JSON."""
    known = {variable(name) for name, _ in every_setting()}
    for name, value in sorted(environment.items()):
        try:
            _variables({name: value} if name.upper() in known else {})
        except SettingsError:
            yield f"{name}: {value!r}: must be a JSON object, such as " + '{"shop": {"sessions": 5}}'


def _nearest(name: str, known: list[str]) -> str:
    within = [other for other in known if other.startswith(f"{name}.")]
    today = {older: name for name, older in OLDER_NAMES.items()}
    near = next(iter(within or difflib.get_close_matches(name, [*known, *today], n=1)), "")
    return today.get(near, near)


def _is_listed(wrong: ErrorDetails) -> bool:
    """Return whether a name that does not exist is among the complaints; those within one of many values are not."""
    return wrong["type"] == "extra_forbidden" and len(wrong["loc"]) <= 2


def _names(wrong: ErrorDetails) -> set[str]:
    """Return the names, in capitals, under which the setting may have been given: what is quoted is told once."""
    names = {".".join(str(part) for part in wrong["loc"][:count]) for count in (1, 2)}
    older = {OLDER_VARIABLES[name] for name in names & OLDER_VARIABLES.keys()}
    return {each.upper() for each in (*names, *map(variable, names), *older)}


def _complaint(wrong: ErrorDetails) -> str:
    name = ".".join(str(part) for part in wrong["loc"])
    field = dict(every_setting()).get(name)
    rule = re.sub(r"^(Input|Value|String) should |^Value error, (must )?", "must ", wrong["msg"])
    rule = re.sub(r" items after validation, not \d+$", " characters", rule)
    variables = " or ".join((variable(name), *([OLDER_VARIABLES[name]] if name in OLDER_VARIABLES else [])))
    names = " or ".join((name, *([OLDER_NAMES[name]] if name in OLDER_NAMES else [])))
    where = f"{variables} (in a file: {names})"
    if (table := ".".join(str(part) for part in wrong["loc"][:2])) in _OF_MANY:  # one variable holds them all
        where = f"{variable(table)} (in a file: {name})"
        if wrong["type"] == "extra_forbidden":
            fields, what = _OF_MANY[table]
            near = _nearest(str(wrong["loc"][-1]), [*fields.model_fields])
            return f"{where}: there is no such {what}{near and f'; did you mean {near}?'}"
    if field is None or "SecretStr" in str(field.annotation):
        return f"{where}: {rule}"
    return f"{where}: {wrong['input']!r}: {rule}"
