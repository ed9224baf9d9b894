"""Tests that compare docs/suites.md with the tables that are used to validate suites."""

import re
from pathlib import Path

import pytest
from ffrtmp_analysis.speed_range import MAX_HISTORY, MIN_HISTORY
from ffrtmp_master.runs.control_choice import MIN_PLANNED_S
from ffrtmp_master.runs.control_encodes import MIN_CONTROLS
from ffrtmp_master.runs.expected_duration import UNKNOWN_JOB_S
from ffrtmp_shared import suite
from ffrtmp_shared.encoders import ENCODERS, Encoder

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "suites.md").read_text(encoding="utf-8")


def _scale(encoder: Encoder, name: str) -> str:
    scale = getattr(encoder, name)
    return "" if scale is None else f"{scale.least:g} to {scale.most:g}"


def _row(encoder: Encoder) -> str:
    first, last = encoder.presets[0], encoder.presets[-1]
    presets = (
        f"`{first}`" if first == last else f"`{first}` to `{last}` (`{encoder.default_preset}`)"
    )
    capped = ", ".join(f"`{control}`" for control in encoder.capped)
    cells = [
        f"`{encoder.name}`",
        presets,
        _scale(encoder, "crf"),
        _scale(encoder, "cq"),
        "1, 2" if encoder.passes > 1 else "1",
        capped,
    ]
    return "| " + " | ".join(cells) + " |"


def _options(encoder: Encoder) -> str:
    options = ", ".join(f"`{name}`" for name in encoder.options)
    return f"| `{encoder.name}` | {options} |"


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_the_page_has_every_encoder(encoder: Encoder) -> None:
    lines = _PAGE.splitlines()
    assert _row(encoder) in lines
    assert _options(encoder) in lines


def test_the_ffmpegs_of_the_page_are_valid() -> None:
    (example,) = re.findall(r"```yaml\n(ffmpegs:\n.*?)```", _PAGE, flags=re.DOTALL)
    digest = "f" * 64
    parsed = suite.parse_suite(
        f"name: page\nsources: [{{name: film, file: film.mp4, sha256: {digest}}}]\n"
        "encodes: [{name: x264, encoder: libx264, rate_points: [{crf: 23}]}]\n" + example
    )
    names = [scenario.name for scenario in parsed.scenarios()]
    assert "film/x264/crf23/patched" in names
    assert len(names) == len(parsed.ffmpegs) == 3
    assert [ffmpeg.resolve().is_given for ffmpeg in parsed.ffmpegs] == [False, True, True]


def test_the_page_counts_the_jobs_of_every_suite() -> None:
    rows = [
        line.split(" | ")
        for line in _PAGE.splitlines()
        if line.startswith("| `") and ".yml`" in line
    ]
    documented = {cells[0].strip("| `"): int(cells[2].split()[0]) for cells in rows}
    folder = _ROOT / "files" / "suites"
    found = {}
    for path in folder.glob("*.yml"):
        parsed = suite.parse_suite(path.read_text(encoding="utf-8"))
        controls = MIN_CONTROLS if parsed.control else 0
        found[path.name] = parsed.scenario_count * parsed.repeats + controls
    assert documented == found


def test_the_page_states_when_control_encodes_are_added_and_judged() -> None:
    text = " ".join(_PAGE.split("## Control encodes")[1].split())
    assert f"planned to take more than {MIN_PLANNED_S / 60:.0f} minutes" in text
    assert f"Any other job counts as {UNKNOWN_JOB_S:.0f} seconds" in text
    assert f"the control encodes of the last {MAX_HISTORY} runs" in text
    assert f"fewer than {MIN_HISTORY} such runs" in text


def test_the_page_names_the_variable_that_permits_waiting() -> None:
    play = (_ROOT / "playbooks" / "run-benchmark.yml").read_text(encoding="utf-8")
    (variable,) = re.findall(r"-e (benchmark_wait\w+)=true", _PAGE)
    assert f"    {variable}: false\n" in play
