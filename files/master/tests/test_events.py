"""Server-sent events: each transition once and in order, taken up again where they broke off."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from databases import only
from ffrtmp_master.background import event_feed
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import events
from ffrtmp_master.store.engine import writing_engine
from in_process_master import MasterHarness, SetClock
from sqlalchemy import text
from streaming import Listening, listening


class Event(NamedTuple):
    kind: str
    place: str
    data: Any

    @property
    def step(self) -> tuple[str | None, str]:
        return self.data["before"], self.data["after"]


class Stream:
    """Events as they come."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> Event | None:
        """Return the next event; None when the stream has ended."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line and found:
                return Event(found["event"], found["id"], json.loads(found["data"]))
            name, _, value = line.partition(": ")
            if name:
                found[name] = value
        return None

    def take(self, count: int) -> list[Event]:
        taken = [self.next() for _ in range(count)]
        return [event for event in taken if event is not None]


class Master:
    """A master that listens, and what is said to it over real connections."""

    def __init__(self, at: Listening, clock: SetClock) -> None:
        self.at = at
        self.client = httpx.Client(base_url=at.url, timeout=30)
        self.harness = MasterHarness(at.services, self.client, clock)  # type: ignore[arg-type]

    @contextmanager
    def follow(self, last: str | None = None, **query: str) -> Iterator[Stream]:
        headers = {"Authorization": "Bearer token-viewer"}
        if last is not None:
            headers["Last-Event-ID"] = last
        request = self.client.stream("GET", "/v1/events", params=query, headers=headers)
        with request as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            assert next(lines) == ": following"
            yield Stream(lines)


@pytest.fixture
def master(migrated: Settings, clock: SetClock) -> Iterator[Master]:
    with listening(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        one = Master(at, clock)
        one.harness.register("worker1")
        one.harness.upload()
        yield one
        one.client.close()


DONE = [(None, "queued"), ("queued", "leased"), ("leased", "running"), ("running", "succeeded")]


def do_one(harness: MasterHarness) -> Any:
    """Claim a job and do it; return its id."""
    claim = harness.claim("worker1")
    harness.heartbeat(claim)
    assert harness.result(claim).is_success
    return claim["job"]["id"]


def test_every_transition_is_sent_from_now_on(master: Master) -> None:
    master.harness.submit()
    do_one(master.harness)
    with master.follow() as stream:
        job = master.harness.submit()
        do_one(master.harness)
        told = stream.take(4)
    assert [event.step for event in told] == DONE
    assert {event.kind for event in told} == {"transition"}
    assert {event.data["job_id"] for event in told} == {job["id"]}
    assert [event.data["attempt"] for event in told] == [0, 1, 1, 1]
    assert told[0].data["run_id"] is None
    assert told[3].data["reason"] == "result stored"
    assert told[3].data["at"] == "2026-01-01T00:00:00Z"


def test_who_was_away_misses_nothing(master: Master) -> None:
    with master.follow() as stream:
        master.harness.submit()
        (first,) = stream.take(1)
    job_id = do_one(master.harness)
    master.harness.submit()
    with master.follow(last=first.place) as stream:
        told = stream.take(4)
        assert [event.step for event in told] == [*DONE[1:], DONE[0]]
        do_one(master.harness)
        assert [event.step for event in stream.take(3)] == DONE[1:]
    with master.follow(last=told[0].place, job=job_id) as stream:
        assert [event.step for event in stream.take(2)] == DONE[2:]


def test_of_one_job_and_of_one_run(master: Master) -> None:
    run = master.harness.run(master.harness.suite(rates=2))
    other = master.harness.submit()
    with ExitStack() as stack:
        of_run = stack.enter_context(master.follow(run=run["id"]))
        of_job = stack.enter_context(master.follow(job=other["id"]))
        done = [do_one(master.harness) for _ in range(3)]
        told = of_run.take(7)
        assert {event.data["run_id"] for event in told} == {run["id"]}
        in_run = {event.data["job_id"] for event in told if event.kind == "transition"}
        assert in_run == set(done) - {other["id"]}
        assert [event.kind for event in told] == ["transition"] * 6 + ["run"]
        assert [event.step for event in of_job.take(3)] == DONE[1:]


def test_the_end_of_a_run_is_told_and_told_again_when_it_ends_again(master: Master) -> None:
    run = master.harness.run()
    with master.follow(run=run["id"]) as stream:
        claim = master.harness.claim("worker1")
        assert master.harness.fail(claim, "invalid_settings").is_success
        told = stream.take(3)
        assert [event.kind for event in told] == ["transition", "transition", "run"]
        assert told[2].place == told[1].place
        end = told[2].data
        assert (end["run_id"], end["state"]) == (run["id"], "failed")
        assert end["counts"]["failed"] == 1
        master.harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry", {})
        do_one(master.harness)
        told = stream.take(5)
    assert [event.kind for event in told] == ["transition"] * 4 + ["run"]
    assert (told[4].data["state"], told[4].data["counts"]["failed"]) == ("succeeded", 0)


def test_a_run_that_ended_before_is_told_to_who_asks_for_it(master: Master) -> None:
    run = master.harness.run()
    do_one(master.harness)
    with master.follow(run=run["id"]) as stream:
        (event,) = stream.take(1)
        assert (event.kind, event.data["state"]) == ("run", "succeeded")


def test_the_end_of_a_run_is_told_to_who_saw_its_last_transition_only(master: Master) -> None:
    master.harness.run()
    with master.follow() as stream:
        do_one(master.harness)
        last = stream.take(3)[-1]
    with master.follow(last=last.place) as stream:
        (event,) = stream.take(1)
        assert (event.kind, event.place) == ("run", last.place)


@pytest.mark.parametrize("kept", [1, 5000])
def test_more_than_fits_into_a_page_and_into_what_is_kept(
    master: Master, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """A slow follower falls behind what is kept and goes on from the database."""
    monkeypatch.setattr(events, "PAGE", 10)
    monkeypatch.setattr(event_feed, "_BUFFERED_EVENTS_MAX", kept)
    with master.follow() as stream:
        run = master.harness.run(master.harness.suite(rates=35))
        master.harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
        told = stream.take(71)
    assert [event.kind for event in told] == ["transition"] * 70 + ["run"]
    assert [event.step for event in told[:35]] == [DONE[0]] * 35
    assert len({event.place for event in told}) == 70
    assert told[-1].data["counts"]["canceled"] == 35


@pytest.mark.parametrize("last", ["x", "1", "1.x", "-1.2", "1.2.3", "9" * 30 + ".1"])
def test_a_place_that_is_none_is_refused(harness: MasterHarness, last: str) -> None:
    answer = harness.call("viewer", "GET", "/v1/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 422


def test_what_is_not_there_cannot_be_followed(harness: MasterHarness) -> None:
    nothing = "0198c5f0-0000-7000-8000-000000000000"
    for name in ("run", "job"):
        answer = harness.call("viewer", "GET", "/v1/events", params={name: nothing})
        assert answer.status_code == 404
    assert harness.call("worker1", "GET", "/v1/events").status_code == 403


def test_events_end_when_the_master_stops_and_nobody_reads_on_alone(master: Master) -> None:
    with master.follow() as stream, master.follow() as other:
        master.harness.submit()
        assert stream.take(1)[0].place == other.take(1)[0].place
        assert len(master.at.services.event_feed) == 2
        master.at.stop()
        assert stream.next() is None
        assert other.next() is None
    assert len(master.at.services.event_feed) == 0


@only("postgresql")
def test_what_commits_late_is_not_missed(master: Master, migrated: Settings) -> None:
    """A transaction that began before another may end after it."""
    job = master.harness.submit()
    engine = writing_engine(migrated.database_url, migrated.database_password())
    late = text(
        "INSERT INTO transitions (job_id, before, after, attempt, at, reason)"
        " VALUES (:job, 'queued', 'queued', 0, now(), 'late')"
    )
    with master.follow() as stream, engine.connect() as connection:
        with connection.begin():
            connection.execute(late, {"job": job["id"]})
            second = master.harness.submit()
        told = stream.take(2)
    engine.dispose()
    assert [event.data["reason"] for event in told] == ["late", "submitted"]
    assert told[1].data["job_id"] == second["id"]


@only("postgresql")
def test_what_another_master_does_is_told(
    master: Master, migrated: Settings, clock: SetClock
) -> None:
    with listening(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        other = Master(at, clock)
        with other.follow() as stream:
            job = master.harness.submit()
            assert stream.take(1)[0].data["job_id"] == job["id"]
        other.client.close()
