"""``wavstream-health``: whether a server is alive, or ready, as an exit code, for the checks of containers.

It is a program of its own and not a command of ``wavstream``, since it runs every few seconds: it takes 0.06 s of the
processor, where the command line's packages alone take 0.45 s.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from urllib.parse import urlsplit

TIMEOUT_S = 2.0


def main() -> None:
    """Ask the server and exit with 0 if it is well, else with 1 and one line that says why."""
    port = os.environ.get("WAVSTREAM_PORT", "")
    if not port.isdigit():
        port = "8080"  # a link of Docker's or Kubernetes', such as tcp://10.0.0.1:8080, is none of ours
    parser = argparse.ArgumentParser(prog="wavstream-health", description="Ask a server how it is.", allow_abbrev=False)
    parser.add_argument("url", nargs="?", default=f"http://127.0.0.1:{port}", help="Where it is; default: %(default)s")
    parser.add_argument("--ready", action="store_true", help="whether it can take calls, not only whether it is alive")
    given = parser.parse_args()
    trouble = ask(given.url, "/readyz" if given.ready else "/healthz")
    if trouble:
        sys.stderr.write(f"wavstream-health: {trouble}\n")
    raise SystemExit(1 if trouble else 0)


def ask(url: str, path: str) -> str | None:
    """Return what is wrong with the server at a URL; None if it answers 200."""
    try:
        at = urlsplit(url)
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[at.scheme]
        connection = kind(at.hostname or "", at.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
    except (KeyError, ValueError):
        return f"{url} is not the address of a server, such as http://127.0.0.1:8080"
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"
    return None if answer.status == 200 else _reasons(body) or f"{url}{path} answers {answer.status}"


def _reasons(body: bytes) -> str:
    """Return the sentences of a server that is not ready; empty if there are none."""
    try:
        return " ".join(json.loads(body)["reasons"])
    except (ValueError, TypeError, KeyError):
        return ""
