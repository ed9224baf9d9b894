"""Tests of the Ansible modules with a real master."""

import csv
import hashlib
import json
import tarfile
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import factories
import ffrtmp_node
import ffrtmp_node_info
import ffrtmp_results
import ffrtmp_run
import ffrtmp_run_info
import ffrtmp_run_plan_info
import ffrtmp_runs_info
import pytest
from ffrtmp_master.exports.columns import COLUMNS
from ffrtmp_shared.agent_models import Claim, ClaimRequest

from .conftest import RunModule, own_farm
from .farm import CLIP, LOG, SUITE, Agent, Farm

CHECK = {"_ansible_check_mode": True}


@pytest.fixture
def suite(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The module arguments for a suite, its clip and its key, which differ between tests."""
    name: str = request.node.name
    clip = CLIP + name.encode()
    (tmp_path / "demo.yml").write_text(SUITE.format(sha256=hashlib.sha256(clip).hexdigest()))
    (tmp_path / "clip.mp4").write_bytes(clip)
    return {
        "suite": str(tmp_path / "demo.yml"),
        "sources": [{"path": str(tmp_path / "clip.mp4")}],
        "key": name,
    }


def _run_id(run_module: RunModule, farm: Farm, suite: dict[str, Any]) -> str:
    return run_module(ffrtmp_run, **farm.connection, **suite)["run"]["id"]


def test_run_is_queued_once(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    arguments = {**farm.connection, **suite}
    digest = hashlib.sha256(Path(suite["sources"][0]["path"]).read_bytes()).hexdigest()

    planned = run_module(ffrtmp_run, **arguments, **CHECK)
    assert (planned["changed"], planned["jobs"], planned["run"]) == (True, 2, None)
    assert planned["plan"]["nodes"] == ["worker1"]
    assert "created" not in planned
    assert agent.client.claim(ClaimRequest(node="worker1", slot=1)) is None

    created = run_module(ffrtmp_run, **arguments)
    assert (created["rc"], created["changed"], created["jobs"]) == (0, True, 2)
    assert created["uploaded"] == [digest]
    assert created["created"] is True
    assert created["diff"]["before"] == {}

    again = run_module(ffrtmp_run, **arguments)
    assert (again["changed"], again["run"]["id"]) == (False, created["run"]["id"])
    assert again["uploaded"] == []
    assert again["created"] is False

    planned = run_module(ffrtmp_run, **arguments, **CHECK)
    assert (planned["changed"], planned["run"]["id"]) == (False, created["run"]["id"])


def test_a_suite_is_planned_without_its_files(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    text = Path(suite["suite"]).read_text()
    arguments = {**farm.connection, "suite_text": text, "key": suite["key"]}
    planned = run_module(ffrtmp_run_plan_info, **arguments)
    assert (planned["rc"], planned["changed"], planned["plan"]["jobs"]) == (0, False, 2)
    assert [file["is_stored"] for file in planned["plan"]["files"]] == [False]
    assert planned["plan"]["existing"] is None
    run_id = _run_id(run_module, farm, suite)
    planned = run_module(ffrtmp_run_plan_info, **arguments)["plan"]
    assert (planned["existing"]["id"], planned["files"][0]["is_stored"]) == (run_id, True)
    unmet = {**arguments, "suite_text": text.replace("libx264", "libx265"), "key": "unmet"}
    refused = run_module(ffrtmp_run_plan_info, **unmet)
    assert refused["rc"] == 1
    assert "no node meets the requirements: worker1 lacks encoder libx265" in refused["msg"]
    waiting = run_module(ffrtmp_run_plan_info, **unmet, when_unmet="wait")["plan"]["waiting"]
    assert [group["scenarios"] for group in waiting] == [["clip/x264/800k"]]


@pytest.mark.parametrize("mode", [{}, CHECK])
def test_a_key_of_another_suite_is_refused_with_the_remedy(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], mode: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    file = Path(suite["suite"])
    file.write_text(file.read_text() + "slowest_speed: 0.1\n")
    refused = run_module(ffrtmp_run, **farm.connection, **suite, **mode)
    assert refused["rc"] == 1
    assert f"key {suite['key']} was used for run {run_id} of suite demo" in refused["msg"]
    assert "Choose another key" in refused["msg"]


def test_nothing_is_uploaded_for_an_invalid_suite(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    file = Path(suite["suite"])
    valid = file.read_text()
    file.write_text(valid.replace("libx264", "libx266"))
    refused = run_module(ffrtmp_run, **farm.connection, **suite)
    assert refused["rc"] == 1
    assert "line 9, column 5: encodes.0.encoder: 'libx266' is not known" in refused["msg"]
    file.write_text(valid)
    planned = run_module(ffrtmp_run, **farm.connection, **suite, **CHECK)
    assert len(planned["uploaded"]) == 1


def test_a_key_of_another_submitter_is_not_found(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    other = {**farm.connection, "token": "token-submitter"}
    canceled = run_module(ffrtmp_run, **other, state="canceled", key=suite["key"])
    assert (canceled["rc"], canceled["changed"], canceled["run"]) == (0, False, None)
    assert run_module(ffrtmp_run_info, **farm.connection, run_id=run_id)["is_final"] is False
    planned = run_module(ffrtmp_run, **other, **suite, **CHECK)
    assert (planned["changed"], planned["run"]) == (True, None)


def test_the_reason_why_jobs_wait_is_returned(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    file = Path(suite["suite"])
    file.write_text(file.read_text() + "precision: {interval: 0.05}\ncontrol: false\n")
    run_id = _run_id(run_module, farm, suite)
    node = {**farm.connection, "name": "worker1"}
    run_module(ffrtmp_node, **node, state="draining")
    message = "no suitable node is active: worker1 is draining"

    found = run_module(ffrtmp_run_info, **farm.connection, run_id=run_id)
    assert found["run"]["pending"] == [{"reason": "no_node", "message": message, "jobs": 2}]
    scenario = "clip/x264/800k"
    assert found["precision"] == {
        "requested": 0.05,
        "medians": 1,
        "precise": 0,
        "least_precise": {
            "node": "worker1", "scenario": scenario, "repeats": 0, "interval": None
        },
    }  # fmt: skip
    assert found["summary"] == [
        f"Run {run_id} of suite demo: queued (2 queued)",
        "repeat 0, interval not known yet (requested 5 %)",
        f"2 jobs wait: {message}",
    ]
    resumed = run_module(ffrtmp_run, **farm.connection, **suite)
    assert resumed["notes"] == [f"2 jobs wait: {message}"]

    run_module(ffrtmp_node, **node, state="active")
    agent.succeed(agent.claim())
    found = run_module(ffrtmp_run_info, **farm.connection, run_id=run_id)
    assert found["precision"]["least_precise"]["repeats"] == 1
    assert "no_node" not in {item["reason"] for item in found["run"]["pending"]}


@pytest.mark.slow
def test_another_reason_ends_the_wait(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    later = threading.Timer(0.5, lambda: farm.drain("worker1"))
    later.start()
    returned = run_module(ffrtmp_run_info, **farm.connection, run_id=run_id, wait_change_s=60)
    later.join()
    assert [item["reason"] for item in returned["run"]["pending"]] == ["no_node"]


@own_farm
def test_ended_runs_are_listed_only_on_request(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    assert run_module(ffrtmp_runs_info, **farm.connection)["runs"] == []
    first = _run_id(run_module, farm, suite)
    second = _run_id(run_module, farm, suite | {"key": "second"})
    run_module(ffrtmp_run, **farm.connection, state="canceled", key=suite["key"], wait=True)

    for arguments, wanted in (({}, [second]), ({"include_final": True}, [second, first])):
        found = run_module(ffrtmp_runs_info, **farm.connection, **arguments)
        assert [run["id"] for run in found["runs"]] == wanted
        assert found["changed"] is False


def test_run_is_canceled_once(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    arguments = {**farm.connection, "state": "canceled", "key": suite["key"], "wait": True}

    assert run_module(ffrtmp_run, **arguments, **CHECK)["changed"] is True
    assert run_module(ffrtmp_run_info, **farm.connection, run_id=run_id)["is_final"] is False
    canceled = run_module(ffrtmp_run, **arguments)
    assert (canceled["changed"], canceled["run"]["state"]) == (True, "canceled")
    assert run_module(ffrtmp_run, **arguments)["changed"] is False
    assert run_module(ffrtmp_run, **arguments, **CHECK)["changed"] is False
    unknown = run_module(ffrtmp_run, **{**arguments, "key": "never used"})
    assert (unknown["rc"], unknown["changed"], unknown["run"]) == (0, False, None)


def test_waiting_ends_with_the_run_or_the_timeout(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    arguments = {**farm.connection, **suite, "wait": True}

    late = run_module(ffrtmp_run, **arguments, wait_timeout_s=0.1)
    assert late["rc"] == 1
    assert "still queued" in late["msg"]
    assert late["run"]["counts"]["queued"] == 2

    agent.succeed(agent.claim())
    agent.succeed(agent.claim())
    done = run_module(ffrtmp_run, **arguments)
    assert (done["rc"], done["changed"], done["run"]["state"]) == (0, False, "succeeded")


@pytest.mark.slow
def test_waiting_survives_a_restart_of_the_master(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.succeed(agent.claim())
    agent.succeed(agent.claim())
    agent.client.close()
    farm.stop()
    later = threading.Timer(1.0, farm.start)
    later.start()

    returned = run_module(
        ffrtmp_run_info, **farm.connection, run_id=run_id, wait_change_s=30, known_counts={}
    )
    later.join()

    assert (returned["rc"], returned["run"]["state"]) == (0, "succeeded")


def test_an_unreachable_master_is_reported(run_module: RunModule, farm: Farm) -> None:
    farm.stop()

    returned = run_module(ffrtmp_node_info, **farm.connection)

    assert returned["rc"] == 1
    assert f"the master at {farm.url} did not answer" in returned["msg"]
    assert returned["temporary"] is True


def test_an_unknown_run_is_not_a_temporary_failure(run_module: RunModule, farm: Farm) -> None:
    unknown = "019a0000-0000-7000-8000-000000000000"

    returned = run_module(ffrtmp_run_info, **farm.connection, run_id=unknown)

    assert (returned["rc"], returned["temporary"]) == (1, False)


def test_failed_run_fails_the_task_with_an_explanation(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.fail(agent.claim())
    claim = agent.claim()

    returned = run_module(ffrtmp_run_info, **farm.connection, run_id=run_id, include_jobs=True)
    assert [(job["node"], job["stage"], job["ratio"]) for job in returned["active"]] == [
        ("worker1", "encode", 0.5)
    ]
    assert [f["failure_class"] for f in returned["failures"]] == ["encode_failed"]
    assert returned["failures"][0]["log_tail"] == "Invalid option"
    assert len(returned["jobs"]) == 2

    agent.succeed(claim)
    ended = run_module(ffrtmp_run, **farm.connection, **suite, wait=True)
    assert ended["rc"] == 1
    assert " of suite demo failed: 1 succeeded, 1 failed" in ended["msg"]
    assert ended["run"]["id"] == run_id


@pytest.mark.slow
def test_info_waits_for_a_change(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_id = _run_id(run_module, farm, suite)
    arguments = {**farm.connection, "run_id": run_id, "wait_change_s": 20}
    counts = run_module(ffrtmp_run_info, **arguments, known_counts={})["run"]["counts"]
    claims: list[Claim] = []
    later = threading.Timer(0.5, lambda: claims.append(agent.claim()))
    later.start()

    returned = run_module(ffrtmp_run_info, **arguments, known_counts=counts)
    later.join()
    agent.succeed(claims[0])

    assert returned["run"]["counts"]["queued"] == 1
    assert returned["is_final"] is False


def test_results_are_fetched_once(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], tmp_path: Path
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.succeed(agent.claim(), vmaf=None)
    dest = tmp_path / "out"
    arguments = {
        **farm.connection,
        "run_id": run_id,
        "dest": str(dest),
        "farm_name": "prod",
    }

    part = run_module(ffrtmp_results, **arguments)
    assert (part["complete"], part["count"]) == (False, 1)
    agent.succeed(agent.claim(), vmaf=91.0)

    planned = run_module(ffrtmp_results, **arguments, **CHECK)
    assert (planned["changed"], planned["sha256"]) == (True, None)
    fetched = run_module(ffrtmp_results, **arguments)
    assert (fetched["changed"], fetched["complete"], fetched["count"]) == (True, True, 2)
    assert "results.csv" in fetched["diff"]["after"].split()
    again = run_module(ffrtmp_results, **arguments)
    assert (again["changed"], again["sha256"]) == (False, fetched["sha256"])
    assert run_module(ffrtmp_results, **arguments, **CHECK)["changed"] is False

    assert fetched["rows"][0]["n"] == 2
    title, summary, *_ = fetched["table"].splitlines()
    assert title.startswith(f"Suite demo, farm prod, run {run_id}, 20")
    assert summary.startswith("Medians of 2 repeats, source: clip")
    assert " 91.00 " in fetched["table"]
    assert "cost EUR" in fetched["table"]
    # The price of an hour, for an encode of 2.5 s at a speed of 2.
    assert fetched["rows"][0]["cost_per_video_hour"] == pytest.approx(0.36 / 2)
    assert (dest / "table.txt").read_text() == fetched["table"] + "\n"
    assert (dest / "suite.yml").read_text() == Path(suite["suite"]).read_text()
    assert fetched["name"].endswith(f"Z-demo-{run_id[-8:]}")
    assert (fetched["rows"][0]["vmaf_mean"], fetched["rows"][0]["vmaf_n"]) == (91.0, 1)
    with (dest / "results.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert {row["vmaf_mean"] for row in cells} == {"", "91.0"}
    assert list(cells[0]) == [column.name for column in COLUMNS]
    assert {row["suite_name"] for row in cells} == {"demo"}
    document = json.loads((dest / "results.json").read_text())
    assert [row["result_id"] for row in cells] == [r["id"] for r in document["results"]]
    assert document["farm"] == "prod"
    assert document["run"]["state"] == "succeeded"
    assert {r["measurement"]["output"]["codec"] for r in document["results"]} == {"h264"}
    logs = sorted(str(path.relative_to(dest)) for path in dest.glob("logs/*/*/*"))
    assert logs == [
        "logs/worker1/clip_x264_800k-r1-a1/ffmpeg.log",
        "logs/worker1/clip_x264_800k-r2-a1/ffmpeg.log",
    ]
    assert (dest / logs[0]).read_bytes() == LOG
    with tarfile.open(fetched["archive"]) as archive:
        assert sorted(archive.getnames()) == fetched["files"]
        end = datetime.fromisoformat(document["run"]["finished_at"])
        assert {entry.mtime for entry in archive} == {int(end.timestamp())}


def _stored(farm: Farm) -> list[Path]:
    """Return the files of the master's artifacts."""
    return [path for path in (farm.folder / "artifacts").rglob("*") if path.is_file()]


@pytest.mark.slow
@own_farm
def test_the_rest_is_fetched_if_the_master_has_removed_an_artifact(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], tmp_path: Path
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.succeed(agent.claim())
    agent.succeed(agent.claim(), log=b"another log\n")
    (removed,) = [path for path in _stored(farm) if path.read_bytes() == LOG]
    content = removed.read_bytes()
    removed.unlink()
    dest = tmp_path / "out"
    arguments = {**farm.connection, "run_id": run_id, "dest": str(dest)}

    planned = run_module(ffrtmp_results, **arguments, **CHECK)
    answer = run_module(ffrtmp_results, **arguments)
    again = run_module(ffrtmp_results, **arguments)

    assert answer["rc"] == 0, answer["msg"]
    (missing,) = answer["missing"]
    assert missing["name"] == "ffmpeg.log"
    assert missing["is_removed"] is True
    # Ansible displays warnings if a test has imported its controller, and otherwise returns them.
    warning = "".join(f"{answer['stderr']}{answer.get('warnings', '')}".split())
    assert "nolongerhas1artifacts" in warning
    assert missing["path"] in warning
    assert json.loads((dest / "missing.json").read_text()) == answer["missing"]
    assert (answer["count"], answer["complete"]) == (2, True)
    assert [path.read_bytes() for path in dest.rglob("ffmpeg.log")] == [b"another log\n"]
    with tarfile.open(answer["archive"]) as archive:
        assert sorted(archive.getnames()) == answer["files"]
    assert missing["path"] not in answer["files"]
    assert [entry["path"] for entry in planned["missing"]] == [missing["path"]]
    assert (again["changed"], again["sha256"]) == (False, answer["sha256"])

    removed.write_bytes(content)
    restored = run_module(ffrtmp_results, **arguments)
    assert (restored["missing"], restored["changed"]) == ([], True)
    assert not (dest / "missing.json").exists()


@pytest.mark.slow
@own_farm
def test_the_rest_is_fetched_before_a_damaged_artifact_fails_the_task(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], tmp_path: Path
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.succeed(agent.claim())
    agent.succeed(agent.claim(), log=b"another log\n")
    (damaged,) = [path for path in _stored(farm) if path.read_bytes() == LOG]
    damaged.chmod(0o600)
    damaged.write_bytes(LOG.upper())
    dest = tmp_path / "out"

    answer = run_module(ffrtmp_results, **farm.connection, run_id=run_id, dest=str(dest))

    assert answer["rc"] == 1
    assert "the file on the master is damaged" in answer["msg"]
    assert "missing.json lists all of them" in answer["msg"]
    assert [entry["is_removed"] for entry in answer["missing"]] == [False]
    assert len(json.loads((dest / "results.json").read_text())["results"]) == 2
    assert [path.read_bytes() for path in dest.rglob("ffmpeg.log")] == [b"another log\n"]


@pytest.mark.slow
@own_farm
def test_damaged_artifact_fails_the_task(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], tmp_path: Path
) -> None:
    run_id = _run_id(run_module, farm, suite)
    agent.succeed(agent.claim())
    stored = [path for path in (farm.folder / "artifacts").rglob("*") if path.is_file()]
    assert len(stored) == 1
    stored[0].chmod(0o600)
    stored[0].write_bytes(LOG.upper())

    answer = run_module(
        ffrtmp_results, **farm.connection, run_id=run_id, dest=str(tmp_path / "out")
    )

    assert answer["rc"] == 1
    assert "the file on the master is damaged" in answer["msg"]
    assert not list((tmp_path / "out").rglob("ffmpeg.log"))


def test_node_is_drained_and_activated_once(
    run_module: RunModule, farm: Farm, agent: Agent
) -> None:
    for state, other in (("draining", "active"), ("active", "draining")):
        arguments = {**farm.connection, "name": "worker1", "state": state, "wait": True}
        planned = run_module(ffrtmp_node, **arguments, **CHECK)
        assert (planned["changed"], planned["node"]["state"]) == (True, other)
        done = run_module(ffrtmp_node, **arguments)
        assert (done["changed"], done["node"]["state"]) == (True, state)
        assert done["diff"] == {"before": {"state": other}, "after": {"state": state}}
        assert run_module(ffrtmp_node, **arguments)["changed"] is False
        assert run_module(ffrtmp_node, **arguments, **CHECK)["changed"] is False


def test_draining_waits_for_a_job_that_belongs_to_no_run(
    run_module: RunModule, farm: Farm, agent: Agent
) -> None:
    job_id = farm.submit(factories.job())
    claim = agent.claim()
    assert str(claim.job.id) == job_id
    arguments = {**farm.connection, "name": "worker1", "state": "draining", "wait": True}

    early = run_module(ffrtmp_node, **arguments, wait_timeout_s=0.1)
    agent.succeed(claim)
    done = run_module(ffrtmp_node, **arguments)

    assert early["rc"] == 1
    assert early["jobs"] == [job_id]
    assert done["rc"] == 0, done["msg"]


def test_node_is_removed_once(run_module: RunModule, farm: Farm, agent: Agent) -> None:
    arguments = {**farm.connection, "name": "worker1", "state": "absent"}

    assert run_module(ffrtmp_node, **arguments, **CHECK)["changed"] is True
    assert len(run_module(ffrtmp_node_info, **farm.connection)["nodes"]) == 1
    assert run_module(ffrtmp_node, **arguments)["changed"] is True
    assert run_module(ffrtmp_node, **arguments)["changed"] is False
    assert run_module(ffrtmp_node, **arguments, **CHECK)["changed"] is False
    unknown = run_module(ffrtmp_node, **{**arguments, "state": "active"})
    assert unknown["rc"] == 1
    assert "no node worker1 (known: none)" in unknown["msg"]


@pytest.mark.slow
def test_a_working_node_is_waited_for_and_not_removed(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    _run_id(run_module, farm, suite)
    claim = agent.claim()
    arguments = {**farm.connection, "name": "worker1"}

    late = run_module(ffrtmp_node, **arguments, state="draining", wait=True, wait_timeout_s=0.1)
    assert late["rc"] == 1
    assert late["jobs"] == [str(claim.job.id)]
    refused = run_module(ffrtmp_node, **arguments, state="absent")
    assert refused["rc"] == 1
    assert "Drain node worker1 first" in refused["msg"]

    later = threading.Timer(0.5, agent.succeed, [claim])
    later.start()
    done = run_module(ffrtmp_node, **arguments, state="draining", wait=True, wait_timeout_s=120)
    later.join()
    assert done["rc"] == 0


def test_node_info_names_one_node(run_module: RunModule, farm: Farm, agent: Agent) -> None:
    known = run_module(ffrtmp_node_info, **farm.connection, name="worker1")
    unknown = run_module(ffrtmp_node_info, **farm.connection, name="worker2")

    assert [node["name"] for node in known["nodes"]] == ["worker1"]
    assert unknown["nodes"] == []


def test_every_error_of_a_suite_is_reported(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    text = (
        Path(suite["suite"])
        .read_text()
        .replace("libx264", "libx999")
        .replace("repeats: 2", "repeat: 2")
    )
    Path(suite["suite"]).write_text(text)

    answer = run_module(ffrtmp_run, **farm.connection, **suite)

    assert answer["rc"] == 1
    assert "libx999" in answer["msg"]
    assert "unknown key repeat" in answer["msg"]
    assert answer["msg"].count("line ") == 2


@pytest.mark.parametrize("mode", [{}, CHECK])
def test_a_suite_that_no_registered_node_can_run_is_refused(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any], mode: dict[str, Any]
) -> None:
    text = Path(suite["suite"]).read_text()
    Path(suite["suite"]).write_text(text.replace("libx264", "libx265"))

    answer = run_module(ffrtmp_run, **farm.connection, **suite, **mode)

    assert answer["rc"] == 1
    assert "no node can run some scenarios" in answer["msg"]
    assert "clip/x264/800k: no node meets the requirements: worker1 lacks encoder" in answer["msg"]
    runs = run_module(ffrtmp_runs_info, **farm.connection, include_final=True)["runs"]
    assert suite["key"] not in [run["key"] for run in runs]


def test_a_suite_waits_for_a_node_that_is_draining(
    run_module: RunModule, farm: Farm, agent: Agent, suite: dict[str, Any]
) -> None:
    run_module(ffrtmp_node, **farm.connection, name="worker1", state="draining")

    answer = run_module(ffrtmp_run, **farm.connection, **suite)

    assert (answer["rc"], answer["run"]["state"], answer["jobs"]) == (0, "queued", 2)
