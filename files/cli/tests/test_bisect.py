"""Tests of `ffrtmp bisect` before and after its measurements."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ffrtmp_analysis.bisection.measured_batches import Measure, Stage, Target
from ffrtmp_analysis.bisection.search import SearchSettings
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_cli.bisection import bisection_run
from ffrtmp_cli.bisection.batch_suite import read_bisected_suite
from ffrtmp_cli.bisection.bisection_run import BisectionRequest, run_bisection
from ffrtmp_cli.bisection.builds import Build, read_builds
from ffrtmp_cli.bisection.conclusion_text import conclusion_lines
from ffrtmp_cli.bisection.measured_results import results_by_build
from ffrtmp_cli.bisection.state_directory import StateDirectory, inputs_of
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.local.benchmark import Request
from ffrtmp_cli.local.paths import LocalPaths
from ffrtmp_client import results
from ffrtmp_shared.suite import parse_suite
from ffrtmp_shared.suite_pairs import SuitePair
from measurement_factory import measurement
from msgspec import to_builtins
from rich.console import Console

from .conftest import Ffrtmp

_DIGEST = "f" * 64
_SUITE = f"""\
name: small
sources:
  - {{name: film, file: clips/film.mp4, sha256: {_DIGEST}}}
  - name: noise
    synthetic: {{content: noise, width: 320, height: 180, frame_rate: 25, duration_s: 1}}
encodes:
  - {{name: x264, encoder: libx264, ffmpegs: ["7.1"]}}
  - {{name: av1, encoder: libsvtav1, preset: "8", rate_points: [{{crf: 30}}, {{crf: 40}}]}}
rate_points: [{{crf: 23}}]
ffmpegs: [{{name: "7.1"}}]
precision: {{max_repeats: 20}}
quality: {{neg: true, ssim: false}}
control: true
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "suite.yml"
    path.write_text(_SUITE)
    return path


@pytest.fixture
def programs(tmp_path: Path) -> list[Path]:
    """Three programs with different content."""
    made = []
    for number in range(3):
        path = tmp_path / f"ffmpeg{number}"
        shutil.copy(Path(sys.executable).resolve(), path)
        with path.open("ab") as opened:
            opened.write(bytes([number]))
        made.append(path)
    return made


def test_builds_are_files_and_urls(programs: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(programs[1])
    url = f"https://builds.example/ffmpeg#sha256={_DIGEST}"
    found = read_builds([str(programs[1]), str(link), url])
    digest = hashlib.sha256(programs[1].read_bytes()).hexdigest()
    assert [build.sha256 for build in found] == [digest, digest, _DIGEST]
    assert [build.place for build in found] == [
        str(programs[1]),
        str(link),
        "https://builds.example/ffmpeg",
    ]
    assert found[2].suite_entry == {
        "name": "build3",
        "url": "https://builds.example/ffmpeg",
        "sha256": _DIGEST,
    }


def test_scripts_and_incomplete_builds_are_refused(
    programs: list[Path], suite: Path, tmp_path: Path, ffrtmp: Ffrtmp
) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\nexec ffmpeg "$@"\n')
    script.chmod(0o755)
    for given, message, code in (
        (str(script), "it is not an ELF executable, but perhaps a script", ExitCode.USAGE),
        ("https://builds.example/ffmpeg", "Append #sha256=", ExitCode.USAGE),
        (str(tmp_path / "absent"), "is not a file", ExitCode.NOT_FOUND),
    ):
        output = str(tmp_path / "output")
        outcome = ffrtmp("bisect", str(suite), str(programs[0]), given, "--output", output)
        assert outcome.code == code
        assert message in outcome.err
        assert not (tmp_path / "output").exists()
    with pytest.raises(CommandError, match="at least two builds"):
        read_builds([str(programs[0])])


def test_a_batch_measures_two_builds_next_to_each_other(suite: Path, programs: list[Path]) -> None:
    builds = read_builds([str(path) for path in programs])
    request = Measure(stage=Stage.ENDS, before=0, after=2, builds=(0, 2), repeats=8)
    text = read_bisected_suite(suite, None).batch_text(request, [builds[0], builds[2]])
    made = parse_suite(text)
    assert made.compare == (SuitePair(ffmpegs=("build1", "build3")),)
    assert (made.repeats, made.control, made.precision) == (8, False, None)
    assert not made.quality.ssim
    assert {file.path for file in made.files} == {
        str(suite.parent / "clips/film.mp4"),
        str(programs[0]),
        str(programs[2]),
    }
    names = [scenario.name for scenario in made.scenarios()]
    assert len(names) == 2 * 3 * 2
    assert "noise/x264/crf23/build3" in names


def test_a_batch_for_a_target_measures_only_its_scenario(suite: Path, programs: list[Path]) -> None:
    builds = read_builds([str(path) for path in programs])
    target = Target(source="noise", configuration="av1/crf40", quantity=Quantity.SPEED)
    request = Measure(stage=Stage.STEP, before=0, after=1, builds=(1,), repeats=2, target=target)
    made = parse_suite(read_bisected_suite(suite, None).batch_text(request, [builds[1]]))
    assert [scenario.name for scenario in made.scenarios()] == ["noise/av1/crf40/build2"]
    assert made.compare == ()
    ends = Measure(stage=Stage.ENDS, before=0, after=2, builds=(0, 2), repeats=8)
    one = read_bisected_suite(suite, "film/x264/crf23")
    only = parse_suite(one.batch_text(ends, [builds[0], builds[2]]))
    assert {scenario.name for scenario in only.scenarios()} == {
        "film/x264/crf23/build1",
        "film/x264/crf23/build3",
    }


def test_a_suite_that_cannot_be_bisected_is_refused(suite: Path) -> None:
    with pytest.raises(CommandError, match="has no scenario film/x264/crf99; it has film/x264"):
        read_bisected_suite(suite, "film/x264/crf99")
    suite.write_text(_SUITE.replace("encodes:", "encodes:\n  - {name: reading, kind: decode}"))
    with pytest.raises(CommandError, match="Remove reading from a copy"):
        read_bisected_suite(suite, None)
    suite.write_text(_SUITE.replace("libx264", "libx266"))
    with pytest.raises(CommandError, match=r"suite\.yml:7:\d+: .*libx266"):
        read_bisected_suite(suite, None)


def test_a_directory_belongs_to_one_bisection(tmp_path: Path, programs: list[Path]) -> None:
    builds = read_builds([str(path) for path in programs])
    folder = tmp_path / "output"
    StateDirectory(folder, inputs_of(_SUITE, None, builds))
    assert StateDirectory(folder, inputs_of(_SUITE, None, builds)).batches() == []
    for inputs in (
        inputs_of(_SUITE, None, builds[:2]),
        inputs_of(_SUITE, "film/x264/crf23", builds),
        inputs_of(_SUITE + "\n", None, builds),
    ):
        with pytest.raises(CommandError, match="belongs to a bisection of another suite"):
            StateDirectory(folder, inputs)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(CommandError, match="has other content"):
        StateDirectory(tmp_path / "other", inputs_of(_SUITE, None, builds))


def _result(name: str, repeat: int, kbps: float, **verdict: Any) -> dict[str, Any]:
    found = to_builtins(measurement())
    found["output"] |= {"video_bitrate_kbps": kbps, "sha256": str(kbps)}
    found["verdict"] = {"state": "valid", "reasons": []} | verdict
    return {
        "node": "local",
        "repeat": repeat,
        "scenario": {
            "name": name,
            "kind": "transcode",
            "source": {"name": name.partition("/")[0]},
            "encode": {"encoder": "libx264", "rate": {"crf": 23}},
        },
        "measurement": found,
    }


def test_disturbed_results_are_named_and_can_be_allowed() -> None:
    reason = {"code": "other-load", "detail": "other processes used the CPU"}
    given = [_result("film/x264/crf23/build1", 1, 800.0, state="degraded", reasons=[reason])]
    for is_allowed, code in ((False, "other-load"), (True, "other-load (allowed)")):
        found = results_by_build(given, 3, allow_disturbed=is_allowed)
        (scenario,) = found["build1"]
        assert (scenario.source, scenario.configuration) == ("film", "x264/crf23")
        (repeat,) = scenario.repeats
        assert repeat.round == "3/1"
        assert repeat.reasons == (code,)
        assert repeat.values[Quantity.BIT_RATE] == 800.0


class _Engine:
    """Stands for `ffrtmp local`: it writes results with the bit rate of each build."""

    def __init__(self, kbps: dict[str, float | None]) -> None:
        self.kbps = kbps
        self.measured: list[str] = []
        self.stop_after: int | None = None

    def __call__(self, request: Request, *_: Any) -> None:
        if len(self.measured) == self.stop_after:
            raise CommandError("stopped", ExitCode.INTERRUPTED)
        suite = parse_suite(request.path.read_text())
        found, failures = [], []
        for scenario in suite.scenarios():
            name = scenario.name.rpartition("/")[2]
            kbps = self.kbps[name]
            if kbps is None:
                failures.append({"scenario": scenario.name, "message": "no encoder"})
                continue
            found += [_result(scenario.name, n + 1, kbps) for n in range(suite.repeats)]
        assert request.output is not None
        request.output.mkdir()
        document = {"run": {"id": "1"}, "results": found, "precision": {}}
        (request.output / "results.json").write_bytes(results.as_json(document))
        (request.output / "failures.json").write_text(json.dumps(failures))
        (request.output / "SHA256SUMS").touch()
        self.measured += [
            f"{request.path.parent.name} {name}"
            for name in {scenario.name.rpartition("/")[2] for scenario in suite.scenarios()}
        ]


def _bisect(suite: Path, builds: tuple[Build, ...], folder: Path) -> list[str]:
    request = BisectionRequest(
        suite=read_bisected_suite(suite, "noise/x264/crf23"),
        builds=builds,
        output=folder / "output",
        settings=SearchSettings((Quantity.BIT_RATE,)),
        ffmpeg=None,
        ffprobe=None,
        allow_disturbed=False,
    )
    paths = LocalPaths(folder / "state", folder / "cache")
    finished = run_bisection(request, paths, Console(quiet=True))
    return list(conclusion_lines(finished, builds))


def _nine(programs: list[Path]) -> tuple[Build, ...]:
    return read_builds([str(programs[number % 3]) for number in range(9)])


def test_an_interrupted_bisection_measures_nothing_twice(
    suite: Path, programs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _Engine({f"build{n}": 800.0 if n < 7 else 840.0 for n in range(1, 10)})
    monkeypatch.setattr(bisection_run, "run_benchmark", engine)
    engine.stop_after = 3
    with pytest.raises(CommandError, match="stopped"):
        _bisect(suite, _nine(programs), tmp_path)
    engine.stop_after = None
    lines = _bisect(suite, _nine(programs), tmp_path)
    assert lines[0].startswith("The change of the bit rate of noise/x264/crf23 is in build 7 (")
    assert "build 6 (" in lines[0]
    assert "bit rate worse: +5.0 %; n = 2 and 2, all repeats equal." in lines[1]
    # Both ends, and the builds in the middle, each once.
    assert len(engine.measured) == len(set(engine.measured)) == 5
    assert lines[-1] == "10 encodes."
    assert _bisect(suite, _nine(programs), tmp_path) == lines
    assert len(engine.measured) == 5


def test_a_build_that_cannot_be_measured_is_left_out(
    suite: Path, programs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kbps: dict[str, float | None] = {f"build{n}": 800.0 if n < 7 else 840.0 for n in range(1, 10)}
    engine = _Engine(kbps | {"build5": None})
    monkeypatch.setattr(bisection_run, "run_benchmark", engine)
    lines = _bisect(suite, _nine(programs), tmp_path)
    assert "is in build 7 (" in lines[0]
    assert any(line.endswith("was left out: no encoder") for line in lines)
    engine.kbps["build1"] = None
    shutil.rmtree(tmp_path / "output")
    with pytest.raises(CommandError, match=r"build 1 .* cannot be measured: no encoder"):
        _bisect(suite, _nine(programs), tmp_path)


def test_equal_builds_have_no_change(
    suite: Path, programs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _Engine({f"build{n}": 800.0 for n in range(1, 10)})
    monkeypatch.setattr(bisection_run, "run_benchmark", engine)
    lines = _bisect(suite, _nine(programs), tmp_path)
    assert lines[0] == "The last build is not shown to be slower or worse than the first."
    assert "bit rate same within 1.0 %" in lines[1]
    assert engine.measured == ["001 build1", "001 build9"] or len(engine.measured) == 2
