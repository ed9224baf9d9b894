#!/usr/bin/python3
"""Append each message of Alertmanager to a file, as a line of JSON with its path and time."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Receiver(BaseHTTPRequestHandler):
    """Records the messages."""

    def do_POST(self) -> None:
        """Record a message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        entry = {"path": self.path, "time_s": time.time(), "message": message}
        with Path(sys.argv[2]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self.send_response(200)
        self.end_headers()


# One request after another, so that the lines are in the order of the messages.
HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
