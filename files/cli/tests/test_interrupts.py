"""Tests of Ctrl-C during ffrtmp run, which starts whole programs."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ffrtmp_cli.profiles import Profile
from modules.farm import Agent, Farm
from polling import TIMEOUT_S, wait_until

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite

pytestmark = pytest.mark.slow

_PROGRAM = Path(sys.executable).parent / "ffrtmp"


class Started:
    """A started command, whose messages are read while it runs."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [_PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.messages = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.messages += line

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait_for(self, text: str) -> None:
        """Wait until a message contains a text."""
        wait_until(lambda: text in self.messages, lambda: f"{text}: {self.messages}")

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let programs receive Ctrl-C, which shells disable for programs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def started(profile: Profile, agent: Agent, tmp_path: Path) -> Iterator[Started]:
    """The command ffrtmp run, which shows the progress of a queued run."""
    started = Started("run", str(write_suite(tmp_path)))
    started.wait_for("0 of 2 jobs")
    yield started
    started.process.kill()
    started.end()


def test_an_interrupt_detaches(farm: Farm, started: Started, document: Document) -> None:
    started.interrupt()
    started.wait_for("Press Ctrl-C again within 3 s")
    assert started.end() == 130
    run_id = document("runs", "--limit", "1")["runs"][0]["id"]
    assert f"ffrtmp run --attach {run_id}" in started.messages
    assert document("runs", "show", run_id)["run"]["state"] == "queued"
    with working(farm):
        assert document("run", "--attach", run_id)["run"]["state"] == "succeeded"


def test_a_second_interrupt_cancels(started: Started, document: Document) -> None:
    started.interrupt()
    started.wait_for("Press Ctrl-C again within 3 s")
    started.interrupt()
    assert started.end() == 130
    assert "was canceled" in started.messages
    assert document("runs", "show", "last")["run"]["state"] == "canceled"


def test_a_restart_of_the_master_does_not_end_the_command(farm: Farm, started: Started) -> None:
    farm.stop()
    started.wait_for("The run continues; retrying.")
    farm.start()
    started.wait_for("The master responds again.")
    with working(farm):
        assert started.end() == 0, started.messages


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_has_a_live_display(
    farm: Farm, profile: Profile, ffrtmp: Ffrtmp, tmp_path: Path, *, no_color: bool
) -> None:
    """On a terminal, the progress has the rate; colors are used unless NO_COLOR is set."""
    suite = write_suite(tmp_path)
    terminal, other_end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                # Linux reports the end of a terminal as an error.
                return
            if not piece:
                return
            shown.extend(piece)

    reader = threading.Thread(target=read)
    with working(farm):
        process = subprocess.Popen(
            [_PROGRAM, "run", str(suite)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=other_end,
            env=environment,
        )
        os.close(other_end)
        reader.start()
        assert process.wait(TIMEOUT_S) == 0
    reader.join(TIMEOUT_S)
    os.close(terminal)
    text = shown.decode()
    assert "/2 jobs" in text
    assert ("\x1b[38;" in text) is not no_color
