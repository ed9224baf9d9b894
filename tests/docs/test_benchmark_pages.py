"""Tests of docs/performance.md and docs/overhead.md, which the benchmarks write."""

from pathlib import Path

import pytest
from bench import page
from bench.figures import Figure, Limit
from bench.parts import PARTS
from bench.stage_recorder import StageRecorder
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_worker.activity import ActivitySender, SlotActivity
from polling import wait_until

_DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("part", PARTS)
def test_the_page_is_that_of_its_record(tmp_path: Path, part: str) -> None:
    name = PARTS[part].page
    written = page.write(page.read(_DOCS / f"{name}.json"), tmp_path, part)
    for file in (written, written.with_suffix(".json")):
        assert file.read_text() == (_DOCS / file.name).read_text(), f"write docs/{file.name} again"


@pytest.mark.parametrize("part", PARTS)
def test_every_figure_was_measured_on_a_commit(part: str) -> None:
    record = page.read(_DOCS / f"{PARTS[part].page}.json")
    assert record.entries
    dirty = [key for key, entry in record.entries.items() if entry.machine.is_dirty]
    assert dirty == []


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        # The interval of seven values extends from the lowest to the highest.
        ((0.98, 0.99, 0.99, 0.99, 1.0, 1.0, 1.005), "holds"),
        ((0.83, 0.95, 0.97, 0.99, 1.03, 1.08, 1.13), "undecided"),
        ((1.02, 1.05, 1.1, 1.1, 1.2, 1.2, 1.3), "does not hold"),
        # That of nine values omits one at each end.
        ((0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 1.2), "holds"),
        # Fewer values have no interval.
        ((0.9, 1.2, 1.0), "undecided"),
        ((1.0,), "holds"),
    ],
)
def test_a_limit_holds_only_if_the_whole_interval_is_within_it(
    samples: tuple[float, ...], verdict: str
) -> None:
    figure = Figure(label="ratio", unit="", samples=samples, limit=Limit("at most", 1.01))
    assert figure.verdict == verdict
    assert (figure.shown_interval == "") is (len(samples) < 6)


def test_the_stages_of_each_job_are_recorded(tmp_path: Path) -> None:
    logged: list[str] = []
    path = tmp_path / "progress"
    with StageRecorder(path, logged.append) as recorder:
        sender = ActivitySender(path, LoopRegistry())
        for stage in ("idle", "fetch", "encode", "encode", "idle", "idle", "fetch", "report"):
            sender.send(SlotActivity(slot=1, stage=stage))
        sender.send_end(1)
        sender.close()
        wait_until(lambda: len(logged) == 2, "both jobs have ended")
    first, second = recorder.jobs()
    assert (list(first), list(second)) == (["fetch", "encode"], ["fetch", "report"])
    assert all(seconds >= 0 for job in (first, second) for seconds in job.values())
