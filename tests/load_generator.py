"""Load on masters by submitters and agents, which record every acknowledged request."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import factories
import httpx
import msgspec
from master_process import MasterProcess
from polling import wait_until

_JOB = msgspec.json.encode(factories.job(exclusive=False))
_JSON = {"Content-Type": "application/json"}


@dataclass
class JobAccounting:
    """The outcomes of all clients' requests, including requests with an unknown outcome."""

    # Ids of the jobs whose submission was acknowledged, by its idempotency key.
    submitted: dict[str, str] = field(default_factory=dict)
    # Keys of the submissions that had no answer, so that their job may or may not exist.
    unknown: set[str] = field(default_factory=set)
    # Attempts (job id and number) whose result a master acknowledged.
    stored: set[tuple[str, int]] = field(default_factory=set)
    handed_out: list[tuple[str, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


MasterChoice = Callable[[], MasterProcess]


class Load:
    """Clients that run in threads and send each request to a random master."""

    def __init__(self, masters: Iterable[MasterProcess], seed: int = 0) -> None:
        """Prepare clients for some masters; `seed` determines which master gets a request."""
        self.ledger = JobAccounting()
        self._masters = tuple(masters)
        self._stop = threading.Event()
        self._seed = seed
        self._threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def start(self, *, submitters: int, slots: int) -> None:
        """Start some submitters, and the agents of all nodes with `slots` slots each."""
        for number in range(submitters):
            self._run(self._submit, number)
        for node in factories.NODES:
            for slot in range(1, slots + 1):
                self._run(self._work, node, slot)

    def stop(self) -> None:
        """Wait until all clients have finished their requests; raise a client's first error."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    @contextmanager
    def running(self, *, submitters: int, slots: int) -> Any:
        """Run the load within the context."""
        self.start(submitters=submitters, slots=slots)
        try:
            yield self.ledger
        finally:
            self.stop()

    def _run(self, target: Callable[..., None], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                target(*arguments)
            # The error is raised again in the thread of the test.
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=guarded)
        self._threads.append(thread)
        thread.start()

    def _submit(self, number: int) -> None:
        with Caller(self._masters, "submitter", self._seed + number) as caller:
            while not self._stop.is_set():
                key = str(uuid4())
                headers = {**_JSON, "Idempotency-Key": key}
                answer = caller.call("/v1/jobs", _JOB, headers)
                if answer is None or answer.status_code >= 500:
                    self.ledger.unknown.add(key)
                    continue
                assert answer.status_code == 201, answer.text
                self.ledger.submitted[key] = answer.json()["id"]

    def _work(self, node: str, slot: int) -> None:
        claim_body = msgspec.json.encode({"node": node, "slot": slot, "wait_s": 0.2})
        with Caller(self._masters, node, self._seed + 1000 + slot) as caller:
            while not self._stop.is_set():
                answer = caller.call("/v1/claims", claim_body, _JSON)
                if answer is None or answer.status_code >= 500 or answer.status_code == 204:
                    continue
                assert answer.status_code == 200, answer.text
                claim = answer.json()
                job_id, attempt = claim["job"]["id"], claim["attempt"]
                self.ledger.handed_out.append((job_id, attempt))
                self._report(caller, job_id, attempt)

    def _report(self, caller: "Caller", job_id: str, attempt: int) -> None:
        beat = msgspec.json.encode({"attempt": attempt, "progress": {"stage": "encode"}})
        caller.call(f"/v1/jobs/{job_id}/heartbeat", beat, _JSON)
        result = {"attempt": attempt, "measurement": factories.measurement()}
        body = msgspec.json.encode(result)
        # An agent repeats its result until the master stores or refuses it.
        while not self._stop.is_set():
            answer = caller.call(f"/v1/jobs/{job_id}/result", body, _JSON)
            if answer is None or answer.status_code >= 500:
                continue
            if answer.status_code == 200:
                self.ledger.stored.add((job_id, attempt))
            else:
                assert answer.status_code == 409, answer.text
                self.ledger.refused.append(answer.json()["detail"])
            return


class Caller:
    """Client that sends each request to a random master, which may be unreachable."""

    def __init__(self, masters: tuple[MasterProcess, ...], holder: str, seed: int) -> None:
        """Prepare a client that uses the token of `holder`."""
        self._clients = {master.url: master.http(holder) for master in masters}
        self._random = random.Random(seed)  # noqa: S311 - the choice is not a secret

    def __enter__(self) -> "Caller":
        """Return the caller."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def call(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response | None:
        """Send a request to one of the masters; return None if there was no answer."""
        client = self._random.choice(list(self._clients.values()))
        try:
            return client.post(path, content=body, headers=headers)
        except httpx.TransportError:
            # The master is being restarted.
            time.sleep(0.02)
            return None


def every(client: httpx.Client, path: str) -> list[Any]:
    """Return the items of all pages of a list."""
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(path, params={"cursor": cursor})
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
    return items


def wait_until_parked(viewer: httpx.Client) -> None:
    """Wait until a claim is parked at a master."""
    wait_until(
        lambda: "ffrtmp_master_claims_parked 1.0" in viewer.get("/metrics").text,
        "a claim is parked",
        interval_s=0.02,
    )


def register_all(master: MasterProcess) -> None:
    """Register all nodes."""
    for node in factories.NODES:
        with master.client(node) as client:
            client.register(factories.registration(node))


def check(ledger: JobAccounting, master: MasterProcess) -> dict[str, Any]:
    """Check the jobs and results of a master, and return its jobs by id.

    Every acknowledged job and result must exist exactly once. Submissions without an answer are
    first repeated with their keys, after which their jobs must also exist exactly once.
    """
    with master.http("viewer") as viewer, master.http("submitter") as submitter:
        before = {job["id"] for job in every(viewer, "/v1/jobs")}
        assert set(ledger.submitted.values()) <= before, "an acknowledged submission is lost"
        assert len(set(ledger.submitted.values())) == len(ledger.submitted)
        surplus = before - set(ledger.submitted.values())
        repeated = {}
        for key in ledger.unknown:
            headers = {**_JSON, "Idempotency-Key": key}
            answer = submitter.post("/v1/jobs", content=_JOB, headers=headers)
            assert answer.status_code in (200, 201), answer.text
            job_id = answer.json()["id"]
            assert (answer.status_code == 200) == (job_id in before)
            repeated[key] = job_id
        assert len(set(repeated.values())) == len(repeated)
        assert surplus <= set(repeated.values()), "a job was never submitted"
        jobs = {job["id"]: job for job in every(viewer, "/v1/jobs")}
        results = [(result["job_id"], result["attempt"]) for result in every(viewer, "/v1/results")]
    assert len(jobs) == len(ledger.submitted) + len(ledger.unknown)
    assert ledger.stored <= set(results), "an acknowledged result is lost"
    assert len({job_id for job_id, _ in results}) == len(results), "a job has two results"
    for job_id, attempt in results:
        assert (jobs[job_id]["state"], jobs[job_id]["attempt"]) == ("succeeded", attempt)
    assert {job["id"] for job in jobs.values() if job["state"] == "succeeded"} == {
        job_id for job_id, _ in results
    }
    assert len(set(ledger.handed_out)) == len(ledger.handed_out), "an attempt was handed out twice"
    return jobs
