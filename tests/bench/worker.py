"""A real agent in a separate process, which runs one job after another."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.models import Result, RunRequest
from repetition import repeated

from bench.master import Master

_PROGRAM = Path(sys.executable).parent / "ffrtmp-agent"

_START_S = 120
_STOP_S = 60
_JOB_S = 900
_POLL_S = 0.5


class Worker:
    """The agent of the first node of a master, with one slot."""

    def __init__(
        self, master: Master, folder: Path, *, ffmpeg: Path, ffprobe: Path, **more: object
    ) -> None:
        """Write the settings file, with the settings in `more`; `working` starts the agent."""
        self._master = master
        agent = master.site.agents[0]
        self._node = agent.node
        self._url = f"https://{master.address.host}:{master.address.port}"
        token = folder / "token"
        token.write_text(agent.token)
        self._log = folder / "agent.log"
        self._config = folder / "agent.yml"
        settings = {
            "master_url": self._url,
            "token_file": str(token),
            "ca_file": str(master.address.ca_file),
            "node_name": agent.node,
            "address": "127.0.0.1",
            "work_dir": str(folder / "work"),
            "spool_dir": str(folder / "spool"),
            "cache_dir": str(folder / "cache"),
            "ffmpeg": str(ffmpeg),
            "ffprobe": str(ffprobe),
            "quality_ffmpeg": str(ffmpeg),
            **more,
        }
        self._config.write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the agent."""
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def working(self) -> Iterator["Worker"]:
        """Run the agent within the context."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_PROGRAM, "--config", self._config, "run", "--slot", "1"], stdout=log, stderr=log
            )
        try:
            self._await_registration()
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_STOP_S)

    def measure(
        self, clip: Path, encode: Mapping[str, object], rate: Mapping[str, object]
    ) -> Result:
        """Let the agent encode a clip, and return the result.

        Args:
            clip: The source of the encode.
            encode: The settings of the encode, in the form of a suite.
            rate: The rate point, in the form of a suite.

        Returns:
            The result of the job.

        Raises:
            RuntimeError: The job failed.
        """
        digest = hashlib.sha256(clip.read_bytes()).hexdigest()
        suite = {
            "name": "bench",
            "sources": [{"name": "clip", "file": clip.name, "sha256": digest}],
            "encodes": [{"name": "encode", **encode}],
            "rate_points": [rate],
            "repeats": 1,
            "slowest_speed": 0.01,
        }
        with self._client() as client:
            client.upload_source(digest, clip)
        (result,) = self.run_suite(suite, jobs=1)
        return result

    def run_suite(self, suite: Mapping[str, object], *, jobs: int) -> list[Result]:
        """Let the agent run all jobs of a suite, and return their results.

        Args:
            suite: The suite, whose sources have been uploaded or are synthetic.
            jobs: The number of its jobs.

        Returns:
            The results, in the order in which the jobs ended.

        Raises:
            RuntimeError: A job failed.
        """
        with self._client() as client:
            run = client.create_run(RunRequest(suite=json.dumps(suite)))
            deadline = time.monotonic() + jobs * _JOB_S
            while not run.state.is_final and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                run = client.run(run.id)
            results = list(client.results(run.id))
            if len(results) == jobs:
                return results
            failures = [job.failure for job in client.jobs(run.id) if job.failure is not None]
        raise RuntimeError(f"the run is {run.state} with {len(results)} results: {failures}")

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Poll the master within the context as often as `measure` does."""
        with self._client() as client, repeated(client.run_page, pause_s=_POLL_S):
            yield

    def _client(self) -> MasterClient:
        return MasterClient(
            self._url, self._master.site.submitters[0], self._master.address.ca_file
        )

    def _await_registration(self) -> None:
        deadline = time.monotonic() + _START_S
        with self._client() as client:
            while time.monotonic() < deadline:
                if any(node.name == self._node for node in client.nodes()):
                    return
                time.sleep(0.1)
        raise RuntimeError(f"the agent did not register: {self._log.read_text()[-2000:]}")
