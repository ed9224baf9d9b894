"""The report in a real browser: marks and rows, themes, policy, accessibility and print."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, Page, running_chromium
from ffrtmp_client.report_files import write_report
from ffrtmp_client.saved_results import read_saved_results
from report_results import NO_ENERGY, density_and_live, failures, save_run, transcodes

pytestmark = pytest.mark.slow

_MARKS = """[...document.querySelectorAll('figure')].map(figure => ({
  caption: figure.querySelector('caption').textContent,
  marks: [...figure.querySelectorAll('svg [role=graphics-symbol]')].map(
    mark => mark.getAttribute('aria-label')),
  rows: [...figure.querySelectorAll('tbody tr')].map(row => [...row.cells]
    .map((cell, at) => [figure.querySelectorAll('th')[at].textContent, cell.textContent])
    .filter(([_, text]) => text).map(pair => pair.join(' ')).join(', ')),
}))"""
_CONTRAST = """(() => {
  const numbers = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const luminance = text => numbers(text).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const ratio = color => {
    const other = luminance(color);
    return (Math.max(page, other) + 0.05) / (Math.min(page, other) + 0.05);
  };
  const style = selector => [...document.querySelectorAll(selector)].map(getComputedStyle);
  return {
    marks: Math.min(...style('[role=graphics-symbol]').map(each => ratio(each.fill))),
    labels: Math.min(...style('svg text').map(each => ratio(each.fill))),
  };
})()"""
_AXE = """axe.run().then(result => result.violations
  .filter(found => ['serious', 'critical'].includes(found.impact))
  .map(found => [found.id, found.nodes[0].html]))"""
_TABLE_HEIGHTS = """[...document.querySelectorAll('details table')]
  .map(table => table.getBoundingClientRect().height)"""
_HIDDEN_LABELS = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1;
  }).map(text => text.textContent);
})"""


@dataclass(frozen=True)
class Case:
    """A report, the captions of the tables of its plots, and texts that it contains."""

    name: str
    plots: tuple[str, ...]
    texts: tuple[str, ...]
    file: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """A running browser."""
    with running_chromium() as found:
        yield found


@pytest.fixture(scope="module")
def axe(root: Path) -> str:
    """The accessibility checks, which make test-tools installs."""
    file = root / "tests/axe/node_modules/axe-core/axe.min.js"
    if not file.exists():
        pytest.fail("run make accessibility-rules once, which needs npm", pytrace=False)
    return file.read_text()


@pytest.fixture(scope="module", params=["energy", "no energy", "failures"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The report on a run with energy, on one without, and on one with only failures."""
    folder = tmp_path_factory.mktemp("run") / "results"
    if request.param == "energy":
        save_run(folder, [*transcodes(), *density_and_live()])
        plots: tuple[str, ...] = ("Bit rate", "Speed", "CPU time", "Energy", "Streams", "Repeats")
        texts: tuple[str, ...] = ("1 of 51 results are degraded (throttled in 1)",)
    elif request.param == "no energy":
        save_run(folder, transcodes(has_energy=False))
        plots = ("Bit rate", "Speed", "CPU time", "Repeats", "VMAF over the video", "Frame rate")
        texts = (
            f"Energy is unavailable: {NO_ENERGY}.",
            "The suite contains no scenario of the kind density.",
            "The suite contains no scenario of the kind live.",
        )
    else:
        save_run(folder, [], failures("<b>unknown</b> encoder"))
        plots = ()
        texts = (
            "2 of 2 jobs have not succeeded: 2 failed.",
            "<b>unknown</b> encoder",
            "No job of the run has succeeded",
        )
    file = write_report(folder, read_saved_results(folder)).path
    return Case(request.param, plots, texts, file)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_plot_has_a_mark_for_each_row_of_its_table(
    browser: Chromium, case: Case, theme: str
) -> None:
    page = Page(browser, case.file, theme=theme)
    figures: list[dict[str, Any]] = page.evaluate(_MARKS)
    for start in case.plots:
        assert any(figure["caption"].startswith(start) for figure in figures), start
    assert bool(figures) is bool(case.plots)
    for figure in figures:
        assert len(figure["marks"]) == len(figure["rows"]) > 0, figure["caption"]
        # The description of each mark contains all cells of its row.
        assert sorted(figure["marks"]) == sorted(figure["rows"])
    main = [each for each in figures if each["caption"].startswith(("Bit rate and", "Speed and"))]
    assert all(len(figure["marks"]) >= 8 for figure in main)
    text = page.evaluate("document.body.textContent")
    assert all(expected in text for expected in case.texts)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_needs_nothing_and_reports_nothing(
    browser: Chromium, case: Case, theme: str
) -> None:
    page = Page(browser, case.file, theme=theme)
    assert page.messages == []
    assert page.requested_urls == [case.file.as_uri()]
    assert page.evaluate("document.querySelectorAll('script, link, img, iframe').length") == 0
    assert case.file.stat().st_size < 1_000_000


def test_the_policy_blocks_what_a_page_might_add(browser: Chromium, case: Case) -> None:
    page = Page(browser, case.file, theme="light")
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://127.0.0.1/x'}))")
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert any("Content Security Policy" in message for message in page.messages)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_is_accessible(browser: Chromium, case: Case, axe: str, theme: str) -> None:
    page = Page(browser, case.file, theme=theme)
    page.evaluate(f"{axe}; 0")
    assert page.evaluate(_AXE) == []
    if case.plots:
        # The rules do not cover the colors of charts: 3 for graphics, 4.5 for text (WCAG 2.2).
        contrast = page.evaluate(_CONTRAST)
        assert contrast["marks"] >= 3
        assert contrast["labels"] >= 4.5
        assert page.evaluate(_HIDDEN_LABELS) == []


def test_themes_differ_and_print_shows_the_tables(browser: Chromium, case: Case) -> None:
    backgrounds = {}
    for theme in ("light", "dark"):
        page = Page(browser, case.file, theme=theme)
        backgrounds[theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert page.pdf().startswith(b"%PDF-")
        page.set_media("print", theme)
        printed = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert printed == "rgb(255, 255, 255)"
        assert all(height > 0 for height in page.evaluate(_TABLE_HEIGHTS))
    assert backgrounds["light"] != backgrounds["dark"]
