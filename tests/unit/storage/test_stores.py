"""The stores that the settings name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.recordings import START, a_recording
from wavstream.errors import OperatorError, StoreError
from wavstream.model.recording import StoredObject
from wavstream.settings import StorageSettings
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls
from wavstream.storage.stores import FileCredentials, Stores

S3: dict[str, Any] = {"url": "s3://calls/a", "access_key_id": "AK", "secret_access_key": "secret"}


def made_of(settings: dict[str, Any]) -> Any:
    """Return what ``obstore`` made of the first store."""
    store = Stores.of(StorageSettings(**settings)).first
    assert store is not None
    return store._store


def test_without_a_url_there_is_no_store() -> None:
    assert list(Stores.of(StorageSettings())) == []


def test_a_bucket_of_s3_is_made_as_it_is_set() -> None:
    made = made_of(S3 | {"region": "eu-central-1", "encryption": "aws:kms", "kms_key_id": "arn:key"})
    assert made.prefix == "a"
    assert made.config["bucket"] == "calls"
    assert made.config["region"] == "eu-central-1"
    assert made.config["server_side_encryption"] == "aws:kms"
    assert made.config["sse_kms_key_id"] == "arn:key"


def test_google_and_azure_are_the_same_by_another_name() -> None:
    assert made_of({"url": "gs://calls/a/b"}).prefix == "a/b"
    azure = made_of({"url": "az://account/container/a/b"})
    assert (azure.config["account_name"], azure.config["container_name"]) == ("account", "container")
    assert azure.prefix == "a/b"


@pytest.mark.parametrize("url", ["https://calls", "s3://", "s3://calls/../a", "az://account", "s3://key:secret@calls"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must"):
        StorageSettings(url=url)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backup_url": "s3://b"}, "needs storage.url"),
        ({"url": "s3://a", "access_key_id": "AK"}, "belong together"),
        (S3 | {"backup_url": "s3://calls/a"}, "another store"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(OperatorError, match=said):
        Stores.of(StorageSettings(**settings))


def test_a_store_that_no_setting_names_any_more_is_said() -> None:
    stores = Stores.of(StorageSettings(**(S3 | {"backup_url": "s3://second"})))
    assert [each.url for each in stores] == ["s3://calls/a", "s3://second"]
    assert stores["s3://second"] is stores.backup
    with pytest.raises(StoreError, match="s3://third is not among the settings"):
        stores["s3://third"]


def test_credentials_of_a_file_may_have_a_session_token(tmp_path: Path) -> None:
    file = tmp_path / "store.json"
    file.write_text(json.dumps({"access_key_id": "A", "secret_access_key": "S", "session_token": "T"}))
    given = FileCredentials(file)()
    assert (given["access_key_id"], given["secret_access_key"], given["token"]) == ("A", "S", "T")


def test_the_address_of_what_lies_in_the_backup_is_ours() -> None:
    keys = LinkKeys((LinkKey("k1", b"1" * 32, START),))
    urls = PublicUrls(keys, "https://rec.example.com", "https://archive.example.com", behind="s3://first")
    recording = a_recording()
    first, second = (replace(recording, stored=StoredObject(url, START)) for url in ("s3://first", "s3://second"))
    assert urls.of(recording) == urls.of(first) == "https://archive.example.com/default/rec-1.wav"
    assert urls.of(second).startswith("https://rec.example.com/files/rec-1/")
    elsewhere = PublicUrls(keys, "https://rec.example.com", "https://archive.example.com")
    assert elsewhere.of(second) == "https://archive.example.com/default/rec-1.wav", "somebody else moved it there"
