"""Records a call through the voice gateway's API and fetches the file: a whole application.

    ADMIN_API_KEY=... APP_KEY=... python3 gateway_app.py SESSION_ID SECONDS

It registers itself, waits for the call, records it for some seconds, is told by a signed webhook where the file is, and
writes it to a WAV file in this folder. Needs Python 3.11 and `pip install standardwebhooks`.
"""

import base64
import json
import os
import queue
import secrets
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

BASE = os.environ.get("BASE", "http://127.0.0.1:8080")
SECRET = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
told: queue.Queue = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks that are signed rightly: answers at once, and leaves the work to ``main``."""

    def do_POST(self):
        """Check the signature, and keep the message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            told.put(Webhook(SECRET).verify(body, dict(self.headers)))
            self.send_response(204)
        except WebhookVerificationError:
            self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        """Leave the terminal to ``main``."""


def post(path, body, headers):
    """Return the answer's JSON, or None for a 404; anything else ends the application."""
    try:
        with urllib.request.urlopen(urllib.request.Request(BASE + path, json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        return None if refused.code == 404 else sys.exit(f"{path}: {refused.code} {refused.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"{BASE} does not answer: {error.reason}")


def main(session_id, seconds, app_key, admin_key):
    """Register, wait for the call, record it, and fetch the file."""
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    me = {"api_key": app_key, "webhook_url": f"http://127.0.0.1:{receiver.server_port}/", "webhook_secret": SECRET}
    post("/admin/apps/example", me, {"X-Admin-API-Key": admin_key})
    print("registered; waiting for the call", session_id, flush=True)

    name, app = urllib.parse.quote(session_id, safe=""), {"X-App-ID": "example", "X-API-Key": app_key}
    record, start, stop = f"/api/v1/sessions/{name}/commands/record", secrets.token_hex(8), secrets.token_hex(8)
    while (started := post(f"{record}/start", {"command_uid": start}, app)) is None:
        time.sleep(1)  # 404: it does not stream yet
    print("started", started, flush=True)
    time.sleep(seconds)
    print("stopped", post(f"{record}/stop", {"command_uid": stop}, app), flush=True)

    # What was still to be told of an earlier run comes here too: go by the ids of your own commands.
    while (message := told.get(timeout=60))["event"] != "recording.completed" or message["command_uid"] != start:
        print("told", message["event"], message["command_uid"], flush=True)
    urllib.request.urlretrieve(message["recording_url"], f"{name}.wav")
    print(f"saved {name}.wav, {message['duration']} s", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], float(sys.argv[2]), os.environ["APP_KEY"], os.environ["ADMIN_API_KEY"])
    except (IndexError, ValueError, KeyError):
        sys.exit(__doc__)
    except KeyboardInterrupt:
        sys.exit("given up")
    except queue.Empty:
        sys.exit("nothing was told within a minute: the log of the server says why (webhooks_failing)")
