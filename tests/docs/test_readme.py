"""Tests of the README: its example, its suites, and the facts that it states about a farm."""

import re
import subprocess

import pytest
from bench import example
from ffrtmp_shared import suite
from role_templates import ROOT, load_yaml

from .page import Page

_PAGE = Page(ROOT / "README.md")
_SCREEN_LINES = 50


def _cell(row: str) -> str:
    """Return a row of the table of requirements, without the name of the row."""
    return next(text for name, text in _PAGE.table("Requirements of a farm") if name == row)


def test_the_first_command_is_on_the_first_two_screens() -> None:
    first = next(fence for fence in _PAGE.fences() if fence.language == "console")
    assert first.line <= 2 * _SCREEN_LINES


def test_the_example_is_that_of_its_record() -> None:
    shown = example.read_record()
    assert example.insert(_PAGE.text, shown) == _PAGE.text
    assert f"\n\n{example.render(shown)}" in _PAGE.text.replace("<!-- example of a run -->\n", "")


def test_every_suite_is_valid() -> None:
    suites = [fence.text for fence in _PAGE.fences() if fence.language == "yaml"]
    parsed = [suite.parse_suite(text) for text in suites]
    assert [found.name for found in parsed] == ["builds", "film"]
    assert [build.name for build in parsed[0].ffmpegs] == ["farm", "mine"]


def test_every_variable_exists() -> None:
    files = [*ROOT.glob("roles/*/defaults/main.yml"), *ROOT.glob("group_vars/*.yml")]
    known = {name for file in files for name in load_yaml(file)}
    named = set(
        re.findall(r"`((?:common|ffmpeg|master|victoria_metrics|worker)_\w+)`?", _PAGE.text)
    )
    assert len(named) >= 5
    assert named <= known


def test_the_ports_are_those_of_the_farm() -> None:
    farm = load_yaml(ROOT / "group_vars/all.yml")
    network = _cell("network")
    assert f"to the master: port {farm['farm_api_port']}." in network
    assert f"Grafana: port {farm['farm_grafana_port']}." in network
    (listed,) = re.findall(r"every host: ports ([^.]+)\.", network)
    scraped: set[int] = set()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", listed):
        scraped.update(range(int(first), int(last or first) + 1))
    ports = {*farm["farm_exporter_ports"].values(), farm["farm_master_metrics_port"]}
    assert ports <= scraped


def test_the_limits_are_those_of_the_roles() -> None:
    def default(role: str, name: str) -> str:
        return str(load_yaml(ROOT / f"roles/{role}/defaults/main.yml")[name])

    assert default("common", "common_free_bytes_min") == "3000000000"
    assert _cell("disk").startswith("3 GB free on each host (`common_free_bytes_min`)")
    for role, name in (("master", "master_memory_max"), ("victoria_metrics",) * 2):
        variable = name if name.endswith("_max") else f"{name}_memory_max"
        limit = default(role, variable).removesuffix("G")
        assert re.search(rf"{limit} GB for \w+(?: \w+)* \(`{variable}`\)", _cell("memory"))


def test_the_farms_ffmpeg_has_the_version_and_the_encoders_of_the_page() -> None:
    ffmpeg = ROOT / ".cache/ffmpeg/ffmpeg"
    (version, encoders) = re.findall(
        r"static build, FFmpeg (n[\d.]+) with ([^.]+?)\s+and\s+libvmaf\.", _PAGE.text
    )[0]
    for option, expected in (("-version", [version]), ("-encoders", _programs(encoders))):
        command = [ffmpeg, "-hide_banner", option]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert [name for name in expected if name not in shown] == []


def _programs(names: str) -> list[str]:
    """Return FFmpeg's names of the encoders in a list of their common names."""
    known = {
        "x264": "libx264",
        "x265": "libx265",
        "SVT-AV1": "libsvtav1",
        "libaom": "libaom-av1",
        "rav1e": "librav1e",
        "VP9": "libvpx-vp9",
    }
    return [known[name.strip()] for name in re.split(r",", " ".join(names.split()))]


@pytest.mark.parametrize(
    "change",
    [
        {"vmaf": 91.0},
        {"degraded_reasons": {"other-load": 1}},
    ],
)
def test_the_example_concludes_nothing_that_its_rows_do_not_show(change: dict[str, object]) -> None:
    rows = [_row("x264", 1400.0), _row("svtav1", 1050.0)]
    sound = example.render(_example(*rows))
    assert "svtav1 needs the fewest bits" in sound
    assert "25 % fewer than x264 (2.0 times its CPU time)." in sound
    changed = {**{name: getattr(rows[1], name) for name in rows[1].__struct_fields__}, **change}
    unsound = example.render(_example(rows[0], example.Row(**changed)))
    assert "CPU time)" not in unsound
    assert ("fewest bits" in unsound) is ("vmaf" not in change)


def _row(encode: str, bitrate_kbps: float) -> example.Row:
    return example.Row(
        encode=encode,
        preset="medium",
        rate_point="crf25",
        build="farm",
        repeats=3,
        bitrate_kbps=bitrate_kbps,
        vmaf=93.0,
        vmaf_neg=92.0,
        speed=1.0,
        cpu_s=5.0 if encode == "x264" else 10.0,
        degraded_reasons={},
    )


def _example(*rows: example.Row) -> example.Example:
    return example.Example(
        measured_on="2026-11-30",
        source="clip",
        cpu="a CPU",
        cpus=2,
        ffmpegs={"farm": "n9.0.2"},
        rows=rows,
    )
