"""Tests of the suites that the project includes, and of the schema of suites for editors."""

import json
from pathlib import Path

import pytest
from ffrtmp_shared import suite

_FOLDER = Path(__file__).parents[2] / "suites"
_MOST_JOBS_PER_NODE = 500


_JOBS = {
    "demo": 12,
    "first-look": 48,
    "smoke": 4,
    "h264-presets": 108,
    "codecs": 60,
    "vmaf": 30,
    "ladder": 6,
    "hardware": 90,
    "energy": 25,
    "decode": 9,
    "density": 3,
    "live": 21,
    "received": 6,
    "ffmpeg-releases": 448,
}


@pytest.mark.parametrize(("name", "jobs"), _JOBS.items())
def test_an_included_suite_has_the_expected_number_of_jobs_per_node(name: str, jobs: int) -> None:
    text = (_FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    found = suite.parse_suite(text)
    scenarios = found.scenarios()
    assert found.name == name
    assert len(scenarios) * found.repeats == jobs <= _MOST_JOBS_PER_NODE
    assert found.scenario_count == len(scenarios) == len({s.name for s in scenarios})
    assert [s.name for s in scenarios if s.problems()] == []
    for source in found.sources:
        assert source.file is None or (_FOLDER / source.file).is_file()


def test_all_included_suites_are_listed_and_name_the_schema() -> None:
    paths = sorted(_FOLDER.glob("*.yml"))
    assert {path.stem for path in paths} == set(_JOBS)
    for path in paths:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first == "# yaml-language-server: $schema=suite.schema.json"


def test_the_schema_for_editors_is_current() -> None:
    text = (_FOLDER / "suite.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == suite.json_schema()


def test_the_releases_of_ffmpeg_are_those_that_make_fetches() -> None:
    root = _FOLDER.parents[1]
    parsed = suite.parse_suite((_FOLDER / "ffmpeg-releases.yml").read_text(encoding="utf-8"))
    lines = (root / "requirements-ffmpeg-releases.txt").read_text(encoding="utf-8").splitlines()
    releases = [line.rpartition("# ")[2] for line in lines]
    assert [build.name for build in parsed.ffmpegs] == releases
    for build in parsed.ffmpegs:
        assert build.file is not None
        place = (_FOLDER / build.file).resolve()
        assert place == root / ".cache/ffmpeg-releases" / f"ffmpeg-{build.name}"
    names = {scenario.name for scenario in parsed.scenarios()}
    assert "bigbuckbunny-720p/svtav1/crf32/7.1" in names
    assert "bigbuckbunny-720p/svtav1/crf32/7.0.2" not in names
