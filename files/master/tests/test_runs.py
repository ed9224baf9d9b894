"""Tests of the creation of runs: refusals, the queued jobs, and the order of the jobs."""

import hashlib
from typing import Any

import pytest
from ffrtmp_master.store.runs import RunFilter


def refused(harness: Any, text: str, path: str = "/v1/runs") -> tuple[int, Any]:
    answer = harness.call("submitter", "POST", path, {"suite": text})
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()


def test_a_bad_suite_is_refused_with_its_lines(ready_harness: Any) -> None:
    text = ready_harness.suite().replace("libx264, encoder: libx264", "x, encoder: libx999")
    status, problem = refused(ready_harness, text + "bogus: 1\n")
    assert status == 422
    assert any(
        error.startswith("line 5, column ") and "libx999" in error for error in problem["errors"]
    )
    assert any(
        error.startswith("line 11, column 1: ") and "bogus" in error for error in problem["errors"]
    )


def test_the_suite_of_a_run_is_returned_as_submitted(ready_harness: Any) -> None:
    text = ready_harness.suite() + "# für München\n"
    run = ready_harness.run(text)
    answer = ready_harness.call("viewer", "GET", f"/v1/runs/{run['id']}/suite")
    assert answer.headers["content-type"] == "application/yaml"
    assert answer.content.decode() == text


def test_a_source_must_be_uploaded_before_a_run_but_not_before_a_plan(harness: Any) -> None:
    harness.register("worker1")
    status, problem = refused(harness, harness.suite())
    assert status == 422
    assert problem["errors"] == [
        f"source clip (SHA-256 {harness.clip_sha256}) is not uploaded",
    ]
    plan = harness.ok("submitter", "POST", "/v1/runs/plan", {"suite": harness.suite(rates=2)})
    assert (plan["suite_name"], plan["jobs"], plan["nodes"]) == ("test", 2, ["worker1"])
    assert plan["scenarios"] == ["clip/libx264/1000k", "clip/libx264/1001k"]
    assert [file["is_stored"] for file in plan["files"]] == [False]
    assert harness.ok("viewer", "GET", "/v1/runs")["items"] == []


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/plan"])
def test_a_run_that_must_not_wait_needs_a_node_with_the_encoder(
    ready_harness: Any, path: str
) -> None:
    text = ready_harness.suite(encoders=("libx264", "libx265"), more="when_unmet: refuse\n")
    status, problem = refused(ready_harness, text, path)
    assert status == 422
    assert problem["errors"] == [
        "clip/libx265/1000k: no node meets the requirements: worker1 lacks encoder libx265"
    ]


@pytest.mark.parametrize("node_state", ["offline", "draining", "none"])
def test_a_farm_without_nodes_refuses_the_run_or_lets_it_wait(
    harness: Any, node_state: str
) -> None:
    harness.upload()
    if node_state != "none":
        harness.register("worker1")
    if node_state == "offline":
        harness.clock.advance(61)
    if node_state == "draining":
        harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    status, problem = refused(harness, harness.suite(more="when_unmet: refuse\n"))
    assert status == 422
    wanted = "no node is registered" if node_state == "none" else f"worker1 is {node_state}"
    (error,) = problem["errors"]
    assert error.startswith("clip/libx264/1000k: ")
    assert error.endswith(wanted)
    run = harness.run(harness.suite(more="when_unmet: wait\n"))
    (job,) = harness.every("/v1/jobs", run=run["id"])
    assert (job["state"], job["node"]) == ("queued", None)


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs/plan"])
def test_by_default_a_suite_that_no_registered_node_can_run_is_refused(
    harness: Any, path: str
) -> None:
    harness.upload()
    status, problem = refused(harness, harness.suite(), path)
    assert status == 422
    assert problem["errors"] == ["clip/libx264/1000k: no node is registered"]
    harness.register("worker1")
    harness.register("worker2")
    harness.ok("admin", "PATCH", "/v1/nodes/worker2", {"state": "draining"})
    status, problem = refused(harness, harness.suite(encoders=("libx264", "libx265")), path)
    assert status == 422
    assert "when_unmet: wait" in problem["detail"]
    assert problem["errors"] == [
        "clip/libx265/1000k: no node meets the requirements: worker1, worker2 lack encoder libx265"
    ]


@pytest.mark.parametrize("node_state", ["offline", "draining"])
def test_by_default_a_suite_waits_for_an_offline_or_draining_node(
    ready_harness: Any, node_state: str
) -> None:
    harness = ready_harness
    harness.register("worker2", "libx265")
    if node_state == "offline":
        harness.clock.advance(61)
        harness.register("worker1")
    else:
        harness.ok("admin", "PATCH", "/v1/nodes/worker2", {"state": "draining"})
    run = harness.run(harness.suite(encoders=("libx264", "libx265")))
    jobs = {
        job["scenario"]["name"]: job["node"] for job in harness.every("/v1/jobs", run=run["id"])
    }
    assert jobs == {"clip/libx264/1000k": "worker1", "clip/libx265/1000k": None}
    assert run["nodes"] == ["worker1"]


def test_too_many_jobs_are_refused(ready_harness: Any) -> None:
    status, problem = refused(ready_harness, ready_harness.suite(rates=101, repeats=1000))
    assert status == 422
    assert "101000 jobs" in problem["detail"]


def test_each_node_gets_the_jobs_it_can_run(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx264", "libx265")
    run = ready_harness.run(ready_harness.suite(encoders=("libx264", "libx265"), repeats=2))
    assert run["nodes"] == ["worker1", "worker2"]
    jobs = ready_harness.ok("viewer", "GET", "/v1/jobs", params={"run": run["id"]})["items"]
    places = sorted((job["node"], job["scenario"]["encode"]["encoder"]) for job in jobs)
    assert places == sorted(
        2 * [("worker1", "libx264"), ("worker2", "libx264"), ("worker2", "libx265")]
    )


def test_repeats_are_interleaved_in_the_order_of_the_seed(ready_harness: Any) -> None:
    def order(seed: int) -> list[tuple[int, str]]:
        body = {"suite": ready_harness.suite(rates=8, repeats=3), "seed": seed}
        run = ready_harness.ok("submitter", "POST", "/v1/runs", body)
        assert run["seed"] == seed
        jobs = ready_harness.ok("viewer", "GET", "/v1/jobs", params={"run": run["id"]})["items"]
        assert [job["position"] for job in jobs] == list(range(24))
        return [(job["repeat"], job["scenario"]["name"]) for job in jobs]

    first = order(7)
    assert [repeat for repeat, _ in first] == 8 * [1] + 8 * [2] + 8 * [3]
    blocks = [[name for _, name in first[n : n + 8]] for n in (0, 8, 16)]
    assert len({tuple(sorted(block)) for block in blocks}) == 1
    assert len({tuple(block) for block in blocks}) == 3
    assert order(7) == first
    assert order(8) != first


_PAIRED = """
ffmpegs: [{name: old}, {name: new}, {name: other}]
compare: [{ffmpegs: [new, old]}, {nodes: [worker1, worker2]}]
"""


def test_the_jobs_of_a_pair_are_neighbors_in_random_order(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx264")
    text = ready_harness.suite(rates=4, repeats=6) + _PAIRED
    run = ready_harness.ok("submitter", "POST", "/v1/runs", {"suite": text, "seed": 3})
    params = {"run": run["id"], "limit": 1000}
    jobs = ready_harness.ok("viewer", "GET", "/v1/jobs", params=params)["items"]
    assert len(jobs) == 4 * 6 * 3 * 2
    orders = set()
    for node in ("worker1", "worker2"):
        own = [
            (job["repeat"], *job["scenario"]["name"].rsplit("/", 1))
            for job in jobs
            if job["node"] == node
        ]
        paired = [key for key in own if key[2] != "other"]
        first, second = paired[::2], paired[1::2]
        assert [key[:2] for key in first] == [key[:2] for key in second]
        # No job of another build is between the two of a pair.
        for one_side, other_side in zip(first, second, strict=True):
            assert own.index(other_side) == own.index(one_side) + 1
        orders |= {(a[2], b[2]) for a, b in zip(first, second, strict=True)}
    assert orders == {("old", "new"), ("new", "old")}
    # Both nodes measure the scenarios in the same order, so that they do so at about the same time.
    measured = [
        list(dict.fromkeys((j["repeat"], j["scenario"]["name"].rsplit("/", 1)[0]) for j in of_node))
        for of_node in ([job for job in jobs if job["node"] == n] for n in ("worker1", "worker2"))
    ]
    assert [key[0] for key in measured[0]] == [key[0] for key in measured[1]]


def test_a_pair_with_a_node_that_gets_no_jobs_is_refused(ready_harness: Any) -> None:
    text = ready_harness.suite() + "\ncompare: [{nodes: [worker1, worker9]}]\n"
    status, problem = refused(ready_harness, text)
    assert status == 422
    assert "worker9" in problem["detail"]


def test_the_same_idempotency_key_returns_the_same_run(ready_harness: Any) -> None:
    def post(caller: str = "submitter", **changed: Any) -> Any:
        body = {"suite": ready_harness.suite()} | changed
        return ready_harness.call(
            caller, "POST", "/v1/runs", body, headers={"Idempotency-Key": "k1"}
        )

    first = post()
    assert first.status_code == 201
    assert first.headers["location"] == f"/v1/runs/{first.json()['id']}"
    again = post()
    assert (again.status_code, again.json()) == (200, first.json())
    other = post(suite=ready_harness.suite(rates=2))
    assert other.status_code == 422
    assert "k1" in other.json()["detail"]
    assert post("admin").status_code == 201, "another submitter's key is another key"
    assert len(ready_harness.ok("viewer", "GET", "/v1/runs")["items"]) == 2


def test_a_key_belongs_to_its_owner_in_every_lookup(ready_harness: Any) -> None:
    made = {
        caller: ready_harness.call(
            caller,
            "POST",
            "/v1/runs",
            {"suite": ready_harness.suite()},
            headers={"Idempotency-Key": "k1"},
        ).json()["id"]
        for caller in ("submitter", "admin")
    }

    def found(caller: str, query: str) -> list[str]:
        items = ready_harness.ok(caller, "GET", f"/v1/runs?{query}")["items"]
        return [run["id"] for run in items]

    assert found("submitter", "key=k1") == [made["submitter"]]
    assert found("admin", "key=k1&cursor=") == [made["admin"]]
    assert found("viewer", "key=k1") == []
    assert found("viewer", "key=k1&created_by=submitter") == [made["submitter"]]
    assert found("admin", "created_by=submitter") == [made["submitter"]]
    assert found("submitter", "key=k2") == []
    with pytest.raises(ValueError, match="one submitter"):
        RunFilter(key="k1")


def test_lists_are_paged(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=150, repeats=3))
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"run": run["id"], "cursor": cursor}
        page = ready_harness.ok("viewer", "GET", "/v1/jobs", params=params)
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 450
    for path in ("/v1/jobs", "/v1/runs", "/v1/results"):
        answer = ready_harness.call("viewer", "GET", path, params={"cursor": "nonsense"})
        assert answer.status_code == 422


def test_the_newest_run_is_listed_first(ready_harness: Any) -> None:
    runs = [ready_harness.run()["id"] for _ in range(3)]
    listed = [run["id"] for run in ready_harness.ok("viewer", "GET", "/v1/runs")["items"]]
    assert listed == runs[::-1]


def test_a_run_for_other_content_needs_that_content(ready_harness: Any) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    status, problem = refused(ready_harness, ready_harness.suite(sha256=other))
    assert status == 422
    assert other in problem["errors"][0]


def test_an_ffmpeg_by_file_must_be_uploaded_and_its_jobs_wait_for_a_node_that_runs_it(
    ready_harness: Any,
) -> None:
    harness = ready_harness
    program = b"not really an FFmpeg"
    digest = hashlib.sha256(program).hexdigest()
    definition = f"{{name: patched, file: ffmpeg, sha256: {digest}}}"
    text = harness.suite(more=f"ffmpegs:\n  - name: ours\n  - {definition}\n")
    status, problem = refused(harness, text)
    assert status == 422
    assert problem["errors"] == [f"FFmpeg patched (SHA-256 {digest}) is not uploaded"]
    harness.ok("submitter", "PUT", f"/v1/sources/{digest}", content=program)
    run = harness.run(text + "when_unmet: wait\n")
    jobs = {job["scenario"]["name"]: job for job in harness.every("/v1/jobs", run=run["id"])}
    assert sorted(jobs) == ["clip/libx264/1000k/ours", "clip/libx264/1000k/patched"]
    ours, patched = (jobs[f"clip/libx264/1000k/{name}"] for name in ("ours", "patched"))
    assert (ours["node"], ours["waiting"]) == ("worker1", "waits for its turn")
    assert patched["node"] is None
    assert "worker1 lacks permission to run a suite's FFmpeg" in patched["waiting"]
    assert patched["scenario"]["ffmpeg"] == {"name": "patched", "sha256": digest}
    status, problem = refused(harness, text + "when_unmet: refuse\n")
    assert status == 422
    assert "worker_allow_ffmpeg_under_test" in problem["errors"][0]
