"""Records a call through the voice gateway's API and fetches the file: a whole application.

    ADMIN_API_KEY=... APP_KEY=... python3 gateway_app.py SESSION_ID SECONDS

It registers itself, waits for the call, records it for some seconds, is told by a signed webhook where the file is, and
writes it to SESSION_ID.wav. Needs Python 3.11 and `pip install standardwebhooks`.
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

from standardwebhooks import Webhook

BASE = os.environ.get("BASE", "http://127.0.0.1:8080")
APP = {"X-App-ID": "example", "X-API-Key": os.environ["APP_KEY"]}  # the streams of the call need this key too
ADMIN = {"X-Admin-API-Key": os.environ["ADMIN_API_KEY"]}
SECRET = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
told: queue.Queue = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks: answers at once, and leaves the work to ``main``."""

    def do_POST(self):
        """Keep body and headers for the signature."""
        told.put((self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers)))
        self.send_response(204)
        self.end_headers()


def post(path, body, headers):
    """Return the answer's JSON, or None for a 404; anything else ends the application."""
    try:
        with urllib.request.urlopen(urllib.request.Request(BASE + path, json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        return None if refused.code == 404 else sys.exit(f"{path}: {refused.code} {refused.read().decode()}")


def main(session_id, seconds):
    """Register, wait for the call, record it, and fetch the file."""
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    me = {"api_key": APP["X-API-Key"], "webhook_url": f"http://127.0.0.1:{receiver.server_port}/"}
    post("/admin/apps/example", {**me, "webhook_secret": SECRET}, ADMIN)
    print("registered; now stream the call", session_id, flush=True)

    name = urllib.parse.quote(session_id, safe="")
    record = f"/api/v1/sessions/{name}/commands/record"
    while (started := post(f"{record}/start", {"command_uid": secrets.token_hex(8)}, APP)) is None:
        time.sleep(1)  # 404: it does not stream yet
    print("started", started, flush=True)
    time.sleep(seconds)
    print("stopped", post(f"{record}/stop", {"command_uid": secrets.token_hex(8)}, APP), flush=True)

    while (message := Webhook(SECRET).verify(*told.get(timeout=60)))["event"] != "recording.completed":
        print("told", message["event"], message["command_uid"], flush=True)
    urllib.request.urlretrieve(message["recording_url"], f"{name}.wav")
    print(f"saved {name}.wav, {message['duration']} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
