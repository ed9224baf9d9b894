"""Tests of `ffrtmp bisect` with real programs: launchers, and releases of FFmpeg."""

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
_BUILDS = 9
_RELEASES = ("7.1", "8.0.1", "8.1.2", "9.0.2")
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


def _page_command(root: Path, number: int) -> str:
    """Return a command of docs/bisecting.md, by its number from 0."""
    text = (root / "docs/bisecting.md").read_text(encoding="utf-8").replace("\\\n", "")
    found = [line[2:] for line in text.splitlines() if line.startswith("$ ffrtmp bisect")]
    return found[number]


def _environment(home: Path) -> dict[str, str]:
    path = f"{_PROGRAM.parent}:/usr/bin:/bin"
    return {"HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"}


def _compile_builds(folder: Path, ffmpeg: Path) -> None:
    compiler = shutil.which("gcc")
    assert compiler is not None
    (folder / "launcher.c").write_text(_LAUNCHER)
    for number in range(1, _BUILDS + 1):
        burn_ms = 400 if number >= _SLOW_FROM else 1
        macros = [f"-DBURN_MS={burn_ms}", f'-DFFMPEG="{ffmpeg}"']
        # The builds differ in their digests, as those of different releases do.
        subprocess.run(
            [compiler, "-O1", *macros, f"-Wl,--build-id=0x{number:02}", "-o", f"ffmpeg{number}",
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


def test_the_slow_build_of_nine_is_found_after_an_interruption(folder: Path, root: Path) -> None:
    ffmpeg = root / ".cache/ffmpeg/ffmpeg"
    (folder / "suite.yml").write_text(_SUITE)
    _compile_builds(folder, ffmpeg)
    # Other tests may run at the same time, so that results are disturbed.
    options = f"--quantity cpu_time --max-repeats 16 --allow-disturbed --ffmpeg {ffmpeg} --json"
    command = ["/bin/bash", "-c", f"exec {_page_command(root, 0)} {options}"]
    environment = _environment(folder)
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


def test_the_release_that_writes_larger_files_is_that_of_an_exhaustive_comparison(
    folder: Path, root: Path
) -> None:
    programs = [root / f".cache/ffmpeg-releases/ffmpeg-{name}" for name in _RELEASES]
    assert all(program.exists() for program in programs), "run: make ffmpeg-releases"
    command = f"exec {_page_command(root, 1)} --output {folder}/bisection --json"
    environment = _environment(folder)
    done = subprocess.run(
        ["/bin/bash", "-c", command], cwd=root, env=environment, capture_output=True, text=True,
        check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"] == "found"

    builds = [
        {
            "name": name,
            "file": str(program),
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
        }
        for name, program in zip(_RELEASES, programs, strict=True)
    ]
    # JSON is YAML.
    suite = json.loads((folder / "bisection/bisect.json").read_bytes())
    assert [build["sha256"] for build in suite["builds"]] == [b["sha256"] for b in builds]
    clip = root / "files/media/bigbuckbunny-720p.mp4"
    exhaustive = {
        "name": "exhaustive",
        "sources": [
            {
                "name": "clip",
                "file": str(clip),
                "sha256": hashlib.sha256(clip.read_bytes()).hexdigest(),
            }
        ],
        "encodes": [{"name": "av1", "encoder": "libsvtav1", "rate_points": [{"crf": 40}]}],
        "ffmpegs": builds,
        "repeats": 1,
        "warm_up_s": 0,
        "control": False,
    }
    (folder / "all.yml").write_text(json.dumps(exhaustive))
    arguments = ["local", "--allow-ffmpeg-builds", str(folder / "all.yml")]
    done = subprocess.run(
        [_PROGRAM, *arguments, "--output", str(folder / "all")], env=environment,
        capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "all/results.json").read_text())["results"]
    kbps = {
        result["scenario"]["ffmpeg"]["name"]: result["measurement"]["output"]["video_bitrate_kbps"]
        for result in results
    }
    place = found["after"]["number"] - 1
    before, after = (kbps[_RELEASES[number]] for number in (place - 1, place))
    assert found["difference"]["change"] == pytest.approx(after / before - 1, rel=1e-6)
    assert after / before - 1 > 0.01
