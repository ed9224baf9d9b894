"""A state machine that sends requests of all kinds in any order and compares master and model."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import factories
import msgspec
from databases import settings_for
from ffrtmp_master.services import Services
from ffrtmp_shared.requirements import Priority
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)
from in_process_master import MasterHarness, SetClock, running_master
from postgresql import Database

from . import invariants
from .agent_rules import Agents, Attempt, chosen, nodes, picks
from .model import BACKOFF_S, LEASE_S, STEP_S, Model, ModelJob, ModelNode

NewDatabase = Callable[[], AbstractContextManager[Database]]

ENCODERS = (("libx264", "libx265"), ("libx264", "libx265"), ("libx264",), ("libx265",))
priorities = st.sampled_from([priority.value for priority in Priority])
encoders = st.sampled_from(["libx264", "libx265"])
racks = st.sampled_from([None, None, None, None, "a", "b"])
bound_to = st.sampled_from([None, None, None, None, "worker1", "worker2", "worker3"])


class MasterMachine(Agents, RuleBasedStateMachine):
    """A master, which may be restarted on its database, and the model of its queue."""

    jobs = Bundle("jobs")
    runs = Bundle("runs")

    def __init__(self, new_database: NewDatabase, folder: Path, event_counts: Counter[str]) -> None:
        """Start a master on a new database; the machine counts its events in `event_counts`."""
        super().__init__()
        self.event_counts = event_counts
        self.attempts: list[Attempt] = []
        self.stack = ExitStack()
        self.clock = SetClock()
        self.model = Model(self.clock.now)
        settings = settings_for(self.stack.enter_context(new_database()), folder)
        self.settings = msgspec.structs.replace(
            settings,
            lease_s=LEASE_S,
            retry_backoff_s=BACKOFF_S,
            priority_step_s=STEP_S,
            # Nodes do not go offline, because the model does not include the liveness of nodes.
            node_offline_s=1e9,
            requests_per_s_max=1e6,
        )
        self.masters = self.stack.enter_context(ExitStack())
        self.harness = self._start()
        self.harness.upload()
        for name in ("worker1", "worker2"):
            self._register(name, ENCODERS[0], None)
        self.keys = 0

    def _start(self) -> MasterHarness:
        services = Services(self.settings, self.clock, maintenance_interval_s=3600)
        return self.masters.enter_context(running_master(services, self.clock))

    def teardown(self) -> None:
        try:
            invariants.check_all(self.harness, self.model)
        finally:
            self.stack.close()

    # --- nodes ---

    @rule(
        name=nodes,
        action=st.sampled_from(["register", "register", "activate", "activate", "drain", "remove"]),
        encoders=st.sampled_from(ENCODERS),
        rack=racks,
    )
    def change_node(
        self, name: str, action: str, encoders: tuple[str, ...], rack: str | None
    ) -> None:
        if action == "register":
            self._register(name, encoders, rack)
        elif action == "remove":
            self._remove_node(name)
        else:
            self._drain_or_activate(name, "draining" if action == "drain" else "active")

    def _register(self, name: str, encoders: tuple[str, ...], rack: str | None) -> None:
        self.harness.register(name, *encoders, labels={"rack": rack} if rack else None)
        known = self.model.nodes.get(name)
        is_draining = known is not None and known.draining
        self.model.nodes[name] = ModelNode(name, encoders, rack, is_draining)

    def _drain_or_activate(self, name: str, state: str) -> None:
        answer = self.harness.call("admin", "PATCH", f"/v1/nodes/{name}", {"state": state})
        if name not in self.model.nodes:
            assert answer.status_code == 404
            return
        assert answer.status_code == 200, answer.text
        self.model.nodes[name].draining = state == "draining"
        self.event_counts[f"node {state}"] += 1

    def _remove_node(self, name: str) -> None:
        answer = self.harness.call("admin", "DELETE", f"/v1/nodes/{name}")
        if self.model.held_on(name):
            assert answer.status_code == 409
        elif name not in self.model.nodes:
            assert answer.status_code == 404
        else:
            assert answer.status_code == 204, answer.text
            self.model.remove_node(name)
            self.event_counts["node removed"] += 1

    # --- submissions ---

    @rule(
        target=jobs,
        encoder=encoders,
        node=bound_to,
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
        body = factories.job(encoder, requirements=wanted, **more)
        self.keys += 1
        headers = {"Idempotency-Key": f"key{self.keys}"}
        sent = self.harness.call("submitter", "POST", "/v1/jobs", body, headers=headers)
        assert sent.status_code == 201, sent.text
        # The request is repeated, as if its answer had been lost.
        again = self.harness.call("submitter", "POST", "/v1/jobs", body, headers=headers)
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
        *,
        encoder: str,
        rates: int,
        repeats: int,
        placement: str,
        priority: str,
        exclusive: bool,
    ) -> str:
        text = factories.suite(
            encoders=(encoder,),
            rates=rates,
            repeats=repeats,
            placement=placement,
            more=f"priority: {priority}\nexclusive: {str(exclusive).lower()}\nwhen_unmet: wait\n",
        )
        run_id: str = self.harness.run(text)["id"]
        created = [self.model.add(sent) for sent in self.harness.every("/v1/jobs", run=run_id)]
        fitting = sorted(
            node.name
            for node in self.model.nodes.values()
            if encoder in node.encoders and not node.draining
        )
        places = [job.node for job in created]
        wanted = {"each": fitting or [None], "any": [None], "{node: worker2}": ["worker2"]}
        assert sorted(map(str, places)) == sorted(map(str, wanted[placement] * rates * repeats))
        assert {(job.priority, job.exclusive) for job in created} == {(priority, exclusive)}
        return run_id

    # --- operators ---

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks)
    def cancel_held_job(self, pick: int) -> None:
        self._cancel_job(chosen(self.active_attempts(), pick).job)

    @rule(target=jobs, job=jobs, action=st.sampled_from(["cancel", "retry", "retry", "raise"]))
    def change_job(self, job: ModelJob, action: str) -> Any:
        if action == "retry":
            return self._retry(job)
        if action == "cancel":
            self._cancel_job(job)
            return multiple()
        body = {"priority": "live"}
        answer = self.harness.call("submitter", "PATCH", f"/v1/jobs/{job.id}", body)
        assert answer.status_code == (409 if job.is_final else 200), answer.text
        if not job.is_final:
            job.priority = "live"
            self.event_counts["priority changed"] += 1
        return multiple()

    def _cancel_job(self, job: ModelJob) -> None:
        self.harness.ok("submitter", "POST", f"/v1/jobs/{job.id}/cancel")
        self.model.cancel([job])
        self.event_counts["job canceled"] += 1

    def _retry(self, job: ModelJob) -> Any:
        answer = self.harness.call("submitter", "POST", f"/v1/jobs/{job.id}/retry")
        if job.state not in ("failed", "canceled") or job.superseded_by:
            assert answer.status_code == 409
            return multiple()
        assert answer.status_code == 201, answer.text
        new = self.model.add(answer.json())
        job.superseded_by = new.id
        assert new.retry_of == job.id
        self.event_counts["job retried"] += 1
        return new

    @rule(run_id=runs, action=st.sampled_from(["cancel", "retry", "retry"]))
    def change_run(self, run_id: str, action: str) -> None:
        if action == "cancel":
            self.harness.ok("submitter", "POST", f"/v1/runs/{run_id}/cancel")
            self.model.cancel(self.model.of_run(run_id))
            return
        if any(job.cancel_requested and not job.is_final for job in self.model.of_run(run_id)):
            answer = self.harness.call("submitter", "POST", f"/v1/runs/{run_id}/retry", {})
            assert answer.status_code == 409, answer.text
            self.event_counts["run retried while jobs were being canceled"] += 1
            return
        repeated = [
            job
            for job in self.model.of_run(run_id)
            if job.state in ("failed", "canceled") and not job.superseded_by
        ]
        self.harness.ok("submitter", "POST", f"/v1/runs/{run_id}/retry", {})
        sent = self.harness.every("/v1/jobs", run=run_id)
        new = [self.model.add(job) for job in sent if job["id"] not in self.model.jobs]
        assert sorted(str(job.retry_of) for job in new) == sorted(job.id for job in repeated)
        for job in new:
            assert job.retry_of is not None
            self.model.jobs[job.retry_of].superseded_by = job.id
        self.event_counts["run retried"] += bool(new)

    @rule(target=jobs, run_id=runs, number=st.integers(0, 100))
    def pick_job_of_run(self, run_id: str, number: int) -> ModelJob:
        """Add a job of a run to the bundle of jobs that other rules use."""
        of_run = self.model.of_run(run_id)
        return of_run[number % len(of_run)]

    # --- time and faults ---

    @rule(seconds=st.sampled_from([1, 5, 5, 20, 31, 61, 3600]), sweeps=st.booleans())
    def pass_time(self, seconds: int, sweeps: bool) -> None:
        self.clock.advance(seconds)
        self.model.now = self.clock.now
        if sweeps:
            before = len(self.active_attempts())
            self.harness.run_maintenance()
            self.model.sweep()
            self.event_counts["attempt expired"] += before - len(self.active_attempts())

    @rule(is_kill=st.booleans())
    def restart(self, is_kill: bool) -> None:
        if not is_kill:
            self.masters.close()
            self.model.stop()
        # To simulate that the master is killed, it is not stopped before the end of the test.
        self.harness = self._start()
        self.model.start()
        self.event_counts["restart while jobs are held"] += bool(self.active_attempts())

    @invariant()
    def jobs_equal_the_model(self) -> None:
        invariants.check_jobs(self.harness, self.model)
