"""What a connection to NATS shows of itself: a user, a token, a credentials file or an nkey, and TLS.

Files are read anew for each connection, in a thread, so that what was changed in them counts from the next one on.

An nkey is an Ed25519 key in base32: a seed is ``S``, the kind of key (``U``: a user), 32 bytes and a CRC-16 of all
that. NATS sends a nonce, and whoever has the seed signs it. A credentials file has a token (JWT) and such a seed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wavstream.errors import OperatorError
from wavstream.settings import variable
from wavstream.settings.cluster import ClusterSettings

_SEED, _USER = 18 << 3, 20 << 3  # S and U, as the first letters of base32
_BLOCK = r"-----BEGIN {0}-----\s+(\S+)\s+-+END {0}"


class Shown(NamedTuple):
    """What a client is told."""

    options: dict[str, Any]
    """Of nats-py's ``connect``."""
    public_nkey: str | None
    """Goes with a signature that has no token beside it."""


async def shown(settings: ClusterSettings) -> Shown:
    """Return what is shown to NATS now; raise OperatorError for a file that cannot be used."""
    return await asyncio.to_thread(_shown, settings)


def _shown(settings: ClusterSettings) -> Shown:
    options: dict[str, Any] = {}
    public_nkey = None
    assert settings.nats_url is not None
    if settings.nats_url.startswith("tls://") or settings.tls_ca is not None or settings.tls_cert is not None:
        options["tls"] = _tls(settings)
    if settings.user is not None:
        options["user"] = settings.user
        options["password"] = "" if settings.password is None else settings.password.get_secret_value()
    elif settings.token is not None:
        options["token"] = settings.token.get_secret_value()
    elif (file := settings.credentials_file) is not None:
        text = _text(file, "cluster.credentials_file")
        token = re.search(_BLOCK.format("NATS USER JWT"), text)
        seed = re.search(_BLOCK.format("USER NKEY SEED"), text)
        if token is None or seed is None:
            raise _wrong(file, "cluster.credentials_file", "it has no token and seed: name a .creds file of a user")
        jwt = token[1].encode()
        options["user_jwt_cb"] = lambda: jwt
        options["signature_cb"] = _signer(_key(seed[1], file, "cluster.credentials_file"))
    elif (file := settings.nkey_file) is not None:
        key = _key(_text(file, "cluster.nkey_file").strip(), file, "cluster.nkey_file")
        options["signature_cb"] = _signer(key)
        public_nkey = _public(key)
    return Shown(options, public_nkey)


def _tls(settings: ClusterSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ValueError) as error:
        assert settings.tls_ca is not None
        raise _wrong(settings.tls_ca, "cluster.tls_ca", f"{_words(error)}: name a readable file in PEM") from error
    if settings.tls_cert is not None:
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
        except (OSError, ValueError) as error:
            to_do = f"{_words(error)}: name a certificate and its key, readable and in PEM"
            raise _wrong(settings.tls_cert, "cluster.tls_cert", to_do) from error
    return context


def _text(file: Path, setting: str) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, ValueError) as error:
        raise _wrong(file, setting, f"{_words(error)}: name a readable file") from error


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _wrong(file: Path, setting: str, what: str) -> OperatorError:
    return OperatorError(f"{variable(setting)}: {file}: {what}")


def _key(seed: str, file: Path, setting: str) -> Ed25519PrivateKey:
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError:
        raw = b""
    is_seed = len(raw) == 36 and raw[0] & 0xF8 == _SEED and checksum(raw[:-2]) == raw[-2:]
    if not is_seed or (raw[0] & 0x07) << 5 | raw[1] >> 3 != _USER:
        raise _wrong(file, setting, "it has no seed of a user's nkey, which begins with SU")
    return Ed25519PrivateKey.from_private_bytes(raw[2:34])


def _public(key: Ed25519PrivateKey) -> str:
    raw = bytes([_USER]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b32encode(raw + checksum(raw)).decode().rstrip("=")


def _signer(key: Ed25519PrivateKey) -> Callable[[str], bytes]:
    return lambda nonce: base64.b64encode(key.sign(nonce.encode()))


def checksum(raw: bytes) -> bytes:
    """Return the checksum that nkeys end with."""
    return binascii.crc_hqx(raw, 0).to_bytes(2, "little")
