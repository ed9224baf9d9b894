"""What agents say to a master: in time, too late, twice, and of what is theirs no more."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import factories
import httpx
from ffrtmp_shared.failures import FailureClass
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from in_process_master import MasterHarness

from .model import Model, ModelJob

# What stands twice comes up more often: most is to be work, and mishap its spice.
nodes = st.sampled_from(["worker1", "worker1", "worker2", "worker2", "worker3"])
slots = st.integers(1, 2)
picks = st.integers(0, 50)


@dataclass(frozen=True)
class Attempt:
    """An attempt that was handed out at some time."""

    job: ModelJob
    node: str
    slot: int
    number: int


class Agents:
    """The rules of a state machine in which agents work for the master of `harness`."""

    harness: MasterHarness
    model: Model
    # What came to pass, and how often.
    seen: Counter[str]
    attempts: list[Attempt]

    def pass_time(self, seconds: int, sweeps: bool) -> None:
        """Have the clock go on."""
        raise NotImplementedError

    @rule(node=nodes, slot=slots)
    def claim(self, node: str, slot: int) -> None:
        if node not in self.model.nodes:
            body = {"node": node, "slot": slot}
            assert self.harness.call(node, "POST", "/v1/claims", body).status_code == 409
            return
        expected = self.model.claim(node, slot)
        self._check_claim(self.harness.claim(node, slot), expected, node, slot)

    def _served(self) -> list[tuple[str, int]]:
        """Return the slots that are free and should be given a job."""
        return [
            (name, slot)
            for name in sorted(self.model.nodes)
            if self.model.first_for(name) is not None
            for slot in (1, 2)
            if all(job.slot != slot for job in self.model.held_on(name))
        ]

    @precondition(lambda self: self._served())
    @rule(pick=picks)
    def claim_what_is_there(self, pick: int) -> None:
        served = self._served()
        self.claim(*served[pick % len(served)])

    @precondition(lambda self: self._served())
    @rule(pick=picks)
    def claim_as_often_as_all_else(self, pick: int) -> None:
        self.claim_what_is_there(pick)

    @precondition(lambda self: self.living())
    @rule(pick=picks)
    def claim_beside_what_is_worked_on(self, pick: int) -> None:
        """Claim for a node's other slot: an exclusive job keeps others out, and waits for them."""
        one = chosen(self.living(), pick)
        self.claim(one.node, 3 - one.slot)

    @precondition(lambda self: self.attempts and self._lives(self.attempts[-1]))
    @rule()
    def fail_as_machines_do_until_it_is_enough(self) -> None:
        """Have the newest fail again and again, with its pauses, to the last of its attempts."""
        job = self.attempts[-1].job
        while (one := self.attempts[-1]).job is job and self._lives(one):
            self._failure(one, FailureClass.NODE)
            self.pass_time(61, sweeps=False)
            self.claim(one.node, one.slot)

    def _check_claim(self, got: Any, expected: ModelJob | None, node: str, slot: int) -> None:
        if expected is None:
            assert got is None
            self.seen["claim without a job"] += 1
            return
        assert got is not None, f"{node} should have been given {expected}"
        note(f"claimed {got['job']['id']} attempt {got['attempt']}")
        assert (got["job"]["id"], got["attempt"]) == (expected.id, expected.attempt)
        self.attempts.append(Attempt(expected, node, slot, expected.attempt))
        self.seen["claim"] += 1
        self.seen["claim beside another job"] += len(self.model.held_on(node)) > 1
        self.seen["claim after another attempt"] += expected.attempt > 1

    def living(self) -> list[Attempt]:
        return [one for one in self.attempts if self._lives(one)]

    def _lives(self, one: Attempt) -> bool:
        return self.model.holds(one.job, one.node, one.number)

    @precondition(lambda self: self.living())
    @rule(pick=picks)
    def heartbeat_in_time(self, pick: int) -> None:
        self._heartbeat(chosen(self.living(), pick))

    @precondition(lambda self: self.living())
    @rule(pick=picks, claims_next=st.booleans())
    def result_in_time(self, pick: int, claims_next: bool) -> None:
        self._result(chosen(self.living(), pick), claims_next)

    @precondition(lambda self: self.living())
    @rule(pick=picks, claims_next=st.booleans())
    def result_as_often_as_all_else(self, pick: int, claims_next: bool) -> None:
        self._result(chosen(self.living(), pick), claims_next)

    @precondition(lambda self: self.living())
    @rule(pick=picks, kind=st.sampled_from(FailureClass))
    def failure_in_time(self, pick: int, kind: FailureClass) -> None:
        self._failure(chosen(self.living(), pick), kind)

    @precondition(lambda self: self.attempts)
    @rule(pick=picks, deed=st.sampled_from(["heartbeat", "result", "result and next", "failure"]))
    def word_of_any_attempt(self, pick: int, deed: str) -> None:
        """Say something of an attempt that may be over since long ago, or said it before."""
        one = chosen(self.attempts, pick)
        if deed == "heartbeat":
            self._heartbeat(one)
        elif deed == "failure":
            self._failure(one, FailureClass.NETWORK)
        else:
            self._result(one, claims_next=deed == "result and next")

    def _heartbeat(self, one: Attempt) -> None:
        body = {"attempt": one.number, "progress": {"stage": "encode"}}
        answer = self.harness.call(one.node, "POST", f"/v1/jobs/{one.job.id}/heartbeat", body)
        if not self._lives(one):
            self._check_too_late(answer, one)
            return
        assert answer.json()["cancel"] is one.job.cancel_requested
        one.job.state = "running"
        self.model.renew(one.job)
        self.seen["heartbeat"] += 1

    def _result(self, one: Attempt, claims_next: bool) -> None:
        body: dict[str, Any] = {"attempt": one.number, "measurement": factories.measurement()}
        if claims_next:
            body["next"] = {"slot": one.slot}
        answer = self.harness.call(one.node, "POST", f"/v1/jobs/{one.job.id}/result", body)
        is_stored = self.model.results.get(one.job.id) == one.number
        if not is_stored and not self._lives(one):
            self._check_too_late(answer, one)
            return
        assert answer.status_code == 200, answer.text
        if not is_stored:
            self.model.take_result(one.job)
        assert answer.json()["repeated"] is is_stored
        assert answer.json()["state"] == one.job.state
        self.seen["result repeated" if is_stored else f"result {one.job.state}"] += 1
        # The node of an old result may have been removed since: then there is nothing next.
        if claims_next and one.node in self.model.nodes:
            expected = self.model.claim(one.node, one.slot)
            self._check_claim(answer.json()["next"], expected, one.node, one.slot)

    def _failure(self, one: Attempt, kind: FailureClass) -> None:
        failure = {"failure_class": kind, "message": "so it was"}
        body = {"attempt": one.number, "failure": failure}
        answer = self.harness.call(one.node, "POST", f"/v1/jobs/{one.job.id}/failure", body)
        if not self._lives(one):
            self._check_too_late(answer, one)
            return
        assert answer.status_code == 200, answer.text
        self.model.end_attempt(one.job, kind)
        assert answer.json()["state"] == one.job.state
        self.seen[f"failure, then {one.job.state}"] += 1

    def _check_too_late(self, answer: httpx.Response, one: Attempt) -> None:
        assert answer.status_code == 409, answer.text
        assert f"attempt {one.number}" in answer.json()["detail"]
        self.seen["too late"] += 1


def chosen(attempts: Sequence[Attempt], pick: int) -> Attempt:
    """Choose one, the newest with the simplest number."""
    return attempts[-1 - pick % len(attempts)]
