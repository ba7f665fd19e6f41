"""What the settings of a store become where it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

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


@pytest.mark.parametrize(
    "address",
    ["minio:9000", "minio", "ftp://minio", "http://", "http://:9000", "https://a:b", "http://k:s@minio", "http://a b"],
)
def test_an_endpoint_that_is_no_address_is_refused_before_anything_is_sent_there(address: str) -> None:
    with pytest.raises(ValidationError, match="must be http:// or https://"):
        StorageSettings(url="s3://calls", endpoint=address)
    with pytest.raises(ValidationError, match="must be http:// or https://"):
        StorageSettings(url="s3://calls", backup_url="s3://others", backup_endpoint=address)


def test_an_endpoint_may_have_a_path_and_a_slash_at_its_end() -> None:
    assert StorageSettings(endpoint="http://127.0.0.1:10000/devstoreaccount1/").endpoint == (
        "http://127.0.0.1:10000/devstoreaccount1"
    )
