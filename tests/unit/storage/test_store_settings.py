"""What the settings of a store become where it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from wavstream.settings import StorageSettings
from wavstream.storage.stores import make_store

pytest.importorskip("obstore", reason="no obstore: pip install 'wavstream[store]'")


def config_of(**given: Any) -> dict[str, Any]:
    settings = StorageSettings(url="s3://calls", access_key_id="AK", secret_access_key=SecretStr("SK"), **given)
    assert settings.url is not None
    return dict(make_store(settings.url, settings, endpoint=settings.endpoint)._store.config)


def test_s3_is_sent_a_checksum_of_what_it_takes_unless_its_server_refuses_that() -> None:
    assert config_of()["checksum_algorithm"].upper() == "SHA256"
    assert "checksum_algorithm" not in config_of(checksum=False)
