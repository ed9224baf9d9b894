"""Tests of ffrtmp run against a master whose agent works on the jobs."""

from pathlib import Path

import pytest
from ffrtmp_cli import run_watch
from ffrtmp_cli.commands import run as run_command
from modules.farm import Agent, Farm

from .conftest import Document, Ffrtmp, working
from .suite_file import write_suite

pytestmark = pytest.mark.usefixtures("profile")


@pytest.mark.slow
def test_run_uploads_the_clip_and_prints_the_results(
    farm: Farm, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    clip = tmp_path.name.encode()
    suite = write_suite(tmp_path, clip)
    with working(farm):
        outcome = ffrtmp("run", str(suite), "--directory", str(tmp_path / "out"))
    assert outcome.code == 0, outcome.err
    assert "1 file to be copied (clip.mp4)" in outcome.err
    assert "2 of 2 jobs" in outcome.err
    assert "succeeded: 2 succeeded" in outcome.err
    assert outcome.err.endswith(f"Results: {tmp_path / 'out'}\n")
    assert outcome.out.startswith("Suite demo, run ")
    assert "Medians of 2 repeats" in outcome.out
    assert (tmp_path / "out" / "results.csv").exists()
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.slow
def test_the_document_describes_the_run(farm: Farm, document: Document, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    with working(farm):
        found = document("run", str(suite))
    assert found["run"]["state"] == "succeeded"
    assert found["run"]["counts"]["succeeded"] == 2
    assert found["failures"] == []


@pytest.mark.slow
def test_failed_jobs_are_named_and_end_with_4(
    farm: Farm, document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path)
    with working(farm, Agent.fail):
        outcome = ffrtmp("run", str(suite))
    assert outcome.code == 4
    assert "2 failed" in outcome.err
    assert "clip/x264/800k" in outcome.err
    assert "There are no results." in outcome.out
    assert len(document("runs", "show", "last")["failures"]) == 2
    with working(farm, Agent.fail):
        found = document("run", str(suite), code=4)
    assert {job["failure"]["failure_class"] for job in found["failures"]}


@pytest.mark.slow
def test_a_run_can_be_detached_and_attached(
    farm: Farm, agent: Agent, document: Document, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path)
    queued = document("run", str(suite), "--detach", "--key", tmp_path.name)["run"]
    assert queued["state"] == "queued"
    again = document("run", str(suite), "--detach", "--key", tmp_path.name)["run"]
    assert again["id"] == queued["id"]
    with working(farm):
        ended = document("run", "--attach", queued["id"][-8:])["run"]
    assert (ended["id"], ended["state"]) == (queued["id"], "succeeded")


@pytest.mark.slow
def test_a_run_that_has_ended_is_not_reported_as_canceled(
    farm: Farm, ffrtmp: Ffrtmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends between the two interrupts."""
    with working(farm):
        ffrtmp("run", str(write_suite(tmp_path)))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_command, "watch_run", interrupt)
    monkeypatch.setattr(run_watch.time, "sleep", interrupt)
    outcome = ffrtmp("run", "--attach", "last")
    assert outcome.code == 130
    assert "was canceled" not in outcome.err
    assert "has ended: succeeded" in outcome.err


def test_a_key_of_another_suite_is_refused(
    agent: Agent, document: Document, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    key = f"other-{tmp_path.name}"
    document("run", str(write_suite(tmp_path)), "--detach", "--key", key)
    changed = write_suite(tmp_path, **{"bitrate_kbps: 800": "bitrate_kbps: 900"})
    outcome = ffrtmp("run", str(changed), "--detach", "--key", key)
    assert outcome.code == 1
    assert f"--key {key} was used for run" in outcome.err


def test_problems_of_a_suite_have_their_positions(
    agent: Agent, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path, libx264="libx266")
    outcome = ffrtmp("run", str(suite))
    assert outcome.code == 1
    assert f"{suite}:9:5: encodes.0.encoder: 'libx266' is not known" in outcome.err


def test_a_changed_clip_is_reported(agent: Agent, ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"another clip")
    outcome = ffrtmp("run", str(suite))
    assert outcome.code == 1
    assert "clip.mp4 has the SHA-256" in outcome.err


def test_jobs_that_would_wait_need_permission(
    farm: Farm, agent: Agent, ffrtmp: Ffrtmp, document: Document, tmp_path: Path
) -> None:
    farm.drain("worker1")
    suite = write_suite(tmp_path)
    outcome = ffrtmp("run", str(suite), "--detach")
    assert outcome.code == 1
    assert "use --wait-for-nodes" in outcome.err
    found = document("run", str(suite), "--detach", "--wait-for-nodes")
    assert found["run"]["pending"][0]["reason"] == "no_node"
    assert document("runs", "cancel", "last")["run"]["state"] == "canceled"


@pytest.mark.parametrize("arguments", [(), ("demo.yml", "--attach", "last")])
def test_run_needs_a_suite_or_a_run(ffrtmp: Ffrtmp, arguments: tuple[str, ...]) -> None:
    outcome = ffrtmp("run", *arguments)
    assert outcome.code == 2
    assert "--attach RUN" in outcome.err


def test_a_directory_with_results_is_refused_before_the_run(
    agent: Agent, ffrtmp: Ffrtmp, document: Document, tmp_path: Path
) -> None:
    before = document("runs")["runs"]
    (tmp_path / "results.json").write_text("{}")
    outcome = ffrtmp("run", str(write_suite(tmp_path)), "--directory", str(tmp_path))
    assert outcome.code == 2
    assert "choose another directory" in outcome.err
    assert document("runs")["runs"] == before


def test_a_missing_suite_is_reported(ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("run", "absent.yml")
    assert outcome.code == 1
    assert "absent.yml" in outcome.err


def test_a_run_without_permission_names_the_role(
    farm: Farm, agent: Agent, ffrtmp: Ffrtmp, tmp_path: Path
) -> None:
    token = tmp_path / "viewer"
    token.write_text("token-viewer")
    outcome = ffrtmp("run", str(write_suite(tmp_path)), "--token-file", str(token))
    assert outcome.code == 1
    assert "--token-file" in outcome.err
