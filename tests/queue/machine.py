"""Everything that can be said to a master, in any order, against a model of what it should do."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import specimens
from databases import settings_for
from ffrtmp_master.farm import Farm
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.requirements import Priority
from ffrtmp_shared.states import JOB_TRANSITIONS, JobState, RunState, run_state
from house import House, SetClock, serving
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from postgresql import Database

from .model import BACKOFF_S, FINAL, HELD, LEASE_S, STEP_S, Model, ModelJob, ModelNode

NewDatabase = Callable[[], AbstractContextManager[Database]]

ENCODERS = (("libx264",), ("libx265",), ("libx264", "libx265"))
priorities = st.sampled_from([priority.value for priority in Priority])
encoders = st.sampled_from(["libx264", "libx265"])
racks = st.sampled_from([None, "a", "b"])
nodes = st.sampled_from(specimens.NODES)
slots = st.integers(1, 2)


@dataclass(frozen=True)
class Attempt:
    """An attempt that was handed out at some time."""

    job: ModelJob
    node: str
    slot: int
    number: int


class MasterMachine(RuleBasedStateMachine):
    """One master after another on one database."""

    jobs = Bundle("jobs")
    runs = Bundle("runs")
    attempts = Bundle("attempts")

    def __init__(self, new_database: NewDatabase, folder: Path) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = SetClock()
        self.model = Model(self.clock.now)
        settings = settings_for(self.stack.enter_context(new_database()), folder)
        self.settings = msgspec.structs.replace(
            settings,
            lease_s=LEASE_S,
            retry_backoff_s=BACKOFF_S,
            priority_step_s=STEP_S,
            # Which nodes a run finds active is not what is tested here.
            node_offline_s=1e9,
            requests_per_s_max=1e6,
        )
        self.masters = self.stack.enter_context(ExitStack())
        self.house = self._start()
        self.house.upload()
        self.keys = 0

    def _start(self) -> House:
        farm = Farm(self.settings, self.clock, sweep_s=3600)
        return self.masters.enter_context(serving(farm, self.clock))

    def teardown(self) -> None:
        try:
            self._check_the_whole_story()
        finally:
            self.stack.close()

    # --- nodes ---

    @initialize()
    def first_node(self) -> None:
        self.register("worker1", ENCODERS[2], None)

    @rule(name=nodes, encoders=st.sampled_from(ENCODERS), rack=racks)
    def register(self, name: str, encoders: tuple[str, ...], rack: str | None) -> None:
        self.house.register(name, *encoders, labels={"rack": rack} if rack else None)
        known = self.model.nodes.get(name)
        is_draining = known is not None and known.draining
        self.model.nodes[name] = ModelNode(name, encoders, rack, is_draining)

    @rule(name=nodes, state=st.sampled_from(["active", "draining"]))
    def drain_or_activate(self, name: str, state: str) -> None:
        answer = self.house.call("admin", "PATCH", f"/v1/nodes/{name}", {"state": state})
        if name not in self.model.nodes:
            assert answer.status_code == 404
            return
        assert answer.status_code == 200, answer.text
        self.model.nodes[name].draining = state == "draining"

    @rule(name=nodes)
    def remove_node(self, name: str) -> None:
        answer = self.house.call("admin", "DELETE", f"/v1/nodes/{name}")
        if self.model.held_on(name):
            assert answer.status_code == 409
        elif name not in self.model.nodes:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 204, answer.text
            self.model.remove_node(name)

    # --- submitting ---

    @rule(
        target=jobs,
        encoder=encoders,
        node=st.none() | nodes,
        rack=racks,
        priority=priorities,
        exclusive=st.booleans(),
        max_attempts=st.integers(1, 3),
        deadline_s=st.sampled_from([None, 30.0, 100.0]),
    )
    def submit(self, encoder: str, node: str | None, rack: str | None, **more: Any) -> ModelJob:
        wanted: dict[str, Any] = {"node": node} if node else {}
        if rack:
            wanted["labels"] = {"rack": rack}
        body = specimens.job(encoder, requirements=wanted, **more)
        self.keys += 1
        headers = {"Idempotency-Key": f"key{self.keys}"}
        sent = self.house.call("submitter", "POST", "/v1/jobs", body, headers=headers)
        assert sent.status_code == 201, sent.text
        # As after an answer that was lost.
        again = self.house.call("submitter", "POST", "/v1/jobs", body, headers=headers)
        assert (again.status_code, again.json()["id"]) == (200, sent.json()["id"])
        job = self.model.add(sent.json())
        assert (job.encoder, job.node, job.label, job.priority, job.exclusive) == (
            encoder,
            node,
            rack,
            more["priority"],
            more["exclusive"],
        )
        return job

    @rule(
        target=runs,
        encoder=encoders,
        rates=st.integers(1, 3),
        repeats=st.integers(1, 2),
        placement=st.sampled_from(["each", "any", "{node: worker2}"]),
        priority=priorities,
        exclusive=st.booleans(),
    )
    def create_run(
        self,
        encoder: str,
        rates: int,
        repeats: int,
        placement: str,
        priority: str,
        exclusive: bool,
    ) -> str:
        text = specimens.suite(
            encoders=(encoder,),
            rates=rates,
            repeats=repeats,
            placement=placement,
            more=f"priority: {priority}\nexclusive: {str(exclusive).lower()}\n",
        )
        run_id: str = self.house.run(text)["id"]
        made = [self.model.add(sent) for sent in self.house.every("/v1/jobs", run=run_id)]
        fitting = sorted(
            node.name
            for node in self.model.nodes.values()
            if encoder in node.encoders and not node.draining
        )
        places = [job.node for job in made]
        wanted = {"each": fitting or [None], "any": [None], "{node: worker2}": ["worker2"]}
        assert sorted(map(str, places)) == sorted(map(str, wanted[placement] * rates * repeats))
        assert {(job.priority, job.exclusive) for job in made} == {(priority, exclusive)}
        return run_id

    @rule(job=jobs, priority=priorities)
    def change_priority(self, job: ModelJob, priority: str) -> None:
        path = f"/v1/jobs/{job.id}"
        answer = self.house.call("submitter", "PATCH", path, {"priority": priority})
        assert answer.status_code == (409 if job.is_final else 200), answer.text
        if not job.is_final:
            job.priority = priority

    # --- agents ---

    @rule(target=attempts, node=nodes, slot=slots)
    def claim(self, node: str, slot: int) -> Any:
        if node not in self.model.nodes:
            body = {"node": node, "slot": slot}
            assert self.house.call(node, "POST", "/v1/claims", body).status_code == 409
            return multiple()
        expected = self.model.claim(node, slot)
        return self._check_claim(self.house.claim(node, slot), expected, node, slot)

    def _check_claim(self, got: Any, expected: ModelJob | None, node: str, slot: int) -> Any:
        if expected is None:
            assert got is None
            return multiple()
        assert got is not None, f"{node} should have been given {expected}"
        note(f"claimed {got['job']['id']} attempt {got['attempt']}")
        assert (got["job"]["id"], got["attempt"]) == (expected.id, expected.attempt)
        return Attempt(expected, node, slot, expected.attempt)

    @rule(one=attempts)
    def heartbeat(self, one: Attempt) -> None:
        body = {"attempt": one.number, "progress": {"stage": "encode"}}
        answer = self.house.call(one.node, "POST", f"/v1/jobs/{one.job.id}/heartbeat", body)
        if not self.model.holds(one.job, one.node, one.number):
            assert answer.status_code == 409
            return
        assert answer.json()["cancel"] is one.job.cancel_requested
        one.job.state = "running"
        self.model.renew(one.job)

    @rule(target=attempts, one=attempts, claims_next=st.booleans())
    def result(self, one: Attempt, claims_next: bool) -> Any:
        """Hand a result in: in time, late, or once more."""
        body: dict[str, Any] = {"attempt": one.number, "measurement": specimens.measurement()}
        if claims_next:
            body["next"] = {"slot": one.slot}
        answer = self.house.call(one.node, "POST", f"/v1/jobs/{one.job.id}/result", body)
        is_stored = self.model.results.get(one.job.id) == one.number
        if not is_stored and not self.model.holds(one.job, one.node, one.number):
            assert answer.status_code == 409
            assert f"attempt {one.number}" in answer.json()["detail"]
            return multiple()
        if claims_next and one.node not in self.model.nodes:
            # It is an old result, and the node was removed since.
            assert is_stored
            return multiple()
        assert answer.status_code == 200, answer.text
        if not is_stored:
            self.model.take_result(one.job)
        assert answer.json()["repeated"] is is_stored
        assert answer.json()["state"] == one.job.state
        if not claims_next:
            return multiple()
        expected = self.model.claim(one.node, one.slot)
        return self._check_claim(answer.json()["next"], expected, one.node, one.slot)

    @rule(one=attempts, kind=st.sampled_from(FailureClass))
    def failure(self, one: Attempt, kind: FailureClass) -> None:
        failure = {"failure_class": kind, "message": "so it was"}
        body = {"attempt": one.number, "failure": failure}
        answer = self.house.call(one.node, "POST", f"/v1/jobs/{one.job.id}/failure", body)
        if not self.model.holds(one.job, one.node, one.number):
            assert answer.status_code == 409
            return
        assert answer.status_code == 200, answer.text
        self.model.end_attempt(one.job, kind)
        assert answer.json()["state"] == one.job.state

    # --- operators ---

    @rule(job=jobs)
    def cancel_job(self, job: ModelJob) -> None:
        self.house.ok("submitter", "POST", f"/v1/jobs/{job.id}/cancel")
        self.model.cancel([job])

    @rule(run_id=runs)
    def cancel_run(self, run_id: str) -> None:
        self.house.ok("submitter", "POST", f"/v1/runs/{run_id}/cancel")
        self.model.cancel(self.model.of_run(run_id))

    @rule(target=jobs, job=jobs)
    def retry_job(self, job: ModelJob) -> Any:
        answer = self.house.call("submitter", "POST", f"/v1/jobs/{job.id}/retry")
        if job.state not in ("failed", "canceled") or job.superseded_by:
            assert answer.status_code == 409
            return multiple()
        assert answer.status_code == 201, answer.text
        new = self.model.add(answer.json())
        job.superseded_by = new.id
        assert new.retry_of == job.id
        return new

    @rule(run_id=runs)
    def retry_run(self, run_id: str) -> None:
        over = [
            job
            for job in self.model.of_run(run_id)
            if job.state in ("failed", "canceled") and not job.superseded_by
        ]
        self.house.ok("submitter", "POST", f"/v1/runs/{run_id}/retry", {})
        sent = self.house.every("/v1/jobs", run=run_id)
        new = [self.model.add(one) for one in sent if one["id"] not in self.model.jobs]
        assert sorted(str(job.retry_of) for job in new) == sorted(job.id for job in over)
        for job in new:
            assert job.retry_of is not None
            self.model.jobs[job.retry_of].superseded_by = job.id

    @rule(target=jobs, run_id=runs, number=st.integers(0, 100))
    def name_a_job_of_a_run(self, run_id: str, number: int) -> ModelJob:
        """Let the rules for single jobs meet those of runs."""
        of_run = self.model.of_run(run_id)
        return of_run[number % len(of_run)]

    # --- time and mishap ---

    @rule(seconds=st.sampled_from([1, 5, 20, 31, 61, 3600]), sweeps=st.booleans())
    def pass_time(self, seconds: int, sweeps: bool) -> None:
        self.clock.advance(seconds)
        self.model.now = self.clock.now
        if sweeps:
            self.house.sweep()
            self.model.sweep()

    @rule(is_kill=st.booleans())
    def restart(self, is_kill: bool) -> None:
        if not is_kill:
            self.masters.close()
        # A killed master says no goodbye: it is left as it was, until all is over.
        self.house = self._start()
        self.model.spare()

    @rule(one=consumes(attempts))
    def forget(self, one: Attempt) -> None:
        """Keep the rules from dealing with old attempts alone."""

    # --- what must always hold ---

    @invariant()
    def jobs_are_as_they_should_be(self) -> None:
        found = {job["id"]: job for job in self.house.every("/v1/jobs")}
        assert found.keys() == self.model.jobs.keys(), "a job was lost or came from nowhere"
        for job_id, job in self.model.jobs.items():
            wanted = job.seen()
            assert {key: found[job_id][key] for key in wanted} == wanted
        for name in specimens.NODES:
            held = [
                job
                for job in found.values()
                if job["state"] in HELD and job["leased_to"] == name
            ]
            # Said apart from the model, which could be as wrong as the master.
            assert len(held) <= 1 or not any(job["exclusive"] for job in held)

    def _check_the_whole_story(self) -> None:
        self._check_results()
        for job in self.model.jobs.values():
            self._check_history(job)
        for run_id in {job.run_id for job in self.model.jobs.values() if job.run_id}:
            run = self.house.run_now(run_id)
            counts = self.model.counts(run_id)
            assert run["counts"] == counts
            state = run_state({JobState(name): count for name, count in counts.items()})
            assert RunState(run["state"]) is state
            assert (run["finished_at"] is not None) == state.is_final

    def _check_results(self) -> None:
        found = self.house.every("/v1/results")
        stored = {(one["job_id"], one["attempt"]) for one in found}
        assert len(stored) == len(found), "a result was stored twice"
        assert stored == set(self.model.results.items())

    def _check_history(self, job: ModelJob) -> None:
        history = self.house.history(job.id)
        assert history[0][:2] == (None, "queued")
        assert history[-1][1] == job.state
        for (_, last, last_attempt), (before, after, attempt) in zip(
            history, history[1:], strict=False
        ):
            assert before == last, "a transition is missing"
            assert JobState(after) in JOB_TRANSITIONS[JobState(last)]
            assert attempt == last_attempt + (after == "leased")
        assert [after for _, after, _ in history].count("leased") == job.attempt
        assert sum(after in FINAL for _, after, _ in history) == job.is_final
