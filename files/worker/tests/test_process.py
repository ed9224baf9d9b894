"""Tests of the start, the supervision and the stop of real processes."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from ffrtmp_worker.ffmpeg import process
from ffrtmp_worker.ffmpeg.process import Outcome, StoppedBy
from polling import wait_until

ENDLESS = ["-f", "lavfi", "-re", "-i", "testsrc2=size=320x240:rate=25", "-f", "null", "-"]


def _run(argv: list[str], folder: Path, **more: object) -> Outcome:
    settings = {"deadline_s": 30.0, "stop": lambda: False} | more
    return process.run_process(argv, cwd=folder, log=folder / "ffmpeg.log", **settings)  # type: ignore[arg-type]


def test_figures_of_an_encode_are_plausible(ffmpeg: Path, tmp_path: Path) -> None:
    lines: list[tuple[str, float]] = []
    argv = [
        str(ffmpeg), "-nostdin", "-progress", "pipe:1", "-nostats",
        "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=4", "-f", "null", "-",
    ]  # fmt: skip
    outcome = _run(argv, tmp_path, on_line=lambda *line: lines.append(line))
    assert (outcome.exit_code, outcome.stopped_by) == (0, None)
    cpu_s = outcome.user_s + outcome.system_s
    assert 0 < cpu_s <= outcome.wall_s * (os.cpu_count() or 1) * 1.2
    assert "frame=100" in [line for line, _ in lines]
    assert all(0 < elapsed_s <= outcome.wall_s + 0.5 for _, elapsed_s in lines)
    first = (tmp_path / "ffmpeg.log").read_text(encoding="utf-8").splitlines()[0]
    assert first == " ".join(argv)


@pytest.mark.slow
def test_memory_is_that_of_the_child_process(tmp_path: Path) -> None:
    ballast = bytearray(b"x" * 400_000_000)
    outcome = _run(["/bin/sleep", "0.5"], tmp_path)
    assert len(ballast) == 400_000_000
    assert 0 < outcome.max_rss_kib < 50_000


@pytest.mark.slow
def test_a_stop_ends_an_encode_gracefully(ffmpeg: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    started = time.monotonic()
    outcome = _run([str(ffmpeg), "-nostdin", *ENDLESS], tmp_path, stop=stop.is_set)
    assert outcome.stopped_by is StoppedBy.CALLER
    assert outcome.exit_code == 255
    assert time.monotonic() - started < 4


@pytest.mark.slow
def test_the_deadline_ends_an_encode(ffmpeg: Path, tmp_path: Path) -> None:
    outcome = _run([str(ffmpeg), "-nostdin", *ENDLESS], tmp_path, deadline_s=0.5)
    assert outcome.stopped_by is StoppedBy.DEADLINE
    assert 0.5 < outcome.wall_s < 4


@pytest.mark.slow
def test_a_group_that_ignores_sigint_and_sigterm_is_killed(tmp_path: Path) -> None:
    script = "trap '' INT TERM; sleep 600 & echo $! > child; while :; do sleep 0.1; done"
    started = time.monotonic()
    outcome = _run(["/bin/sh", "-c", script], tmp_path, deadline_s=0.3)
    assert outcome.exit_code == -signal.SIGKILL
    assert time.monotonic() - started < 10
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    wait_until(lambda: _is_gone(child), "the child of the group has ended")


def test_a_child_left_behind_ends_with_its_leader(tmp_path: Path) -> None:
    outcome = _run(["/bin/sh", "-c", "sleep 600 & echo $! > child"], tmp_path)
    assert outcome.exit_code == 0
    assert outcome.wall_s < 5
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    wait_until(lambda: _is_gone(child), "the child that was left behind has ended")


def test_a_signal_from_another_process_is_distinguished(tmp_path: Path) -> None:
    outcome = _run(["/bin/sh", "-c", "kill -KILL $$"], tmp_path)
    assert (outcome.exit_code, outcome.stopped_by) == (-signal.SIGKILL, None)


def test_a_long_log_retains_its_beginning_and_its_end(tmp_path: Path) -> None:
    script = 'i=0; while [ $i -lt 60000 ]; do echo "line $i of a long log" >&2; i=$((i+1)); done'
    outcome = _run(["/bin/sh", "-c", script], tmp_path)
    text = (tmp_path / "ffmpeg.log").read_text(encoding="utf-8")
    assert len(text) < 600_000
    assert "line 0 of" in text
    assert "bytes left out" in text
    assert text.endswith("line 59999 of a long log\n")
    assert outcome.log_tail.endswith("line 59999 of a long log")


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _run(["/nowhere/ffmpeg"], tmp_path)


def _is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.split()[0] == "Z"
