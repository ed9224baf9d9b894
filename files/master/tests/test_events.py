"""Tests of server-sent events.

A follower must receive each transition once and in order, even if it has to reconnect.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
from databases import begin_new_epoch, only
from ffrtmp_master.background import event_feed
from ffrtmp_master.background.event_feed import EventFeed
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import events
from ffrtmp_master.store.engine import writing_engine
from ffrtmp_master.store.events import EventFilter
from ffrtmp_shared.loop_registry import LoopRegistry
from in_process_master import MasterHarness, SetClock
from listening_master import ListeningMaster, listening_master
from polling import TIMEOUT_S
from sqlalchemy import text


class Event(NamedTuple):
    kind: str
    place: str
    data: Any

    @property
    def step(self) -> tuple[str | None, str]:
        return self.data["before"], self.data["after"]


class Stream:
    """The parsed events of a stream."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def next(self) -> Event | None:
        """Return the next event, or None if the stream has ended."""
        found: dict[str, str] = {}
        for line in self._lines:
            if not line and found:
                return Event(found["event"], found["id"], json.loads(found["data"]))
            name, _, value = line.partition(": ")
            if name:
                found[name] = value
        return None

    def read(self, count: int) -> list[Event]:
        received = [self.next() for _ in range(count)]
        return [event for event in received if event is not None]


class Master:
    """A master that listens on a port, with a client and a harness for requests to it."""

    def __init__(self, at: ListeningMaster, clock: SetClock) -> None:
        self.at = at
        self.client = httpx.Client(base_url=at.url, timeout=TIMEOUT_S)
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
    with listening_master(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        master = Master(at, clock)
        master.harness.register("worker1")
        master.harness.upload()
        yield master
        master.client.close()


DONE = [(None, "queued"), ("queued", "leased"), ("leased", "running"), ("running", "succeeded")]


def complete_job(harness: MasterHarness) -> Any:
    """Claim and complete a job, and return its id."""
    claim = harness.claim("worker1")
    harness.heartbeat(claim)
    assert harness.result(claim).is_success
    return claim["job"]["id"]


def test_every_later_transition_is_sent(master: Master) -> None:
    master.harness.submit()
    complete_job(master.harness)
    with master.follow() as stream:
        job = master.harness.submit()
        complete_job(master.harness)
        received = stream.read(4)
    assert [event.step for event in received] == DONE
    assert {event.kind for event in received} == {"transition"}
    assert {event.data["job_id"] for event in received} == {job["id"]}
    assert [event.data["attempt"] for event in received] == [0, 1, 1, 1]
    assert received[0].data["run_id"] is None
    assert received[3].data["reason"] == "result stored"
    assert received[3].data["at"] == "2026-01-01T00:00:00Z"


def test_a_reconnected_client_misses_no_event(master: Master) -> None:
    with master.follow() as stream:
        master.harness.submit()
        (first,) = stream.read(1)
    job_id = complete_job(master.harness)
    master.harness.submit()
    with master.follow(last=first.place) as stream:
        received = stream.read(4)
        assert [event.step for event in received] == [*DONE[1:], DONE[0]]
        complete_job(master.harness)
        assert [event.step for event in stream.read(3)] == DONE[1:]
    with master.follow(last=received[0].place, job=job_id) as stream:
        assert [event.step for event in stream.read(2)] == DONE[2:]


@pytest.mark.slow
@pytest.mark.parametrize("is_resuming", [False, True])
def test_no_event_is_repeated_to_a_client_that_reconnects_in_a_later_epoch(
    master: Master, migrated: Settings, is_resuming: bool
) -> None:
    with master.follow() as stream:
        master.harness.submit()
        (first,) = stream.read(1)
    with master.follow(last=first.place if is_resuming else None) as stream:
        begin_new_epoch(migrated)
        complete_job(master.harness)
        received = stream.read(3)
    assert [event.step for event in received] == DONE[1:]
    master.harness.submit()
    for event, later in zip(received, (*DONE[2:], DONE[0]), strict=True):
        with master.follow(last=event.place) as stream:
            assert [event.step for event in stream.read(1)] == [later]


@pytest.mark.slow
def test_events_are_filtered_by_job_and_by_run(master: Master) -> None:
    run = master.harness.run(master.harness.suite(rates=2))
    other = master.harness.submit()
    with ExitStack() as stack:
        of_run = stack.enter_context(master.follow(run=run["id"]))
        of_job = stack.enter_context(master.follow(job=other["id"]))
        done = [complete_job(master.harness) for _ in range(3)]
        received = of_run.read(7)
        assert {event.data["run_id"] for event in received} == {run["id"]}
        in_run = {event.data["job_id"] for event in received if event.kind == "transition"}
        assert in_run == set(done) - {other["id"]}
        assert [event.kind for event in received] == ["transition"] * 6 + ["run"]
        assert [event.step for event in of_job.read(3)] == DONE[1:]


def test_the_end_of_a_run_is_sent_each_time_it_ends(master: Master) -> None:
    run = master.harness.run()
    with master.follow(run=run["id"]) as stream:
        claim = master.harness.claim("worker1")
        assert master.harness.fail(claim, "invalid_settings").is_success
        received = stream.read(3)
        assert [event.kind for event in received] == ["transition", "transition", "run"]
        assert received[2].place == received[1].place
        end = received[2].data
        assert (end["run_id"], end["state"]) == (run["id"], "failed")
        assert end["counts"]["failed"] == 1
        master.harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/retry", {})
        complete_job(master.harness)
        received = stream.read(5)
    assert [event.kind for event in received] == ["transition"] * 4 + ["run"]
    assert (received[4].data["state"], received[4].data["counts"]["failed"]) == ("succeeded", 0)


def test_the_end_of_a_run_read_by_the_subscriber_and_the_feed_is_delivered_once(
    ready_harness: MasterHarness,
) -> None:
    """The subscriber reads the events of its run before the feed has read them, and then again."""
    reader = ready_harness.services.reader
    run_id = UUID(ready_harness.run()["id"])

    async def follow() -> list[str]:
        feed = EventFeed(reader, LoopRegistry())
        async with feed.subscribe(EventFilter(run_id=run_id), None) as subscriber:
            # The feed does not poll before the coroutine waits for the first time.
            complete_job(ready_harness)
            read = await subscriber.next(TIMEOUT_S)
            repeated = await subscriber.next(TIMEOUT_S)
            feed.close()
        return [type(event.body).__name__ for event in [*(read or ()), *(repeated or ())]]

    assert asyncio.run(follow()) == ["JobEvent"] * 3 + ["RunEvent"]


def test_a_finished_run_is_sent_to_a_client_that_follows_it(master: Master) -> None:
    run = master.harness.run()
    complete_job(master.harness)
    with master.follow(run=run["id"]) as stream:
        (event,) = stream.read(1)
        assert (event.kind, event.data["state"]) == ("run", "succeeded")


def test_the_end_of_a_run_is_sent_to_a_client_that_resumes_after_its_last_transition(
    master: Master,
) -> None:
    master.harness.run()
    with master.follow() as stream:
        complete_job(master.harness)
        last = stream.read(3)[-1]
    with master.follow(last=last.place) as stream:
        (event,) = stream.read(1)
        assert (event.kind, event.place) == ("run", last.place)


@pytest.mark.slow
@pytest.mark.parametrize("buffered", [1, 5000])
def test_more_events_than_fit_into_a_page_and_the_buffer(
    master: Master, monkeypatch: pytest.MonkeyPatch, buffered: int
) -> None:
    """Check that a follower that is too slow for the buffer gets older events from the database."""
    monkeypatch.setattr(events, "PAGE", 10)
    monkeypatch.setattr(event_feed, "_BUFFERED_EVENTS_MAX", buffered)
    with master.follow() as stream:
        run = master.harness.run(master.harness.suite(rates=35))
        master.harness.ok("submitter", "POST", f"/v1/runs/{run['id']}/cancel")
        received = stream.read(71)
    assert [event.kind for event in received] == ["transition"] * 70 + ["run"]
    assert [event.step for event in received[:35]] == [DONE[0]] * 35
    assert len({event.place for event in received}) == 70
    assert received[-1].data["counts"]["canceled"] == 35


@pytest.mark.parametrize("last", ["x", "1", "1.x", "-1.2", "1.2.3", "9" * 30 + ".1"])
def test_an_invalid_last_event_id_is_refused(harness: MasterHarness, last: str) -> None:
    answer = harness.call("viewer", "GET", "/v1/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 422


def test_following_an_unknown_run_or_job_is_refused(harness: MasterHarness) -> None:
    unknown = "0198c5f0-0000-7000-8000-000000000000"
    for name in ("run", "job"):
        answer = harness.call("viewer", "GET", "/v1/events", params={name: unknown})
        assert answer.status_code == 404
    assert harness.call("worker1", "GET", "/v1/events").status_code == 403


def test_streams_end_and_followers_are_removed_when_the_master_stops(master: Master) -> None:
    with master.follow() as stream, master.follow() as other:
        master.harness.submit()
        assert stream.read(1)[0].place == other.read(1)[0].place
        assert len(master.at.services.event_feed) == 2
        master.at.stop()
        assert stream.next() is None
        assert other.next() is None
    assert len(master.at.services.event_feed) == 0


@only("postgresql")
def test_a_transition_committed_late_is_not_missed(master: Master, migrated: Settings) -> None:
    """Check a transition whose transaction commits after another one that began later."""
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
        received = stream.read(2)
    engine.dispose()
    assert [event.data["reason"] for event in received] == ["late", "submitted"]
    assert received[1].data["job_id"] == second["id"]


@pytest.mark.slow
@only("postgresql")
def test_transitions_of_another_master_are_sent(
    master: Master, migrated: Settings, clock: SetClock
) -> None:
    with listening_master(Services(migrated, clock, maintenance_interval_s=3600)) as at:
        other = Master(at, clock)
        with other.follow() as stream:
            job = master.harness.submit()
            assert stream.read(1)[0].data["job_id"] == job["id"]
        other.client.close()
