"""Rules of the state machine for requests of agents that are in time, too late, or repeated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import factories
import httpx
from ffrtmp_shared.failure_classes import FailureClass
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from in_process_master import MasterHarness

from .model import Model, ModelJob

# Nodes that are listed twice are drawn more often, so that most claims are of registered nodes.
nodes = st.sampled_from(["worker1", "worker1", "worker2", "worker2", "worker3"])
slots = st.integers(1, 2)
picks = st.integers(0, 50)


@dataclass(frozen=True)
class Attempt:
    """An attempt that the master has leased, which may have ended since."""

    job: ModelJob
    node: str
    slot: int
    number: int


class Agents:
    """The rules of the state machine for the agents of the master in `harness`."""

    harness: MasterHarness
    model: Model
    # How often each event has occurred.
    event_counts: Counter[str]
    attempts: list[Attempt]

    def pass_time(self, seconds: int, sweeps: bool) -> None:
        """Advance the clock."""
        raise NotImplementedError

    @rule(node=nodes, slot=slots)
    def claim(self, node: str, slot: int) -> None:
        if node not in self.model.nodes:
            body = {"node": node, "slot": slot}
            assert self.harness.call(node, "POST", "/v1/claims", body).status_code == 409
            return
        expected = self.model.claim(node, slot)
        self._check_claim(self.harness.claim(node, slot), expected, node, slot)

    def _claimable(self) -> list[tuple[str, int]]:
        """Return the free slots, as node and number, to which the master should lease a job."""
        return [
            (name, slot)
            for name in sorted(self.model.nodes)
            if self.model.first_for(name) is not None
            for slot in (1, 2)
            if all(job.slot != slot for job in self.model.held_on(name))
        ]

    @precondition(lambda self: self._claimable())
    @rule(pick=picks)
    def claim_ready_job(self, pick: int) -> None:
        slots = self._claimable()
        self.claim(*slots[pick % len(slots)])

    @precondition(lambda self: self._claimable())
    @rule(pick=picks)
    def claim_extra_weight(self, pick: int) -> None:
        self.claim_ready_job(pick)

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks)
    def claim_for_other_slot(self, pick: int) -> None:
        """Claim for the other slot of a node that has a job.

        This tests that an exclusive job excludes other jobs on its node.
        """
        attempt = chosen(self.active_attempts(), pick)
        self.claim(attempt.node, 3 - attempt.slot)

    @precondition(lambda self: self.attempts and self._is_active(self.attempts[-1]))
    @rule()
    def fail_until_attempts_are_exhausted(self) -> None:
        """Report node failures for the job of the newest attempt until it has no attempts left."""
        job = self.attempts[-1].job
        while (attempt := self.attempts[-1]).job is job and self._is_active(attempt):
            self._failure(attempt, FailureClass.NODE)
            self.pass_time(61, sweeps=False)
            self.claim(attempt.node, attempt.slot)

    def _check_claim(self, got: Any, expected: ModelJob | None, node: str, slot: int) -> None:
        if expected is None:
            assert got is None
            self.event_counts["claim without a job"] += 1
            return
        assert got is not None, f"{node} should have got {expected}"
        note(f"claimed {got['job']['id']} attempt {got['attempt']}")
        assert (got["job"]["id"], got["attempt"]) == (expected.id, expected.attempt)
        self.attempts.append(Attempt(expected, node, slot, expected.attempt))
        self.event_counts["claim"] += 1
        self.event_counts["claim with another job on the node"] += len(self.model.held_on(node)) > 1
        self.event_counts["claim after another attempt"] += expected.attempt > 1

    def active_attempts(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if self._is_active(attempt)]

    def _is_active(self, attempt: Attempt) -> bool:
        return self.model.holds(attempt.job, attempt.node, attempt.number)

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks)
    def heartbeat_in_time(self, pick: int) -> None:
        self._heartbeat(chosen(self.active_attempts(), pick))

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks, claims_next=st.booleans())
    def result_in_time(self, pick: int, claims_next: bool) -> None:
        self._result(chosen(self.active_attempts(), pick), claims_next)

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks, claims_next=st.booleans())
    def result_extra_weight(self, pick: int, claims_next: bool) -> None:
        self._result(chosen(self.active_attempts(), pick), claims_next)

    @precondition(lambda self: self.active_attempts())
    @rule(pick=picks, kind=st.sampled_from(FailureClass))
    def failure_in_time(self, pick: int, kind: FailureClass) -> None:
        self._failure(chosen(self.active_attempts(), pick), kind)

    @precondition(lambda self: self.attempts)
    @rule(pick=picks, kind=st.sampled_from(["heartbeat", "result", "result and next", "failure"]))
    def send_report_of_any_attempt(self, pick: int, kind: str) -> None:
        """Send a report for any attempt, which may have ended or have been reported already."""
        attempt = chosen(self.attempts, pick)
        if kind == "heartbeat":
            self._heartbeat(attempt)
        elif kind == "failure":
            self._failure(attempt, FailureClass.NETWORK)
        else:
            self._result(attempt, claims_next=kind == "result and next")

    def _heartbeat(self, attempt: Attempt) -> None:
        body = {"attempt": attempt.number, "progress": {"stage": "encode"}}
        answer = self.harness.call(
            attempt.node, "POST", f"/v1/jobs/{attempt.job.id}/heartbeat", body
        )
        if not self._is_active(attempt):
            self._check_too_late(answer, attempt)
            return
        assert answer.json()["cancel"] is attempt.job.cancel_requested
        attempt.job.state = "running"
        self.model.renew(attempt.job)
        self.event_counts["heartbeat"] += 1

    def _result(self, attempt: Attempt, claims_next: bool) -> None:
        body: dict[str, Any] = {"attempt": attempt.number, "measurement": factories.measurement()}
        if claims_next:
            body["next"] = {"slot": attempt.slot}
        answer = self.harness.call(attempt.node, "POST", f"/v1/jobs/{attempt.job.id}/result", body)
        is_stored = self.model.results.get(attempt.job.id) == attempt.number
        if not is_stored and not self._is_active(attempt):
            self._check_too_late(answer, attempt)
            return
        assert answer.status_code == 200, answer.text
        if not is_stored:
            self.model.store_result(attempt.job)
        assert answer.json()["repeated"] is is_stored
        assert answer.json()["state"] == attempt.job.state
        self.event_counts["result repeated" if is_stored else f"result {attempt.job.state}"] += 1
        # The node of an old attempt may have been removed since. Then it does not get a next job.
        if claims_next and attempt.node in self.model.nodes:
            expected = self.model.claim(attempt.node, attempt.slot)
            self._check_claim(answer.json()["next"], expected, attempt.node, attempt.slot)

    def _failure(self, attempt: Attempt, kind: FailureClass) -> None:
        failure = {"failure_class": kind, "message": "failed by the test"}
        body = {"attempt": attempt.number, "failure": failure}
        answer = self.harness.call(attempt.node, "POST", f"/v1/jobs/{attempt.job.id}/failure", body)
        if not self._is_active(attempt):
            self._check_too_late(answer, attempt)
            return
        assert answer.status_code == 200, answer.text
        self.model.end_attempt(attempt.job, kind)
        assert answer.json()["state"] == attempt.job.state
        self.event_counts[f"failure, then {attempt.job.state}"] += 1

    def _check_too_late(self, answer: httpx.Response, attempt: Attempt) -> None:
        assert answer.status_code == 409, answer.text
        assert f"attempt {attempt.number}" in answer.json()["detail"]
        self.event_counts["too late"] += 1


def chosen(attempts: Sequence[Attempt], pick: int) -> Attempt:
    """Return the attempt with an index, counted from the newest attempt."""
    return attempts[-1 - pick % len(attempts)]
