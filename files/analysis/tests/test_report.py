"""Tests of the parts of a report that need no browser."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from ffrtmp_analysis.report.chart import Axis, draw_curves, logarithmic_ticks
from ffrtmp_analysis.report.document import Plot, Report, Section, Statements, Table, TableColumn
from ffrtmp_analysis.report.html_page import html_page
from ffrtmp_analysis.report.markdown import markdown_text
from ffrtmp_analysis.report.number_text import fixed, significant
from ffrtmp_analysis.report.run_data import RunData, TimeSeries
from ffrtmp_analysis.report.run_report import make_report
from ffrtmp_analysis.report.sections.time_series import select_result
from ffrtmp_client.medians import median_rows
from report_results import density_and_live, failures, transcodes

_NAME = TableColumn("name", "Encode")
_RATE = TableColumn("rate", "Bit rate (kbit/s)", decimals=0)
_SPEED = TableColumn("speed", "Speed", digits=3)
_HOSTILE = "<script>alert(1)</script>|`*"


def _run(results: list[dict[str, Any]], **changes: Any) -> RunData:
    run = {
        "id": "019a",
        "suite_name": "codecs",
        "counts": {"succeeded": len(results), "failed": 0},
        "created_at": "2026-01-02T03:04:05Z",
        "finished_at": None,
        "nodes": ["worker1"],
    }
    known = {"precision": {"medians": [], "drifts": []}, **changes}
    return RunData(**{"run": run, "results": results, "rows": median_rows(results), **known})


def _section(report: Report, name: str) -> Section:
    (found,) = [section for section in report.sections if section.name == name]
    return found


def _text(section: Section) -> str:
    return markdown_text(Report("", "", [section])).replace("\\", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (81234.4, "81234"),
        (1234.5, "1234"),
        (12.345, "12.3"),
        (0.0012345, "0.00123"),
        (-2.5, "-2.50"),
        (0, "0"),
        (None, "n/a"),
        (float("nan"), "n/a"),
        (float("inf"), "n/a"),
    ],
)
def test_numbers_have_significant_digits_without_an_exponent(
    value: float | None, text: str
) -> None:
    assert significant(value) == text
    assert fixed(None, 2) == "n/a"


@pytest.mark.parametrize(
    ("low", "high"), [(221, 2150), (0.76, 3.7), (0.00011, 9_000_000), (4, 17), (99, 101)]
)
def test_a_logarithmic_scale_has_few_labels_within_its_range(low: float, high: float) -> None:
    ticks = logarithmic_ticks(low, high)
    assert ticks == sorted(ticks)
    assert all(low <= tick <= high for tick in ticks)
    assert 1 <= len(ticks) <= 11


def test_a_chart_contains_only_the_values_of_its_table() -> None:
    rows = [
        {"name": "a", "rate": 100.4, "speed": 2.0, "low": 1.5, "high": 2.5, "other": "secret"},
        {"name": "b", "rate": 900.0, "speed": 1.0, "low": None, "high": None, "other": "secret"},
    ]
    table = Table("Speeds", (_NAME, _RATE, _SPEED), rows)
    axis = Axis(_RATE, may_be_logarithmic=True)
    plot = draw_curves("Speeds", table, axis, Axis(_SPEED, low="low", high="high"), _NAME)
    values = plot.specification["data"]["values"]
    assert [value["description"] for value in values] == [
        "Encode a, Bit rate (kbit/s) 100, Speed 2.00",
        "Encode b, Bit rate (kbit/s) 900, Speed 1.00",
    ]
    text = json.dumps(plot.specification)
    assert "secret" not in text
    assert '"type": "log"' in text


def test_text_of_results_is_never_markup() -> None:
    plot_table = Table(_HOSTILE, (_NAME,), [{"name": _HOSTILE}])
    plot = Plot(_HOSTILE, plot_table, {})
    report = Report(_HOSTILE, _HOSTILE, [Section("a", _HOSTILE, [Statements([_HOSTILE]), plot])])
    page = html_page(report, ['<svg viewBox="0 0 1 1"></svg>'])
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;|`*") >= 8
    (line,) = {line for line in markdown_text(report).splitlines() if line.startswith("| \\<")}
    assert line == r"| \<script\>alert(1)\</script\>\|\`\* |"


def test_a_page_needs_an_image_for_each_plot() -> None:
    plot = Plot("", Table("", (_NAME,), []), {})
    report = Report("", "", [Section("a", "", [plot])])
    with pytest.raises(ValueError, match="1 plots, but 0 images"):
        html_page(report, [])
    with pytest.raises(ValueError, match="not SVG"):
        html_page(report, ["<script></script>"])


def test_a_run_with_energy_has_a_plot_of_it() -> None:
    report = make_report(_run([*transcodes(), *density_and_live()]))
    captions = [plot.table.caption for plot in report.plots]
    assert "Energy and VMAF NEG, source clip" in captions
    assert "Streams in real time" in captions
    assert "Encoder lag" in captions
    assert "Cost is unavailable" in _text(_section(report, "efficiency"))


def test_a_run_without_energy_states_the_reason_in_place_of_a_plot() -> None:
    reasons = {"energy_gross_j": {"no energy reader": {"worker1"}}}
    report = make_report(_run(transcodes(has_energy=False), figure_reasons=reasons))
    assert not any("Energy" in plot.table.caption for plot in report.plots)
    assert "Energy is unavailable: no energy reader." in _text(_section(report, "efficiency"))
    table = _text(_section(report, "unavailable"))
    assert "| this node has no energy reader | energy | 48 | worker1 |" in table


def test_a_run_with_only_failures_has_no_plot_and_a_reason_in_every_section() -> None:
    data = _run([], failures=failures(), rows=[])
    data = replace(data, run={**data.run, "counts": {"succeeded": 0, "failed": 2}})
    report = make_report(data)
    assert report.plots == []
    assert all(section.blocks for section in report.sections)
    assert "2 of 2 jobs have not succeeded: 2 failed." in _text(_section(report, "findings"))
    assert "unknown encoder" in _text(_section(report, "unavailable"))
    for name in ("rate-distortion", "efficiency", "density", "live", "repeats", "validity"):
        assert "No job of the run has succeeded" in _text(_section(report, name))


def test_invalid_results_have_no_points_and_are_counted() -> None:
    results = transcodes()
    for result in results:
        reason = {"code": "overloaded", "detail": "too slow"}
        result["measurement"]["verdict"] = {"state": "invalid", "reasons": [reason]}
    report = make_report(_run(results))
    assert "48 of 48 results are invalid (overloaded in 48)" in _text(_section(report, "findings"))
    assert [plot.table.caption for plot in report.plots] == ["Repeats, source clip"]
    assert "All results are invalid" in _text(_section(report, "rate-distortion"))


def test_rows_without_quality_do_not_remove_the_plot_of_the_others() -> None:
    results = transcodes()
    for result in results:
        if result["scenario"]["name"].endswith("crf22"):
            unavailable = {"status": "unavailable", "reason": "no libvmaf"}
            result["measurement"]["quality"] = unavailable
    report = make_report(_run(results))
    rows = {plot.table.caption: len(plot.table.rows) for plot in report.plots}
    assert rows["Speed and VMAF NEG, source clip"] == 7
    section = _section(report, "efficiency")
    (rest,) = [
        block
        for block in section.blocks
        if isinstance(block, Table) and block.caption.startswith("Speed without a chart")
    ]
    assert [row["point"] for row in rest.rows] == ["crf22"]
    assert "Without points, because their VMAF NEG is unavailable: x264 medium crf22." in _text(
        _section(report, "rate-distortion")
    )


def test_the_resources_of_a_density_are_those_of_its_rate_point() -> None:
    results = density_and_live()
    other = copy.deepcopy(results[0])
    other["id"] = "other"
    other["scenario"]["name"] = "clip/libx264/4000k"
    other["scenario"]["encode"]["rate"] = {"bitrate_kbps": 4000}
    other["measurement"]["density"] |= {"limit": "memory", "streams": 2}
    report = make_report(_run([*results, other]))
    (plot,) = [plot for plot in report.plots if plot.table.caption == "Streams in real time"]
    found = {row["name"]: (row["streams"], row["limit"]) for row in plot.table.rows}
    assert found["x264 8 2000k"] == (5, "cpu")
    assert (2, "memory") in found.values()


def test_nodes_are_never_in_one_plot() -> None:
    report = make_report(_run([*transcodes(), *transcodes(node="worker2")]))
    captions = [plot.table.caption for plot in report.plots]
    for node in ("worker1", "worker2"):
        assert f"Bit rate and VMAF NEG, source clip, node {node}" in captions


def test_a_shift_of_the_control_encodes_is_stated_first() -> None:
    drift = {
        "node": "worker1",
        "first_speed": 4.0,
        "last_speed": 3.0,
        "ratio": 0.75,
        "is_unusual": True,
        "low": 3.9,
        "high": 4.1,
    }
    data = _run(transcodes(), precision={"medians": [], "drifts": [drift]}, statements=["Fastest."])
    first, *_ = _section(make_report(data), "findings").blocks
    assert isinstance(first, Statements)
    assert first.texts[0].startswith("The control encodes of worker1 left the usual range")


def test_the_time_series_is_that_of_the_longest_valid_result() -> None:
    results = transcodes()
    degraded, valid = results[0], results[1]
    degraded["measurement"]["encode"]["wall_s"] = 100.0
    valid["measurement"]["encode"]["wall_s"] = 50.0
    assert select_result(results) == valid
    assert select_result([degraded]) == degraded
    assert select_result([]) is None


def test_a_long_series_is_shortened_for_its_plot() -> None:
    seconds = 10_000
    series = TimeSeries(
        title="clip",
        samples={"elapsed_s": [float(s) for s in range(seconds)], "fps": [25.0] * seconds},
        scores={"vmaf": [90.0] * (25 * seconds)},
        frame_rate=25.0,
    )
    report = make_report(_run(transcodes(), series=series))
    rows = [len(plot.table.rows) for plot in report.plots[-2:]]
    assert rows == [60, 295]


def test_the_data_of_the_run_are_not_changed() -> None:
    data = _run([*transcodes(), *density_and_live()])
    before = copy.deepcopy(data)
    make_report(data)
    assert data == before
