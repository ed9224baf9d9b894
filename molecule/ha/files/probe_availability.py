"""Requests a URL until a stop file exists, then prints the number of requests and the failures."""

import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

_PAUSE_S = 0.1
_TIMEOUT_S = 10


def main() -> None:
    request, stop = urllib.request.Request(sys.argv[1]), Path(sys.argv[2])  # noqa: S310
    context = ssl.create_default_context(cafile="/etc/ffmpeg-rtmp/pki/ca.pem")
    requests, failures = 0, []
    while not stop.exists():
        requests += 1
        try:
            with urllib.request.urlopen(request, context=context, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                answer.read()
        except OSError as error:
            failures.append(f"{time.time():.1f}: {error}")
        time.sleep(_PAUSE_S)
    sys.stdout.write(json.dumps({"requests": requests, "failures": failures}))


main()
