"""Tests of the parsing of suites beside other requests."""

import asyncio
import hashlib
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import factories
import httpx
import msgspec
import pytest
from databases import only
from ffrtmp_master.runs import suite_parser
from ffrtmp_master.runs.compute_pool import ComputePool
from ffrtmp_master.runs.suite_parser import SuiteParser
from ffrtmp_master.settings import Settings
from ffrtmp_master.store.errors import BusyError, UnprocessableError
from ffrtmp_master.store.schema import runs
from ffrtmp_shared import suite
from master_process import MasterProcess
from sqlalchemy import update

_FEATURES = """\
precision: {interval: 0.05, max_repeats: 12}
exclusive: false
control: true
requirements: {labels: {zone: a}}
deadline_s: 60
when_unmet: wait
"""


def large_suite(characters: int) -> str:
    """Return a valid suite of about a number of characters."""
    text = factories.suite(encoders=("libx264", "libx265"), rates=3, more=_FEATURES)
    line = "  - {name: e%d, encoder: libx264, preset: medium, options: {tune: film}}\n"
    needed = max(characters - len(text), 0) // len(line % 1000)
    encodes = "".join(line % number for number in range(needed))
    return text.replace("encodes:\n", "encodes:\n" + encodes)


async def parsed(text: str) -> suite.Suite:
    pool = ComputePool(2)
    parser = SuiteParser(pool)
    try:
        return await parser.parse(text)
    finally:
        parser.close()
        pool.close()


@pytest.mark.parametrize("characters", [0, 40_000], ids=["in a thread", "in a process"])
def test_a_suite_is_parsed_completely(characters: int) -> None:
    text = large_suite(characters)
    assert asyncio.run(parsed(text)) == suite.parse_suite(text)


@pytest.mark.parametrize("characters", [0, 40_000], ids=["in a thread", "in a process"])
def test_the_problems_of_a_suite_are_reported(characters: int) -> None:
    text = large_suite(characters) + "bogus: 1\n"
    with pytest.raises(UnprocessableError) as raised:
        asyncio.run(parsed(text))
    (problem,) = raised.value.errors
    assert problem.startswith(f"line {text.count(chr(10))}, column 1: ")
    assert "unknown key bogus" in problem


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UnprocessableError) as raised:
        asyncio.run(parsed(large_suite(40_000) + "# \ud800\n"))
    assert "Unicode" in raised.value.errors[0]


def test_parsing_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_parser, "PARSE_TIMEOUT_S", 0.1)
    with pytest.raises(UnprocessableError) as raised:
        asyncio.run(parsed(large_suite(200_000)))
    assert "takes more than 0.1 s" in raised.value.errors[0]


def test_a_full_pool_refuses_further_computations() -> None:
    async def exercise() -> None:
        pool, released = ComputePool(3), threading.Event()
        waiting = [asyncio.create_task(pool.run(released.wait, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as raised:
            await pool.run(int)
        assert raised.value.retry_after_s > 0
        # A request that is canceled does not make room as long as its computation runs.
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        with pytest.raises(BusyError):
            await pool.run(int)
        released.set()
        assert await asyncio.gather(*waiting[1:]) == [True, True]
        assert await pool.run(int) == 0
        pool.close()

    asyncio.run(exercise())


@only("sqlite")
def test_the_precision_of_a_run_is_read_without_parsing_its_suite(ready_harness: Any) -> None:
    run = ready_harness.run(factories.suite(more="precision: {interval: 0.05, max_repeats: 12}\n"))
    before = ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision")
    assert before["interval"] == 0.05

    async def damage() -> None:
        # If the suite were parsed again, the request would fail.
        await ready_harness.services.writer.write(
            lambda work: work.connection.execute(update(runs).values(suite="not a suite"))
        )

    with ready_harness.client.portal() as portal:
        portal.call(damage)
    assert ready_harness.ok("viewer", "GET", f"/v1/runs/{run['id']}/precision") == before


@only("sqlite")
@pytest.mark.slow
def test_large_plans_do_not_delay_an_upload(migrated: Settings, tmp_path: Path) -> None:
    content = b"x" * 8 * 2**20
    path = f"/v1/sources/{hashlib.sha256(content).hexdigest()}"
    larger = msgspec.structs.replace(migrated, max_source_bytes=2 * len(content))
    plan = {"suite": large_suite(675 * 1024)}
    with MasterProcess(tmp_path, larger).serving() as master:
        with master.client("worker1") as agent:
            agent.register(factories.registration("worker1"))

        def request_plan(_: int) -> tuple[int, str | None] | None:
            """Return the status and Retry-After, or None if the master was stopped meanwhile."""
            with master.http("submitter", timeout_s=120) as client:
                try:
                    answer = client.post("/v1/runs/plan", json=plan)
                except httpx.TransportError:
                    return None
                return answer.status_code, answer.headers.get("retry-after")

        with ThreadPoolExecutor(8) as threads, master.http("submitter") as client:
            plans = [threads.submit(request_plan, number) for number in range(8)]
            # The other four are being parsed or wait.
            refused = list(islice(as_completed(plans, timeout=60), 4))
            start_s = time.monotonic()
            for _ in range(3):
                assert client.put(path, content=content).status_code == 204
                assert client.get("/v1/runs").status_code == 200
            duration_s = time.monotonic() - start_s
            assert sum(plan.done() for plan in plans) < 8, "the plans are too small"
            # A master that is stopped does not wait for the processes that parse suites.
            stop_s = time.monotonic()
            master.end(signal.SIGTERM)
            assert time.monotonic() - stop_s < 10
    assert duration_s < 10
    answers = [future.result() for future in refused]
    assert [answer and answer[0] for answer in answers] == [429] * 4
    assert all(answer and int(answer[1] or 0) > 0 for answer in answers)
