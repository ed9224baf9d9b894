"""The encoders that work on this computer, which are tested only once in each test run."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from ffrtmp_worker.agent import capabilities
from session_files import make_once

_AGENT = Path(__file__).with_name("agent_program.py")


def file_for(factory: pytest.TempPathFactory, ffmpeg: Path) -> Path:
    """Return a file with the encoders of an FFmpeg that work on this computer."""

    def make(file: Path) -> None:
        file.write_text(json.dumps(sorted(capabilities.proved_encoders(ffmpeg))), encoding="utf-8")

    digest = sha256(ffmpeg.read_bytes()).hexdigest()
    return make_once(factory, f"encoders-{digest[:16]}.json", make)


def read(file: Path) -> frozenset[str]:
    """Read the encoders from a file."""
    return frozenset(json.loads(file.read_text(encoding="utf-8")))


def agent_command(file: Path, config: Path, slot: int = 1) -> list[str]:
    """Return the command that runs the agent of a slot with the encoders in a file."""
    command = [sys.executable, str(_AGENT), str(file), "--config", str(config)]
    return [*command, "run", "--slot", str(slot)]
