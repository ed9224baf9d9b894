"""Tests of faults of FFmpeg: hangs, floods of output, orphaned child processes, and a full disk.

A real process causes each fault. The attempt must fail with a failure class, and no process may be
left.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import working_encoders
from ffrtmp_shared.agent_models import FailureReport
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.measurement import QualityMeasurement
from ffrtmp_shared.rate_point import RatePoint
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker import kinds
from ffrtmp_worker.errors import AttemptFailedError
from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.process import StoppedBy
from ffrtmp_worker.kinds.steps.attempt import Attempt, Tools
from polling import wait_until

from .api_server import ApiServer
from .conftest import attempt, claim_of, scenario

pytestmark = pytest.mark.slow

MAX_MIB = 120
"""The maximum memory of the watcher: more than it needs, and less than half of the flood."""

WATCHERS = {
    # Both programs run `argv` in the working directory and parse each line of its progress.
    "process": """
from ffrtmp_worker.ffmpeg import process
outcome = process.run_process(argv, cwd=here, log=here / "ffmpeg.log", deadline_s=60,
                      stop=lambda: False, on_line=lambda line, _: parser.feed(line))
tail = outcome.log_tail
""",
    "group": """
from ffrtmp_worker.ffmpeg import process_group
outcome = process_group.run_group([argv], cwd=here, duration_s=60, stop=lambda: False,
                        on_report=lambda place, report: None)
tail = outcome.members[0].ending.log_tail
""",
}
WATCH = """
import os, sys
from pathlib import Path
from ffrtmp_worker.ffmpeg.process import peak_rss_kib
from ffrtmp_worker.ffmpeg.progress import ProgressParser

argv, here, parser = [sys.executable, "-c", sys.argv[1]], Path.cwd(), ProgressParser()
{watcher}
tail.encode()
print(peak_rss_kib(os.getpid()) // 1024)
"""
FLOODS = {
    "no end of line": "for _ in range(4096): os.write({to}, b'\\xff\\xfe=\\0' * 16384)",
    "lines other than progress": (
        "for n in range(300): os.write({to}, b''.join(b'key%d-%d=%s\\n' % (n, i, b'x' * 1000)"
        " for i in range(1000)))"
    ),
    "numbers without end": "os.write({to}, b'frame=' + b'9' * 50000 + b'\\nprogress=continue\\n')",
}


@pytest.mark.parametrize("stream", [1, 2], ids=["progress", "log"])
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_flood_of_output_does_not_fill_the_memory(
    watcher: str, flood: str, stream: int, tmp_path: Path
) -> None:
    program = "import os\n" + FLOODS[flood].format(to=stream)
    watch = WATCH.format(watcher=WATCHERS[watcher])
    done = subprocess.run(
        [sys.executable, "-c", watch, program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 10 < int(done.stdout) < MAX_MIB
    assert sum(log.stat().st_size for log in tmp_path.glob("*.log")) < 600_000


@pytest.mark.parametrize("encodes", [True, False])
def test_an_ffmpeg_that_prints_garbage(
    clip: Path, tools: Tools, tmp_path: Path, *, encodes: bool
) -> None:
    garbage = (
        "printf 'frame=\\377\\376\\nframe=99999999999999999999999\\nprogress=perhaps\\n\\377\\n'\n"
        "printf 'Error \\377\\376\\000 of a kind\\n' >&2\n"
    )
    end = f'exec "{tools.ffmpeg}" "$@"\n' if encodes else "exit 0\n"
    strange = _program(tmp_path / "strange", garbage + end)
    tried = attempt(scenario(clip), clip, tmp_path / "a", replace(tools, ffmpeg=strange))
    if encodes:
        measured = kinds.run_attempt(tried)
        assert measured.encode.frames == 40
        assert isinstance(measured.quality, QualityMeasurement)
        return
    error = _fails(tried)
    assert error.failure_class is FailureClass.OUTPUT_MISMATCH
    assert str(error) == "output.mp4 cannot be read"
    assert msgspec.json.decode(msgspec.json.encode(error.failure), type=Failure) == error.failure


def test_an_ffmpeg_that_hangs(long_clip: Path, tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    spec = msgspec.structs.replace(scenario(long_clip, preset="slow"), slowest_speed=20.0)
    frozen = _when_running(folder, b"-preset", lambda pid: os.kill(pid, signal.SIGSTOP))
    started = time.monotonic()
    error = _fails(attempt(spec, long_clip, folder, tools))
    frozen.join()
    assert error.failure_class is FailureClass.DEADLINE_EXCEEDED
    assert str(error).startswith("the encode was not done after 3.0 s")
    # Without a deadline, the attempt would never end. The time includes the checks of the source.
    assert time.monotonic() - started < 60
    assert _running_in(folder) == []


def test_a_killed_decode_check_is_retryable(
    medium_clip: Path, tools: Tools, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    killed = _when_running(folder, b"hash", lambda pid: os.kill(pid, signal.SIGKILL))
    error = _fails(attempt(scenario(medium_clip, preset="ultrafast"), medium_clip, folder, tools))
    killed.join()
    # A job with this failure class is retried, unlike a job with a wrong output.
    assert error.failure_class is FailureClass.KILLED


def test_a_killed_quality_pass_makes_quality_unavailable(
    medium_clip: Path, tools: Tools, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    killed = _when_running(folder, b"-filter_complex", lambda pid: os.kill(pid, signal.SIGKILL))
    measured = kinds.run_attempt(
        attempt(scenario(medium_clip, preset="ultrafast"), medium_clip, folder, tools)
    )
    killed.join()
    assert measured.quality == Unavailable(reason="the quality pass was ended by SIGKILL")
    # The encode had ended before, so that its speed and energy are measured all the same.
    assert measured.verdict is not None
    assert measured.verdict.state != "invalid"


FAMILY = """#!/bin/sh
child='trap "" INT TERM PIPE; echo $$ >> child
       i=0; while [ $i -lt 3000 ]; do echo flood; sleep 0.01; i=$((i+1)); done'
(trap '' INT TERM PIPE; sh -c "$child" & sh -c "$child" >&2 & wait) &
sleep 0.5
{leader}
"""


@pytest.mark.parametrize("leader", ["sleep 600", "trap 'exit 7' INT; while :; do sleep 0.1; done"])
def test_grandchildren_that_ignore_signals_and_hold_the_pipes(leader: str, tmp_path: Path) -> None:
    program = tmp_path / "family"
    program.write_text(FAMILY.format(leader=leader))
    program.chmod(0o755)
    started = time.monotonic()
    outcome = process.run_process(
        [str(program)],
        cwd=tmp_path,
        log=tmp_path / "ffmpeg.log",
        deadline_s=1.0,
        stop=lambda: False,
        on_line=lambda *_: None,
    )
    assert outcome.stopped_by is StoppedBy.DEADLINE
    assert time.monotonic() - started < 8
    pids = [int(line) for line in (tmp_path / "child").read_text().split()]
    assert len(pids) == 2
    time.sleep(0.5)
    assert [pid for pid in pids if _state(pid) not in ("", "Z")] == []


def test_a_full_disk_is_reported_as_a_node_failure(
    master: ApiServer, clip: Path, tools: Tools, encoders_file: Path, tmp_path: Path
) -> None:
    spec = scenario(clip, preset="ultrafast", rate=RatePoint(crf=0))
    master.sources[spec.source.sha256] = clip.read_bytes()
    master.claims.append(claim_of(spec, heartbeat_s=0.2))
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "token").write_text("token\n", encoding="ascii")
    config = tmp_path / "agent.yml"
    config.write_text(
        f"""
master_url: {master.url}
token_file: {tmp_path}/token
ca_file: {master.ca_file}
node_name: worker-1
address: 127.0.0.1
exporters: {{cpu: 9510, ffmpeg: 9506}}
work_dir: {disk}/work
spool_dir: {disk}/spool
cache_dir: {tmp_path}/cache
ffmpeg: {tools.ffmpeg}
ffprobe: {tools.ffprobe}
quality_ffmpeg: {tools.ffmpeg}
min_free_bytes: 1
log_level: info
""",
        encoding="utf-8",
    )
    # The agent gets a mount namespace with a file system that has space for the source and a part
    # of the output. The file system ends with the agent. Root is not necessary if users may create
    # namespaces.
    size = clip.stat().st_size + 400_000
    mount = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", str(size), str(disk)]
    argv += working_encoders.agent_command(encoders_file, config)
    with subprocess.Popen(argv) as agent:
        try:
            wait_until(
                lambda: master.bodies("/failure") or agent.poll() is not None,
                "the agent reports the failure",
            )
            (body,) = master.bodies("/failure")
            assert agent.poll() is None
        finally:
            agent.kill()
    failure = msgspec.json.decode(body, type=FailureReport).failure
    assert failure.failure_class is FailureClass.NODE
    assert failure.failure_class.is_retryable
    assert "disk is full" in failure.message or "No space left on device" in failure.message
    assert not master.bodies("/result")


def _program(file: Path, script: str) -> Path:
    file.write_text("#!/bin/sh\n" + script, encoding="utf-8")
    file.chmod(0o755)
    return file


def _fails(tried: Attempt) -> AttemptFailedError:
    with pytest.raises(AttemptFailedError) as caught:
        kinds.run_attempt(tried)
    return caught.value


def _when_running(folder: Path, word: bytes, action: Callable[[int], None]) -> threading.Thread:
    """Wait in a thread for a process in `folder` with the argument `word`, and call `action`."""

    def run() -> None:
        pid = wait_until(
            lambda: next((pid for pid in _running_in(folder) if word in _arguments_of(pid)), None),
            f"a process with the argument {word!r} runs",
            interval_s=0.02,
        )
        # The pause lets the process start its work.
        time.sleep(0.1)
        action(pid)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _arguments_of(pid: int) -> list[bytes]:
    """Return the arguments of a process, or an empty list if it has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _running_in(folder: Path) -> list[int]:
    """Return the processes whose working directory is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").readlink() == folder:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _state(pid: int) -> str:
    """Return the kernel's letter for the state of a process, or "" if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
