"""A master in the process of the tests, with a clock that they set and methods for requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import factories
import httpx
import msgspec
from ffrtmp_master.server import app
from ffrtmp_master.services import Services
from litestar import Litestar
from litestar.testing import TestClient


class SetClock:
    """A clock that does not advance unless a test advances it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MasterHarness:
    """A master, with methods for the requests of its clients."""

    def __init__(self, services: Services, client: TestClient[Any], clock: SetClock) -> None:
        self.services = services
        self.client = client
        self.clock = clock
        self.clip = factories.CLIP
        self.clip_sha256 = factories.CLIP_SHA256
        self.suite = factories.suite
        self.registration = factories.registration
        self.measurement = factories.measurement

    @contextmanager
    def restarted(self) -> Iterator["MasterHarness"]:
        """Yield a new master on the same database, as after a restart."""
        with running_master(
            Services(self.services.settings, self.clock, maintenance_interval_s=3600), self.clock
        ) as harness:
            yield harness

    def call(
        self, caller: str | None, method: str, path: str, body: object = None, **more: Any
    ) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if caller is not None:
            headers["Authorization"] = f"Bearer token-{caller}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            more["content"] = msgspec.json.encode(body)
        return self.client.request(method, path, headers=headers, **more)

    def ok(self, caller: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        answer = self.call(caller, method, path, body, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def register(self, name: str, *encoders: str, **more: Any) -> None:
        body = factories.registration(name, *encoders, **more)
        self.ok(name, "PUT", f"/v1/nodes/{name}", body)

    def upload(self) -> None:
        path = f"/v1/sources/{factories.CLIP_SHA256}"
        self.ok("submitter", "PUT", path, content=factories.CLIP)

    def run(self, text: str | None = None, **more: Any) -> Any:
        body = {"suite": text or factories.suite(), "seed": 1}
        return self.ok("submitter", "POST", "/v1/runs", body, **more)

    def submit(self, encoder: str = "libx264", **more: Any) -> Any:
        return self.ok("submitter", "POST", "/v1/jobs", factories.job(encoder, **more))

    def claim(self, node: str, slot: int = 1, wait_s: float = 0) -> Any:
        body = {"node": node, "slot": slot, "wait_s": wait_s}
        return self.ok(node, "POST", "/v1/claims", body)

    def heartbeat(self, claim: Any, node: str = "worker1") -> httpx.Response:
        body = {"attempt": claim["attempt"], "progress": {"stage": "encode", "frames": 5}}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/heartbeat", body)

    def result(self, claim: Any, node: str = "worker1", **more: Any) -> httpx.Response:
        body = {"attempt": claim["attempt"], "measurement": factories.measurement(), **more}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/result", body)

    def fail(self, claim: Any, kind: str, node: str = "worker1") -> httpx.Response:
        failure = {"failure_class": kind, "message": f"it was {kind}", "log_tail": ""}
        body = {"attempt": claim["attempt"], "failure": failure}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/failure", body)

    def job(self, job_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/jobs/{job_id}")

    def history(self, job_id: str) -> list[tuple[str | None, str, int]]:
        found = self.ok("viewer", "GET", f"/v1/jobs/{job_id}/transitions")
        return [(step["before"], step["after"], step["attempt"]) for step in found]

    def run_now(self, run_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/runs/{run_id}")

    def every(self, path: str, **params: str) -> list[Any]:
        """Return the items of all pages of a list."""
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.ok("viewer", "GET", path, params={**params, "cursor": cursor})
            items += page["items"]
            cursor = page["next_cursor"]
        return items

    def run_maintenance(self) -> None:
        with self.client.portal() as portal:
            portal.call(self.services.maintenance.expire_leases)
            portal.call(self.services.maintenance.add_repeats)


@dataclass(frozen=True)
class BuiltFramework:
    """A web framework with its routes, which serves one master after another."""

    holder: app.ServicesHolder
    framework: Litestar

    @classmethod
    def for_farm(cls, services: Services) -> Self:
        """Build a framework, which takes 0.1 s; that is why tests reuse it."""
        holder = app.ServicesHolder(services)
        return cls(holder, app.build_framework(holder))


# The frameworks that can be reused. There are several if a test has run masters in parallel.
_idle: list[BuiltFramework] = []


@contextmanager
def running_master(services: Services, clock: SetClock) -> Iterator[MasterHarness]:
    """Run a master within the context."""
    built = _idle.pop() if _idle else BuiltFramework.for_farm(services)
    built.holder.services = services
    application = app.with_fast_endpoints(built.framework, services)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield MasterHarness(services, client, clock)
    _idle.append(built)
