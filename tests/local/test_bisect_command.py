"""Test of `ffrtmp bisect` with real programs: it finds the slow one of nine builds."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from polling import wait_until

pytestmark = pytest.mark.deep

_PROGRAM = Path(sys.executable).parent / "ffrtmp"
_COMPILER = shutil.which("cc") or ""
_BUILDS = 9
_SLOW_FROM = 6
_TIMEOUT_S = 1500.0
# It consumes a fixed CPU time, and then becomes FFmpeg.
_LAUNCHER = """\
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    const clock_t end = clock() + BURN_MS * (CLOCKS_PER_SEC / 1000);
    (void)count;
    while (clock() < end) { }
    execv(FFMPEG, arguments);
    return 127;
}
"""
_SUITE = """\
name: launchers
sources:
  - name: clip
    synthetic: {content: motion, width: 160, height: 90, frame_rate: 25, duration_s: 0.4}
encodes: [{name: x264, encoder: libx264, preset: ultrafast, rate_points: [{crf: 30}]}]
warm_up_s: 0
quality: {neg: false, ssim: false, psnr: false, xpsnr: false}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, because the path of the launcher's FFmpeg is compiled into it."""
    with tempfile.TemporaryDirectory(prefix="ffrtmp-bisect-") as name:
        yield Path(name)


def _page_command(root: Path) -> str:
    """Return the first command of docs/bisecting.md."""
    lines = (root / "docs/bisecting.md").read_text(encoding="utf-8").splitlines()
    return next(line[2:] for line in lines if line.startswith("$ ffrtmp bisect"))


def _compile_builds(folder: Path, ffmpeg: Path) -> None:
    (folder / "launcher.c").write_text(_LAUNCHER)
    for number in range(1, _BUILDS + 1):
        burn_ms = 400 if number >= _SLOW_FROM else 1
        macros = [f"-DBURN_MS={burn_ms}", f'-DFFMPEG="{ffmpeg}"']
        # The builds differ in their digests, as those of different releases do.
        subprocess.run(
            [_COMPILER, "-O1", *macros, f"-Wl,--build-id=0x{number:02}", "-o", f"ffmpeg{number}",
             "launcher.c"],
            cwd=folder,
            check=True,
        )  # fmt: skip
    digests = {
        hashlib.sha256((folder / f"ffmpeg{number}").read_bytes()).hexdigest()
        for number in range(1, _BUILDS + 1)
    }
    assert len(digests) == _BUILDS


def _stored(output: Path) -> dict[str, bytes]:
    """Return the content of all results that are complete."""
    return {
        str(file): (file.parent / "results.json").read_bytes()
        for file in output.glob("*/results/SHA256SUMS")
    }


@pytest.mark.skipif(not _COMPILER, reason="needs a C compiler")
def test_the_slow_build_of_nine_is_found_after_an_interruption(folder: Path, root: Path) -> None:
    ffmpeg = root / ".cache/ffmpeg/ffmpeg"
    (folder / "suite.yml").write_text(_SUITE)
    _compile_builds(folder, ffmpeg)
    # Other tests may run at the same time, so that results are disturbed.
    options = f"--quantity cpu_time --max-repeats 16 --allow-disturbed --ffmpeg {ffmpeg} --json"
    command = ["/bin/bash", "-c", f"exec {_page_command(root)} {options}"]
    path = f"{_PROGRAM.parent}:/usr/bin:/bin"
    environment = {"HOME": str(folder), "PATH": path, "LC_ALL": "C.UTF-8"}
    log = folder / "log"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with log.open("wb") as opened:
            first = subprocess.Popen(command, cwd=folder, env=environment, stderr=opened)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        wait_until(
            lambda: log.read_text().count("Measuring build") >= 2, log.read_text,
            timeout_s=_TIMEOUT_S,
        )  # fmt: skip
        first.send_signal(signal.SIGINT)
        assert first.wait(_TIMEOUT_S) == 130, log.read_text()
    finally:
        first.kill()
    stored = _stored(folder / "bisection")
    assert stored

    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["outcome"] == "found"
    assert document["before"]["number"] == _SLOW_FROM - 1
    assert document["after"]["number"] == _SLOW_FROM
    assert document["after"]["place"] == str(folder / f"ffmpeg{_SLOW_FROM}")
    assert document["difference"]["verdict"] == "worse"
    assert document["difference"]["low"] > 0
    # An exhaustive comparison with eight repeats of each pair of neighbors takes 128 encodes.
    assert document["encodes"] <= 100
    # What was stored has not been measured again.
    assert stored.items() <= _stored(folder / "bisection").items()
