"""Headless Chromium, driven by the DevTools protocol through a pipe."""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_TIMEOUT_S = 60.0
_LOWEST_DESCRIPTOR = 10
# The program reads commands from descriptor 3 and writes to descriptor 4.
_START = 'exec "${@:3}" 3<&"$1" 4>&"$2"'
_OPTIONS = (
    "--headless",
    # The tests also run as root in a container, where the sandbox cannot start.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)

Json = dict[str, Any]


class Chromium:
    """A running browser. `page` opens pages."""

    def __init__(self, reader: int, writer: int) -> None:
        """Use the descriptors of the pipes to the browser."""
        self._reader, self._writer = reader, writer
        self._rest = b""
        self._number = 0
        self.events: list[Json] = []

    def call(self, method: str, values: Mapping[str, Any] | None = None, session: str = "") -> Json:
        """Call a method of the protocol, and return its result. Events are kept in `events`."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": dict(values or {})}
        if session:
            message["sessionId"] = session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: Json = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        """Wait for an event of the protocol."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def _read(self) -> Json:
        end_s = time.monotonic() + _TIMEOUT_S
        while b"\0" not in self._rest:
            assert time.monotonic() < end_s, "the browser does not answer"
            received = os.read(self._reader, 1 << 20)
            assert received, "the browser has ended"
            self._rest += received
        text, _, self._rest = self._rest.partition(b"\0")
        found: Json = json.loads(text)
        return found


class Page:
    """A page that is loaded from a file."""

    def __init__(self, browser: Chromium, file: Path, *, theme: str) -> None:
        """Load a file.

        Args:
            browser: The browser.
            file: The file.
            theme: The theme that the user prefers: `light` or `dark`.
        """
        browser.events.clear()
        self._browser = browser
        target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = browser.call(
            "Target.attachToTarget", {"targetId": target, "flatten": True}
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.set_media("screen", theme)
        self._call("Page.navigate", {"url": file.as_uri()})
        browser.wait_for("Page.loadEventFired")

    def set_media(self, media: str, theme: str) -> None:
        """Use the style of a medium, `screen` or `print`, and of a theme."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self._call("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        answer = self._call(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def pdf(self) -> bytes:
        """Return the page as it is printed, as PDF."""
        self._call("Emulation.setEmulatedMedia", {"media": "print"})
        return base64.b64decode(self._call("Page.printToPDF", {"printBackground": True})["data"])

    def screenshot(self, width: int) -> bytes:
        """Return a picture of the whole page as PNG."""
        height = int(self.evaluate("document.documentElement.scrollHeight"))
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        return base64.b64decode(self._call("Page.captureScreenshot", {"format": "png"})["data"])

    @property
    def messages(self) -> list[str]:
        """The messages on the console, and the errors of the page, so far."""
        self.evaluate("0")
        found = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(e["params"]) for e in self._browser.events if e.get("method") in found]

    @property
    def requested_urls(self) -> list[str]:
        """The URLs that the page has requested, including its own."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def _call(self, method: str, values: Mapping[str, Any] | None = None) -> Json:
        return self._browser.call(method, values, self._session)


@contextmanager
def running_chromium() -> Iterator[Chromium]:
    """Start Chromium, and end it with all its processes."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is not installed: run make test-tools", pytrace=False)
    commands, answers = _pipe(), _pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *("/bin/bash", "-c", _START, "chromium", str(commands[0]), str(answers[1])),
                *(program, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"),
            ],
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder},
            start_new_session=True,
        )
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Chromium(answers[0], commands[1])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(commands[1])
            os.close(answers[0])


def _pipe() -> tuple[int, int]:
    """Return a pipe whose descriptors differ from those that the browser uses."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
