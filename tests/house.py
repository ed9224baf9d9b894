"""A master in this process, with a clock that the tests set, and what its callers say to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx
import msgspec
import specimens
from ffrtmp_master.server import app
from ffrtmp_master.services import Farm
from litestar import Litestar
from litestar.testing import TestClient


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class House:
    """A master and short ways to say what its callers say."""

    def __init__(self, farm: Farm, client: TestClient[Any], clock: SetClock) -> None:
        self.farm = farm
        self.client = client
        self.clock = clock
        self.clip = specimens.CLIP
        self.clip_sha256 = specimens.CLIP_SHA256
        self.suite = specimens.suite
        self.registration = specimens.registration
        self.measurement = specimens.measurement

    @contextmanager
    def restarted(self) -> Iterator["House"]:
        """Give the master that comes after this one on the same database."""
        with serving(Farm(self.farm.settings, self.clock, sweep_s=3600), self.clock) as house:
            yield house

    def call(
        self, who: str | None, method: str, path: str, body: object = None, **more: Any
    ) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer token-{who}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            more["content"] = msgspec.json.encode(body)
        return self.client.request(method, path, headers=headers, **more)

    def ok(self, who: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        answer = self.call(who, method, path, body, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def register(self, name: str, *encoders: str, **more: Any) -> None:
        body = specimens.registration(name, *encoders, **more)
        self.ok(name, "PUT", f"/v1/nodes/{name}", body)

    def upload(self) -> None:
        path = f"/v1/sources/{specimens.CLIP_SHA256}"
        self.ok("submitter", "PUT", path, content=specimens.CLIP)

    def run(self, text: str | None = None, **more: Any) -> Any:
        body = {"suite": text or specimens.suite(), "seed": 1}
        return self.ok("submitter", "POST", "/v1/runs", body, **more)

    def submit(self, encoder: str = "libx264", **more: Any) -> Any:
        return self.ok("submitter", "POST", "/v1/jobs", specimens.job(encoder, **more))

    def claim(self, node: str, slot: int = 1, wait_s: float = 0) -> Any:
        body = {"node": node, "slot": slot, "wait_s": wait_s}
        return self.ok(node, "POST", "/v1/claims", body)

    def heartbeat(self, claim: Any, node: str = "worker1") -> httpx.Response:
        body = {"attempt": claim["attempt"], "progress": {"stage": "encode", "frames": 5}}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/heartbeat", body)

    def result(self, claim: Any, node: str = "worker1", **more: Any) -> httpx.Response:
        body = {"attempt": claim["attempt"], "measurement": specimens.measurement(), **more}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/result", body)

    def fail(self, claim: Any, kind: str, node: str = "worker1") -> httpx.Response:
        failure = {"failure_class": kind, "message": f"it was {kind}", "log_tail": ""}
        body = {"attempt": claim["attempt"], "failure": failure}
        return self.call(node, "POST", f"/v1/jobs/{claim['job']['id']}/failure", body)

    def job(self, job_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/jobs/{job_id}")

    def history(self, job_id: str) -> list[tuple[str | None, str, int]]:
        found = self.ok("viewer", "GET", f"/v1/jobs/{job_id}/transitions")
        return [(one["before"], one["after"], one["attempt"]) for one in found]

    def run_now(self, run_id: str) -> Any:
        return self.ok("viewer", "GET", f"/v1/runs/{run_id}")

    def every(self, path: str, **params: str) -> list[Any]:
        """Return a list's items, all its pages."""
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.ok("viewer", "GET", path, params={**params, "cursor": cursor})
            items += page["items"]
            cursor = page["next_cursor"]
        return items

    def sweep(self) -> None:
        with self.client.portal() as portal:
            portal.call(self.farm.expire_leases)
            portal.call(self.farm.top_up_runs)


@dataclass(frozen=True)
class Built:
    """A framework with its routes, which can serve one farm after another."""

    served: app.Served
    framework: Litestar

    @classmethod
    def for_farm(cls, farm: Farm) -> Self:
        """Build a framework, which takes 0.1 s."""
        served = app.Served(farm)
        return cls(served, app.framework(served))


# Several tests run more than one master at a time, each with a framework of its own.
_idle: list[Built] = []


@contextmanager
def serving(farm: Farm, clock: SetClock) -> Iterator[House]:
    """Run a master from its start to its stop."""
    built = _idle.pop() if _idle else Built.for_farm(farm)
    built.served.farm = farm
    application = app.around(built.framework, farm)
    with TestClient(application, raise_server_exceptions=False) as client:
        yield House(farm, client, clock)
    _idle.append(built)
