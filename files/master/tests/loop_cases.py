"""The loops of the master, each with an item that always fails and a dependency that stops."""

import asyncio
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import factories
from ffrtmp_master.clock import SteadyClock
from ffrtmp_master.store import events
from in_process_master import MasterHarness
from polling import TIMEOUT_S, wait_until
from prometheus_client.parser import text_string_to_metric_families


@asynccontextmanager
async def as_async(context: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    with context as value:
        yield value


class UnreliableClock(SteadyClock):
    """A clock that cannot be set while it is broken."""

    is_broken = False

    def set(self, now: datetime) -> timedelta:
        if self.is_broken:
            raise OverflowError("date value out of range")
        return super().set(now)


class Farm:
    """A running master on SQLite, whose database the test manipulates directly."""

    def __init__(self, harness: MasterHarness, file: Path) -> None:
        self.harness = harness
        self.services = harness.services
        self._file = file
        self._streams: list[Any] = []

    def sql(self, statement: str, *values: object) -> list[Any]:
        connection = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    @contextmanager
    def lost_table(self, table: str) -> Iterator[None]:
        """Remove a table that the loop depends on, for the duration of the context."""
        self.sql(f"ALTER TABLE {table} RENAME TO {table}_lost")
        yield
        self.sql(f"ALTER TABLE {table}_lost RENAME TO {table}")

    def refuse(self, operation: str, table: str, condition: str) -> None:
        """Make every statement fail that changes the rows that meet a condition."""
        self.sql(
            f"CREATE TRIGGER refused BEFORE {operation} ON {table} WHEN {condition}"
            " BEGIN SELECT RAISE(ABORT, 'this item always fails'); END"
        )

    def allow(self) -> None:
        self.sql("DROP TRIGGER refused")

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self.harness.client.portal() as portal:
            return portal.call(function, *arguments)

    def keep_open(self, context: Any) -> Any:
        """Enter an asynchronous context in a task that ends with the farm."""
        entered: list[Any] = []
        is_entered = threading.Event()

        async def hold() -> None:
            async with context as value:
                entered.append(value)
                is_entered.set()
                await asyncio.Event().wait()

        portal = self.harness.client.portal()
        future = portal.__enter__().start_task_soon(hold)
        self._streams.append((portal, future))
        assert is_entered.wait(TIMEOUT_S)
        return entered[0]

    def close(self) -> None:
        for portal, future in self._streams:
            future.cancel()
            portal.__exit__(None, None, None)

    def claim_two(self) -> list[Any]:
        """Submit two jobs, and claim one of them on each of two nodes."""
        self.harness.register("worker2")
        for _ in range(2):
            self.harness.submit()
        return [self.harness.claim(node) for node in ("worker1", "worker2")]

    def metrics(self, loop: str) -> dict[str, float]:
        """Return the exported metrics of a loop, by the end of their names."""
        page = self.services.metric_page.render("")[0].decode()
        return {
            sample.name.partition("_loop_")[2]: sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.labels.get("loop") == loop
        }

    def is_alerting(self, loop: str) -> bool:
        """Evaluate the expression of the alert LoopStalled on the exported metrics."""
        found = self.metrics(loop)
        age_s = time.time() - found["last_success_timestamp_seconds"]
        return age_s > found["stale_after_seconds"]


def job_state(farm: Farm, job_id: str) -> str:
    state: str = farm.harness.job(job_id)["state"]
    return state


def hex_id(uuid: str) -> str:
    return uuid.replace("-", "")


class Case(ABC):
    """An item that always fails, another item, and the table that the loop depends on."""

    table = ""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm

    @abstractmethod
    def prepare(self) -> None:
        """Create both items."""

    def is_good_handled(self) -> bool:
        return True

    def is_bad_handled(self) -> bool:
        return True

    def heal(self) -> None:
        """Let the item that always fails succeed."""
        self.farm.allow()


class LeaseExpiry(Case):
    """A job whose attempt cannot be ended, and another one."""

    table = "jobs"

    def prepare(self) -> None:
        self.bad, self.good = (claim["job"]["id"] for claim in self.farm.claim_two())
        self.farm.refuse("UPDATE", "jobs", f"OLD.id = '{hex_id(self.bad)}'")
        self.farm.harness.clock.advance(3600)

    def is_good_handled(self) -> bool:
        return job_state(self.farm, self.good) == "queued"

    def is_bad_handled(self) -> bool:
        return job_state(self.farm, self.bad) == "queued"


class Repeats(Case):
    """A run that cannot get more jobs, and another one."""

    table = "runs"

    def prepare(self) -> None:
        text = factories.suite(more="precision: {interval: 0.05, max_repeats: 12}\n")
        self.farm.sql("CREATE TABLE bad_runs (id TEXT)")
        self.farm.refuse(
            "INSERT", "jobs", "NEW.repeat > 1 AND NEW.run_id IN (SELECT id FROM bad_runs)"
        )
        self.bad = self.farm.harness.run(text)["id"]
        self.farm.sql("INSERT INTO bad_runs VALUES (?)", hex_id(self.bad))
        self.good = self.farm.harness.run(text)["id"]
        for _ in range(2):
            claim = self.farm.harness.claim("worker1")
            self.farm.harness.clock.advance(10)
            assert self.farm.harness.result(claim).is_success

    def _has_repeats(self, run_id: str) -> bool:
        return bool(self.farm.harness.run_now(run_id)["counts"]["queued"])

    def is_good_handled(self) -> bool:
        return self._has_repeats(self.good)

    def is_bad_handled(self) -> bool:
        return self._has_repeats(self.bad)


class LostWakeups(Case):
    """A node whose last-seen time cannot be written, and a run whose end was lost."""

    table = "requirements"

    def prepare(self) -> None:
        run = self.farm.harness.run()
        assert self.farm.harness.result(self.farm.harness.claim("worker1")).is_success
        self.farm.refuse("UPDATE", "nodes", "NEW.last_seen_at > OLD.last_seen_at")
        body = {"node": "worker1", "slot": 1, "wait_s": 20}
        self.claim = threading.Thread(
            target=self.farm.harness.call, args=("worker1", "POST", "/v1/claims", body)
        )
        self.claim.start()
        wait_until(lambda: len(self.farm.services.parked_claims) == 1, "the claim is parked")
        self.farm.harness.clock.advance(3600)
        self.run_id = run["id"]
        self.farm.sql("UPDATE runs SET finished_at = NULL WHERE id = ?", hex_id(self.run_id))

    def is_good_handled(self) -> bool:
        return self.farm.harness.run_now(self.run_id)["finished_at"] is not None

    def is_bad_handled(self) -> bool:
        ((seen,),) = self.farm.sql("SELECT last_seen_at FROM nodes")
        return str(seen) > "2026-01-01 00:30"


class ClockSetting(Case):
    """The loop has a single item: the clock, which cannot be set."""

    def prepare(self) -> None:
        self.clock: Any = self.farm.services.clock
        self.clock.is_broken = True

    def heal(self) -> None:
        self.clock.is_broken = False


class Retention(Case):
    """A job that cannot be removed, and an expired artifact."""

    table = "jobs"

    def prepare(self) -> None:
        self.farm.harness.submit()
        claim = self.farm.harness.claim("worker1")
        self.job = claim["job"]["id"]
        path = f"/v1/jobs/{self.job}/artifacts/ffmpeg.log"
        self.farm.harness.ok("worker1", "PUT", path, content=b"log", params={"attempt": "1"})
        assert self.farm.harness.result(claim).is_success
        self.farm.refuse("DELETE", "jobs", f"OLD.id = '{hex_id(self.job)}'")
        self.farm.harness.clock.advance(3 * 86_400)

    def is_good_handled(self) -> bool:
        return self.farm.sql("SELECT * FROM artifacts") == []

    def is_bad_handled(self) -> bool:
        return self.farm.sql("SELECT * FROM jobs") == []


class Events(Case):
    """A transition to a state that this release does not know, and further transitions."""

    table = "transitions"

    def prepare(self) -> None:
        feed = self.farm.services.event_feed
        self.farm.keep_open(feed.subscribe(events.EVERYTHING, None))
        job = self.farm.harness.submit()["id"]
        self.farm.sql(
            "INSERT INTO transitions (transaction_id, job_id, before, after, attempt, at, reason)"
            " SELECT transaction_id, job_id, 'queued', 'paused', 1, at, 'x' FROM transitions"
            " WHERE job_id = ?",
            hex_id(job),
        )
        self.good = self.farm.harness.submit()["id"]

    def is_good_handled(self) -> bool:
        found = self.farm.services.event_feed.since(0) or []
        return self.good in [str(getattr(event.body, "job_id", "")) for event in found]

    def heal(self) -> None:
        self.farm.sql("DELETE FROM transitions WHERE after = 'paused'")


class Logs(Case):
    """A job in a state that this release does not know, whose log is followed, and another one."""

    table = "job_logs"

    def prepare(self) -> None:
        claims = self.farm.claim_two()
        self.bad, self.good = (claim["job"]["id"] for claim in claims)
        self.farm.sql("UPDATE jobs SET state = 'paused' WHERE id = ?", hex_id(self.bad))
        for claim in claims:
            feed = self.farm.services.log_feed
            subscription = as_async(feed.subscribe((UUID(claim["job"]["id"]), 1)))
            self.subscriber = self.farm.keep_open(subscription)
            self.farm.sql(
                "INSERT INTO job_logs (job_id, attempt, offset_bytes, piece)"
                " VALUES (?, 1, 0, 'text')",
                hex_id(claim["job"]["id"]),
            )

    def is_good_handled(self) -> bool:
        return bool(self.subscriber._event.is_set())

    def heal(self) -> None:
        self.farm.sql("UPDATE jobs SET state = 'leased' WHERE state = 'paused'")


class TokenUses(Case):
    """A token whose use cannot be recorded, and another one."""

    table = "credentials"

    def prepare(self) -> None:
        self.farm.refuse("UPDATE", "credentials", "OLD.name = 'submitter'")
        # A use is not recorded if an earlier one was recorded less than a minute ago.
        self.farm.harness.clock.advance(3600)
        self.farm.harness.submit()
        assert self.farm.harness.call("viewer", "GET", "/v1/runs").is_success

    def _is_recorded(self, name: str) -> bool:
        rows = self.farm.sql("SELECT last_used_at FROM credentials WHERE name = ?", name)
        return str(rows[0][0] or "") > "2026-01-01 00:30"

    def is_good_handled(self) -> bool:
        return self._is_recorded("viewer")

    def is_bad_handled(self) -> bool:
        self.farm.harness.submit()
        return self._is_recorded("submitter")


CASES: dict[str, Any] = {
    "lease_expiry": LeaseExpiry,
    "repeats": Repeats,
    "lost_wakeups": LostWakeups,
    "clock": ClockSetting,
    "retention": Retention,
    "event_feed": Events,
    "log_feed": Logs,
    "token_uses": TokenUses,
}
