"""Tests of a job's life cycle: claims, fencing, leases, failures, cancellation, and draining."""

import json
from typing import Any

import factories
import msgspec
import pytest


def test_a_job_succeeds(ready_harness: Any) -> None:
    run = ready_harness.run()
    assert run["state"] == "queued"
    claim = ready_harness.claim("worker1")
    assert (claim["attempt"], claim["lease_s"], claim["heartbeat_s"]) == (1, 60, 10)
    answer = ready_harness.heartbeat(claim)
    assert answer.json() == {"lease_s": 60.0, "cancel": False}
    assert ready_harness.job(claim["job"]["id"])["progress"]["frames"] == 5
    stored = ready_harness.result(claim)
    assert stored.json()["state"] == "succeeded"
    assert ready_harness.history(claim["job"]["id"]) == [
        (None, "queued", 0),
        ("queued", "leased", 1),
        ("leased", "running", 1),
        ("running", "succeeded", 1),
    ]
    now = ready_harness.run_now(run["id"])
    assert now["state"] == "succeeded"
    assert now["finished_at"] is not None
    assert now["counts"]["succeeded"] == 1
    (result,) = ready_harness.ok("viewer", "GET", "/v1/results")["items"]
    assert result["measurement"]["encode"]["speed"] == 2.0
    assert result["node"] == "worker1"


def test_a_node_does_one_job_at_a_time(ready_harness: Any) -> None:
    ready_harness.run(ready_harness.suite(rates=3))
    first = ready_harness.claim("worker1", slot=1)
    assert first is not None
    assert ready_harness.claim("worker1", slot=2) is None
    assert ready_harness.result(first).is_success
    assert ready_harness.claim("worker1", slot=2) is not None


def test_no_job_is_handed_out_twice(ready_harness: Any) -> None:
    ready_harness.register("worker2")
    ready_harness.run(ready_harness.suite(rates=1, placement="any"))
    claims = [ready_harness.claim("worker1"), ready_harness.claim("worker2")]
    assert [claim is None for claim in claims] == [False, True]


def test_a_job_is_leased_only_to_a_node_that_can_run_it(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx265")
    ready_harness.run(ready_harness.suite(encoders=("libx265",), placement="any"))
    assert ready_harness.claim("worker1") is None
    assert ready_harness.claim("worker2")["job"]["scenario"]["encode"]["encoder"] == "libx265"


def test_a_job_for_one_node_is_not_leased_to_another(ready_harness: Any) -> None:
    ready_harness.run()
    ready_harness.register("worker2")
    assert ready_harness.claim("worker2") is None
    assert ready_harness.claim("worker1") is not None


def test_the_oldest_run_comes_first_and_positions_count(ready_harness: Any) -> None:
    runs = [ready_harness.run(ready_harness.suite(rates=3)) for _ in range(2)]
    order = []
    for _ in range(6):
        claim = ready_harness.claim("worker1")
        order.append((claim["job"]["run_id"], claim["job"]["position"]))
        ready_harness.result(claim)
    assert order == [(run["id"], position) for run in runs for position in range(3)]


def test_a_slot_that_claims_again_ends_its_previous_attempt(ready_harness: Any) -> None:
    ready_harness.run()
    old = ready_harness.claim("worker1", slot=1)
    assert ready_harness.claim("worker1", slot=2) is None
    new = ready_harness.claim("worker1", slot=1)
    assert new["job"]["id"] == old["job"]["id"]
    assert new["attempt"] == 2
    assert ready_harness.result(old).status_code == 409
    reasons = ready_harness.ok("viewer", "GET", f"/v1/jobs/{new['job']['id']}/transitions")
    assert "the agent restarted" in reasons[2]["reason"]


@pytest.mark.parametrize("action", ["heartbeat", "result", "fail"])
def test_an_expired_attempt_is_refused(ready_harness: Any, action: str) -> None:
    ready_harness.run()
    expired = ready_harness.claim("worker1")
    ready_harness.clock.advance(61)
    ready_harness.run_maintenance()
    ready_harness.clock.advance(10)
    current = ready_harness.claim("worker1")
    assert current["attempt"] == 2
    more = ("network",) if action == "fail" else ()
    answer = getattr(ready_harness, action)(expired, *more)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "attempt 1" in answer.json()["detail"]
    assert ready_harness.job(current["job"]["id"])["state"] == "leased"
    assert ready_harness.result(current).is_success


@pytest.mark.parametrize("action", ["heartbeat", "result", "fail"])
def test_a_node_cannot_act_on_the_lease_of_another(ready_harness: Any, action: str) -> None:
    ready_harness.register("worker2")
    ready_harness.run(ready_harness.suite(placement="any"))
    claim = ready_harness.claim("worker1")
    more = ("network",) if action == "fail" else ()
    answer = getattr(ready_harness, action)(claim, *more, node="worker2")
    assert answer.status_code == 409
    assert "not leased to node worker2" in answer.json()["detail"]


def test_a_second_post_of_a_result_changes_nothing(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    assert ready_harness.result(claim).json()["repeated"] is False
    assert ready_harness.result(claim).json()["repeated"] is True
    assert len(ready_harness.ok("viewer", "GET", "/v1/results")["items"]) == 1


def test_a_heartbeat_renews_the_lease(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    for _ in range(5):
        ready_harness.clock.advance(50)
        ready_harness.run_maintenance()
        assert ready_harness.heartbeat(claim).is_success
    assert ready_harness.job(claim["job"]["id"])["attempt"] == 1


def test_an_expired_lease_is_retried_and_finally_fails(ready_harness: Any) -> None:
    run = ready_harness.run()
    for attempt in (1, 2, 3):
        claim = ready_harness.claim("worker1")
        assert claim["attempt"] == attempt
        ready_harness.clock.advance(61)
        ready_harness.run_maintenance()
        assert ready_harness.claim("worker1") is None
        ready_harness.clock.advance(60)
    job = ready_harness.job(claim["job"]["id"])
    assert job["state"] == "failed"
    assert job["failure"]["failure_class"] == "lease_expired"
    assert ready_harness.run_now(run["id"])["state"] == "failed"


def test_a_node_failure_is_retried_after_a_growing_pause(ready_harness: Any) -> None:
    ready_harness.run()
    for pause_s in (5, 10):
        claim = ready_harness.claim("worker1")
        assert ready_harness.fail(claim, "network").json()["state"] == "queued"
        ready_harness.clock.advance(pause_s - 1)
        assert ready_harness.claim("worker1") is None
        ready_harness.clock.advance(1)
    claim = ready_harness.claim("worker1")
    assert ready_harness.fail(claim, "network").json()["state"] == "failed"


@pytest.mark.parametrize("kind", ["invalid_settings", "source_checksum", "encode_failed"])
def test_a_job_failure_is_final(ready_harness: Any, kind: str) -> None:
    run = ready_harness.run()
    claim = ready_harness.claim("worker1")
    assert ready_harness.fail(claim, kind).json()["state"] == "failed"
    assert ready_harness.job(claim["job"]["id"])["failure"]["message"] == f"it was {kind}"
    assert ready_harness.run_now(run["id"])["state"] == "failed"


def test_canceling_ends_queued_jobs_and_requests_running_ones_to_stop(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=3))
    claim = ready_harness.claim("worker1")
    now = ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    assert (now["counts"]["canceled"], now["counts"]["leased"]) == (2, 1)
    assert ready_harness.heartbeat(claim).json()["cancel"] is True
    assert ready_harness.fail(claim, "stopped").json()["state"] == "canceled"
    end = ready_harness.run_now(run["id"])
    assert (end["state"], end["counts"]["canceled"]) == ("canceled", 3)
    assert end["finished_at"] is not None


def test_a_result_that_comes_after_canceling_is_not_stored(ready_harness: Any) -> None:
    run = ready_harness.run()
    claim = ready_harness.claim("worker1")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    assert ready_harness.result(claim).json()["state"] == "canceled"
    assert ready_harness.ok("viewer", "GET", "/v1/results")["items"] == []


def test_a_lease_that_expires_after_canceling_ends_the_job(ready_harness: Any) -> None:
    run = ready_harness.run()
    claim = ready_harness.claim("worker1")
    ready_harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
    ready_harness.clock.advance(61)
    ready_harness.run_maintenance()
    assert ready_harness.job(claim["job"]["id"])["state"] == "canceled"


def test_a_draining_node_finishes_and_claims_nothing(ready_harness: Any) -> None:
    ready_harness.run(ready_harness.suite(rates=2))
    claim = ready_harness.claim("worker1")
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "draining"})
    assert ready_harness.heartbeat(claim).is_success
    assert ready_harness.result(claim).is_success
    assert ready_harness.claim("worker1") is None
    ready_harness.register("worker1")
    assert ready_harness.claim("worker1") is None, "registering again must not end the draining"
    ready_harness.ok("admin", "PATCH", "/v1/nodes/worker1", {"state": "active"})
    assert ready_harness.claim("worker1") is not None


def test_a_node_must_register_before_it_claims(ready_harness: Any) -> None:
    body = {"node": "worker2", "slot": 1, "wait_s": 0}
    answer = ready_harness.call("worker2", "POST", "/v1/claims", body)
    assert answer.status_code == 409
    assert "register it first" in answer.json()["detail"]


def test_a_node_is_offline_until_its_agent_makes_a_request(ready_harness: Any) -> None:
    ready_harness.clock.advance(61)
    assert ready_harness.ok("viewer", "GET", "/v1/nodes")["items"][0]["state"] == "offline"
    source = f"/v1/sources/{ready_harness.clip_sha256}"
    for make_request in (
        lambda: ready_harness.claim("worker1"),
        lambda: ready_harness.call("worker1", "GET", source),
    ):
        make_request()
        assert ready_harness.ok("viewer", "GET", "/v1/nodes")["items"][0]["state"] == "active"
        ready_harness.clock.advance(61)


def states(harness: Any) -> dict[str, str]:
    items = harness.ok("viewer", "GET", "/v1/nodes")["items"]
    return {node["name"]: node["state"] for node in items}


def test_downtime_of_the_master_does_not_count_as_offline_time(ready_harness: Any) -> None:
    ready_harness.register("worker2", "libx264")
    ready_harness.clock.advance(61)
    ready_harness.claim("worker1")
    assert states(ready_harness) == {"worker1": "active", "worker2": "offline"}
    ready_harness.clock.advance(1000)
    with ready_harness.restarted() as harness:
        assert states(harness) == {"worker1": "active", "worker2": "offline"}
        harness.clock.advance(30)
        assert harness.claim("worker2") is None
        harness.clock.advance(31)
        assert states(harness) == {"worker1": "offline", "worker2": "active"}


def test_a_clock_set_back_keeps_no_inactive_node_online(ready_harness: Any) -> None:
    ready_harness.clock.advance(-3600)
    with ready_harness.client.portal() as portal:
        portal.call(ready_harness.services.maintenance.resume)
    assert states(ready_harness) == {"worker1": "active"}
    ready_harness.clock.advance(61)
    assert states(ready_harness) == {"worker1": "offline"}


def test_a_node_can_be_removed_only_when_it_is_free(ready_harness: Any) -> None:
    run = ready_harness.run(ready_harness.suite(rates=2))
    claim = ready_harness.claim("worker1")
    answer = ready_harness.call("admin", "DELETE", "/v1/nodes/worker1")
    assert answer.status_code == 409
    ready_harness.result(claim)
    assert ready_harness.call("admin", "DELETE", "/v1/nodes/worker1").status_code == 204
    assert ready_harness.ok("viewer", "GET", "/v1/nodes")["items"] == []
    assert ready_harness.run_now(run["id"])["state"] == "canceled"
    assert ready_harness.call("admin", "DELETE", "/v1/nodes/worker1").status_code == 404


def test_a_restart_ends_no_lease(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    ready_harness.clock.advance(1000)
    with ready_harness.restarted() as harness:
        harness.run_maintenance()
        assert harness.heartbeat(claim).is_success
        harness.clock.advance(61)
        harness.run_maintenance()
        assert harness.heartbeat(claim).status_code == 409


def test_a_node_with_many_unused_encoders_can_claim(ready_harness: Any) -> None:
    ready_harness.register("worker1", *(f"encoder{n}" for n in range(200)), "libx264")
    ready_harness.run()
    assert ready_harness.claim("worker1") is not None


def test_a_missing_field_of_a_measurement_is_unavailable_with_a_reason(ready_harness: Any) -> None:
    ready_harness.run()
    claim = ready_harness.claim("worker1")
    measurement = json.loads(msgspec.json.encode(factories.measurement()))
    del measurement["encode"]["fps_p1"]
    body = json.dumps({"attempt": 1, "measurement": measurement}, indent=1)
    path = f"/v1/jobs/{claim['job']['id']}/result"
    assert ready_harness.call("worker1", "POST", path, content=body).status_code == 200
    (result,) = ready_harness.ok("viewer", "GET", "/v1/results")["items"]
    reason = "this release of the agent did not measure it"
    assert result["measurement"]["encode"].pop("fps_p1") == {
        "status": "unavailable",
        "reason": reason,
    }
    assert result["measurement"] == measurement
