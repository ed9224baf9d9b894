"""The command `ffrtmp-agent`."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
from ffrtmp_shared import __version__, logs
from ffrtmp_shared.client import MasterRefusedError
from ffrtmp_shared.config import ConfigError, load

from ffrtmp_worker.agent import capabilities
from ffrtmp_worker.agent.agent import Agent
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.ffmpeg.build_info import UnusableFfmpegError

_log = logging.getLogger(__name__)

_EXIT_CONFIG = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(options.config, AgentSettings)
        if options.command == "check-config":
            _check_files(settings)
            return 0
        logs.configure(settings.log_level)
        found = capabilities.find_tools(settings)
        if options.command == "probe":
            registration = capabilities.registration(settings, found)
            sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(registration)) + b"\n")
            return 0
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        agent = Agent(settings, options.slot, found, stopped)
        capabilities.check_metrics(found, stopped)
        agent.run()
    except (ConfigError, UnusableFfmpegError, MasterRefusedError, OSError, ValueError) as error:
        sys.stderr.write(f"ffrtmp-agent: {error}\n")
        return _EXIT_CONFIG if isinstance(error, ConfigError) else 1
    return 0


def _check_files(settings: AgentSettings) -> None:
    for name in ("token_file", "ca_file", "ffmpeg", "ffprobe", "quality_ffmpeg"):
        file: Path = getattr(settings, name)
        if not file.is_file():
            raise ConfigError(f"{name}: the file {file} does not exist")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ffrtmp-agent", description="Run the jobs of an ffmpeg-rtmp farm on this host."
    )
    parser.add_argument("--config", type=Path, required=True, help="the settings, a YAML file")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="claim jobs and run them until stopped")
    run.add_argument("--slot", type=int, required=True, help="number of the node's slot, from 1")
    commands.add_parser("check-config", help="check the settings and the files that they name")
    commands.add_parser("probe", help="print this node's facts and the encoders that work")
    return parser
