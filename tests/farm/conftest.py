"""Fixtures for a small farm on this computer: processes of the master and of agents, with TLS."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import working_encoders
from databases import template_file
from ffrtmp_shared.client import MasterClient, MasterUnreachableError
from ffrtmp_shared.models import Run, RunRequest
from forked_master import Master
from polling import TIMEOUT_S, wait_until
from ruamel.yaml import YAML
from session_files import make_once

__all__ = ["template_file"]


class Process:
    """A program that can be stopped and restarted, and that writes its output to a file."""

    def __init__(self, arguments: list[str], log: Path, *, is_master: bool = False) -> None:
        """Prepare a program; if `is_master` is true, `arguments` do not include the program."""
        self.arguments = arguments
        self.log = log
        self._is_master = is_master
        self._running: Master | subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._is_master:
            self._running = Master(self.arguments, self.log)
            return
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                self.arguments, stderr=log, stdout=log, start_new_session=True
            )

    def end(self, signal_number: signal.Signals) -> int:
        """Send a signal to the program, as systemd does for a unit, and wait until it has ended.

        SIGKILL is also sent to the processes that the program has started, because systemd kills
        all processes in the control group of a unit.
        """
        assert self._running is not None
        children = descendants(self._running.pid)
        os.kill(self._running.pid, signal_number)
        code = self._running.wait(TIMEOUT_S)
        self._running = None
        if signal_number == signal.SIGKILL:
            for child in children:
                os.kill(child, signal.SIGKILL)
        return code

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid


def descendants(pid: int) -> list[int]:
    """Return the ids of all descendants of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


class Farm:
    """A master and its agents."""

    def __init__(self, root: Path, folder: Path, template: Path, encoders: Path) -> None:
        self.folder = folder
        self.encoders = encoders
        shutil.copy(template, folder / "farm.db")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.pem")
        certificate = self.ca.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "host.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "host.pem")
        self.master = self._make_master()
        self.ffmpeg = root / ".cache/ffmpeg/ffmpeg"
        self.agents: dict[str, Process] = {}

    def _make_master(self, **changes: object) -> Process:
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.write(
            "master.yml",
            {
                "listen_address": "127.0.0.1",
                "listen_port": self.port,
                "certificate_file": str(self.folder / "host.pem"),
                "key_file": str(self.folder / "host.key"),
                "database_url": f"sqlite:///{self.folder / 'farm.db'}",
                "data_dir": str(self.folder / "data"),
                "lease_s": 20,
                "heartbeat_s": 1,
                "node_offline_s": 20,
                "retry_backoff_s": 0.5,
            }
            | changes,
        )
        arguments = ["--config", str(config), "serve"]
        return Process(arguments, self.folder / "master.log", is_master=True)

    def agent(self, name: str, **settings: object) -> Process:
        """Prepare the agent of a node; `settings` override the defaults."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(f"token-{name}")
        config = self.write(
            f"{name}/agent.yml",
            {
                "master_url": self.url,
                "token_file": str(folder / "token"),
                "ca_file": str(self.folder / "ca.pem"),
                "node_name": name,
                "address": "127.0.0.1",
                "work_dir": str(folder / "work"),
                "spool_dir": str(folder / "spool"),
                "cache_dir": str(folder / "cache"),
                "ffmpeg": str(self.ffmpeg),
                "ffprobe": "/usr/bin/ffprobe",
                "quality_ffmpeg": str(self.ffmpeg),
                "min_free_bytes": 1_000_000,
            }
            | settings,
        )
        command = working_encoders.agent_command(self.encoders, config)
        self.agents[name] = Process(command, folder / "log")
        return self.agents[name]

    def write(self, name: str, content: object) -> Path:
        with (self.folder / name).open("w") as file:
            YAML().dump(content, file)
        return self.folder / name

    def client(self) -> MasterClient:
        return MasterClient(self.url, "token-admin", self.folder / "ca.pem")

    def start_master(self) -> None:
        self.master.start()

        def is_ready() -> bool:
            assert self.master.is_running, self.master.log.read_text()
            try:
                with self.client() as client:
                    return client.is_ready()
            except MasterUnreachableError:
                return False

        wait_until(is_ready, "the master serves")

    def restart_master(self, **changes: object) -> None:
        """Restart the master with changed settings."""
        self.master.end(signal.SIGTERM)
        self.master = self._make_master(**changes)
        self.start_master()

    def start_agents(self, *names: str) -> None:
        for name in names:
            self.agent(name).start()
        with self.client() as client:
            wait_until(lambda: len(client.nodes()) == len(names), "the agents have registered")

    def launch(self, clip: Path, **keys: object) -> Run:
        """Upload a clip and start a run that encodes it."""
        digest = hashlib.sha256(clip.read_bytes()).hexdigest()
        suite = {
            "name": "test",
            "sources": [{"name": "clip", "file": clip.name, "sha256": digest}],
            "encodes": [{"name": "x264", "encoder": "libx264", "preset": "ultrafast"}],
            "rate_points": [{"bitrate_kbps": 200}],
            "repeats": 1,
            # The warm-up is short, because the tests do not compare durations.
            "warm_up_s": 0.1,
        } | keys
        text = self.write("suite.yml", suite).read_text()
        with self.client() as client:
            client.upload_source(digest, clip)
            return client.create_run(RunRequest(suite=text))

    def wait_for_end(self, run: Run, timeout_s: float = TIMEOUT_S) -> Run:
        with self.client() as client:
            wait_until(
                lambda: client.run(run.id).state.is_final,
                "the run has ended",
                interval_s=0.1,
                timeout_s=timeout_s,
            )
            return client.run(run.id)

    def stop(self) -> None:
        """Kill all running processes.

        Tests of a graceful stop send the signal themselves.
        """
        for process in [*self.agents.values(), self.master]:
            if process.is_running:
                process.end(signal.SIGKILL)


@pytest.fixture
def farm(
    root: Path, tmp_path: Path, template_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Farm]:
    """A farm whose master is running; tests start the agents themselves."""
    encoders = working_encoders.file_for(tmp_path_factory, root / ".cache/ffmpeg/ffmpeg")
    farm = Farm(root, tmp_path, template_file, encoders)
    try:
        farm.start_master()
        yield farm
    finally:
        farm.stop()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)


@pytest.fixture(scope="session")
def make_clip(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A function that creates a clip of 320x180 at 25 frames/s with the given number of seconds."""

    def make(duration_s: int) -> Path:
        picture = f"testsrc2=size=320x180:rate=25:duration={duration_s}"
        command = [str(root / ".cache/ffmpeg/ffmpeg"), "-v", "error", "-f", "lavfi", "-i", picture]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        return make_once(
            tmp_path_factory,
            f"farm-{duration_s}s.mp4",
            lambda file: _run([*command, str(file)]),
        )

    return make
