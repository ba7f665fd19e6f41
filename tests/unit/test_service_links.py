"""Variables that an orchestrator sets for a service whose name begins with ours are no settings; mistakes still are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from wavstream.errors import OperatorError
from wavstream.model.given import is_service_link
from wavstream.settings import Settings, load


def links_of(service: str, address: str = "10.0.0.1") -> dict[str, str]:
    """Return what a kubelet sets for a Service with two ports, as its makeLinkVariables and FromServices do."""
    prefix = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    links = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": "8080",
        f"{prefix}_SERVICE_PORT_HTTP": "8080",
        f"{prefix}_SERVICE_PORT_SIP_UDP": "5060",
        f"{prefix}_PORT": f"tcp://{host}:8080",
    }
    for port, protocol in (("8080", "tcp"), ("5060", "udp"), ("9000", "sctp")):
        each = f"{prefix}_PORT_{port}_{protocol.upper()}"
        links |= {
            each: f"{protocol}://{host}:{port}",
            f"{each}_PROTO": protocol,
            f"{each}_PORT": port,
            f"{each}_ADDR": address,
        }
    return links


def links_of_docker(alias: str, address: str = "172.17.0.5") -> dict[str, str]:
    """Return what Docker sets for a linked container with ports 8080, 8081 and 9000, as ToEnv of its links does."""
    prefix = alias.upper().replace("-", "_")
    links = {
        f"{prefix}_NAME": f"/web/{alias}",
        f"{prefix}_ENV_FILE": ".env",
        f"{prefix}_ENV_PYTHON_VERSION": "3.11",
        f"{prefix}_PORT": f"tcp://{address}:8080",
        f"{prefix}_PORT_8080_TCP_START": f"tcp://{address}:8080",
        f"{prefix}_PORT_8080_TCP_END": f"tcp://{address}:8081",
        f"{prefix}_PORT_8080_TCP_PORT_START": "8080",
        f"{prefix}_PORT_8080_TCP_PORT_END": "8081",
        f"{prefix}_PORT_8080_TCP_ADDR": address,
        f"{prefix}_PORT_8080_TCP_PROTO": "tcp",
        f"{prefix}_PORT_9000_UDP": f"udp://{address}:9000",
        f"{prefix}_PORT_9000_UDP_ADDR": address,
        f"{prefix}_PORT_9000_UDP_PORT": "9000",
        f"{prefix}_PORT_9000_UDP_PROTO": "udp",
    }
    # A URL has an address of IPv6 in brackets.
    return {
        name: value.replace(f"://{address}:", f"://[{address}]:") if ":" in address else value
        for name, value in links.items()
    }


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00:10::1"])
@pytest.mark.parametrize(
    "service",
    ["wavstream", "wavstream-prod", "wavstream-port", "wavstream-service", "wavstream-log-level", "wavstream-2--b"],
)
def test_the_links_of_a_service_whose_name_begins_as_ours_are_passed_over(
    service: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in links_of(service, address).items():
        assert is_service_link(name, value), name
        monkeypatch.setenv(name, value)

    assert load() == Settings()


def test_the_links_of_docker_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in links_of_docker("wavstream").items() | links_of_docker("wavstream-rec.a", "fd00:10::1").items():
        monkeypatch.setenv(name, value)

    assert load() == Settings()


def test_a_variable_of_a_linked_container_is_one_only_beside_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVSTREAM_ENV_FILE", ".env")
    for other in ("", "recorder", "/web", "/web/other"):
        monkeypatch.setenv("WAVSTREAM_NAME", other)
        with pytest.raises(OperatorError, match=r"(?m)^WAVSTREAM_ENV_FILE: there is no such setting"):
            load()


def test_a_port_that_is_a_number_is_taken_beside_the_links(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (links_of("wavstream") | {"WAVSTREAM_PORT": "9000"}).items():
        monkeypatch.setenv(name, value)

    assert load().port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WAVSTREAM_MEDIA_PORT", "8021"),  # a setting with one underscore for two
        ("WAVSTREAM_OPENER_PORT", "8021"),
        ("WAVSTREAM_OPENER__PORT", "tcp://10.0.0.1:8021"),  # no Service is called so
        ("WAVSTREAM_PORT", "tcp://wavstream:8080"),
        ("WAVSTREAM_PORT", "http://10.0.0.1:8080"),
        ("WAVSTREAM_PORTS", "tcp://10.0.0.1:8080"),
        ("WAVSTREAM_SERVICE_HOST", "0.0.0.0 "),
        ("WAVSTREAM_SERVICE_HOST", "rec.example.com"),
        ("WAVSTREAM_SERVICE_PORT", "0"),
        ("WAVSTREAM_SERVICE_PORT", "65536"),
        ("WAVSTREAM_SERVICE_PORT_", "8080"),
        ("WAVSTREAM_SERVICE_HOSTS", "10.0.0.1"),
        ("WAVSTREAM_PORT_8080", "8080"),
        ("WAVSTREAM_PORT_8080_HTTP", "tcp://10.0.0.1:8080"),
        ("WAVSTREAM_PORT_8080_TCP_PROTO", "http"),
        ("WAVSTREAM_NAME", "recorder"),
        ("WAVSTREAM_NAME", "/web/recorder"),
        ("WAVSTREAM_REC_NAME", "/web/wavstream"),
        ("WAVSTREAM_ENV_FILE", ".env"),
        ("WAVSTREAM_PORT_8080_TCP_START", "8080"),
        ("wavstream_prod_service_host", "10.0.0.1"),
    ],
)
def test_what_only_looks_like_a_link_is_refused_by_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(OperatorError, match=f"(?m)^{name}( |:)"):
        load()


@pytest.mark.parametrize(
    "words", [["apps", "list"], ["journals"], ["recover"], ["webhooks", "list"], ["keys", "list", "shop"]], ids=" ".join
)
def test_every_command_passes_over_them_too(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in links_of("wavstream").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WAVSTREAM_DATA_DIR", str(tmp_path / "data"))

    command = CommandLine(monkeypatch, capsys)
    assert command("apps", "add", "shop").code == 0

    said = command(*words)

    assert "WAVSTREAM" not in said.err
    assert said.code == 0
