"""The settings of the catalog: a file of the data folder, or a PostgreSQL database."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from wavstream.settings.tables import Secret, Table

SCHEMES = ("postgresql", "postgres")


def _is_database(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if "#" in text:
        raise ValueError("must have no '#' in it: in a password it is written %23")
    if not text.isprintable() or " " in text or parts.scheme not in SCHEMES or not parts.path.strip("/"):
        raise ValueError("must be postgresql://user:password@host:port/database, characters beside letters as %XX")
    return url


class CatalogSettings(Table):
    """Where recordings, apps and what is to be told are written down; without a `url` in the data folder."""

    url: Annotated[SecretStr, Field(min_length=1), AfterValidator(_is_database)] | None = None
    """Secret. `postgresql://user:password@host:port/database?sslmode=verify-full`, with what else libpq takes behind
    the `?`; not set: the file catalog.db of the data folder."""
    password: Secret | None = None
    """Secret. Of that user, in place of one in the `url`; neither: PGPASSWORD, or the file that PGPASSFILE names."""
