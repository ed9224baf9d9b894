"""Suites: what is accepted, and how a mistake is named."""

from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared import suite
from ffrtmp_shared.scenario import Scenario
from jsonschema import Draft202012Validator

GOOD = """\
name: short
sources:
  - name: clip
    file: media/clip.mp4
    sha256: ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
encodes:
  - name: fast
    encoder: libx264
    preset: veryfast
  - name: av1
    encoder: libsvtav1
rate_points:
  - bitrate_kbps: 800
  - crf: 30
slowest_speed: 0.125
"""


def test_scenarios_are_the_product_in_the_order_of_the_file() -> None:
    scenarios = suite.parse(GOOD).scenarios()
    assert [scenario.name for scenario in scenarios] == [
        "clip/fast/800k",
        "clip/fast/crf30",
        "clip/av1/800k",
        "clip/av1/crf30",
    ]
    assert scenarios[0].source.file_name == "clip.mp4"
    assert scenarios[2].encode.preset == "8"


def test_a_scenario_survives_the_wire() -> None:
    scenarios = suite.parse(GOOD).scenarios()
    wire = msgspec.json.encode(scenarios)
    assert msgspec.json.decode(wire, type=list[Scenario]) == scenarios
    assert {type(scenario.slowest_speed) for scenario in scenarios} == {float}


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("name: short", "name: short\nrepeets: 2", 2, "unknown key repeets; allowed are name"),
        ("libx264", "libx266", 8, "'libx266' is not known; allowed are av1_nvenc"),
        ("veryfast", "quick", 9, "libx264 has no preset 'quick'; it has ultrafast"),
        ("crf: 30", "crf: 30\n    bitrate_kbps: 7", 14, "exactly one of crf, cq, bitrate_kbps"),
        ("crf: 30", "crf: 60", 14, "libx264 takes a crf from 0 to 51, not 60"),
        ("name: av1", "name: fast", 10, "the name fast stands twice"),
        ("bitrate_kbps: 800", "crf: 30", 14, "crf30 stands twice"),
        ("name: short", "name: [", 3, "not YAML"),
        ("sha256: ff", "sha256: zz", 5, "does not match"),
        ("slowest_speed: 0.125", "slowest_speed: fast", 15, "'fast' is not of type 'number'"),
        ("name: short\n", "", 1, "'name' is a required property"),
        ("name: short", "name: short\nname: long", 2, "not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(before: str, after: str, line: int, said: str) -> None:
    with pytest.raises(suite.SuiteError) as refused:
        suite.parse(GOOD.replace(before, after, 1))
    assert any(p.line == line and said in p.message for p in refused.value.problems), refused.value


@pytest.mark.parametrize(
    "text", ["", "just text", "[]", "- a", "a: b", "\t", "name: !!python/name:os.system"]
)
def test_what_is_no_suite_is_refused(text: str) -> None:
    with pytest.raises(suite.SuiteError):
        suite.parse(text)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(suite.json_schema())


def test_shipped_suites_are_accepted_and_name_clips_that_are_there() -> None:
    folder = Path(__file__).parents[2] / "suites"
    paths = sorted(folder.glob("*.yml"))
    assert paths
    for path in paths:
        for source in suite.parse(path.read_text()).sources:
            assert (folder / source.file).is_file()
