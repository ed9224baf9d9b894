"""Loops of the three distributions: every loop without an end of its own is run by the loop runner.

A loop that someone writes by hand ends at the first exception that it does not expect, and nothing
reports that it has ended.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .sources import SERVICES, python_files

# Functions that start something that runs in the background or later.
_STARTERS = frozenset(
    {
        "Thread",
        "Timer",
        "call_at",
        "call_later",
        "create_task",
        "ensure_future",
        "start_new_thread",
    }
)
# Methods of events in the condition of a loop that runs until it is stopped.
_EVENT_METHODS = frozenset({"is_set", "wait"})

EXCEPTIONS = {
    "shared/loop_runner.py:AsyncLoop.start": "the runner itself",
    "shared/loop_runner.py:ThreadLoop.start": "the runner itself",
    "shared/loop_runner.py:ThreadLoop._run_begun": "the runner itself",
    "shared/exporter_server.py:ExporterServer._admit": (
        "a thread for one connection, all of whose phases have deadlines"
    ),
    "master/auth/token_lookup.py:TokenLookup.find_shared": (
        "a task for a single query, whose outcome all callers receive"
    ),
    "master/background/claim_wakeups.py:ClaimWakeups.after_commit": (
        "a timer for a single wake-up, which the loop lost_wakeups repeats"
    ),
    "master/background/notifications.py:NotificationListener._listen": (
        "reads one connection until it is lost or the step of the runner has to end"
    ),
    "master/queue/parked_claims.py:ParkedClaims._retry_until": (
        "waits for the answer to one request, which has a deadline and receives every exception"
    ),
    "master/queue/parked_claims.py:ParkedClaims._park": "the deadline of one request",
    "master/api/agent_endpoints.py:_wait_for_job": (
        "a task that ends with one request and wakes its claim, whatever its outcome is"
    ),
    "master/exporters/probes.py:Prober._tick": (
        "a task for a single probe, which has a deadline and receives every exception"
    ),
    "master/server/fast_path_protocol.py:FastPathProtocol.on_message_complete": (
        "a task for a single request, which closes the connection if it fails"
    ),
    "master/server/listener.py:Listener._accept": (
        "a task for the handshake of a single connection, and a timer that resumes listening once"
    ),
    "master/store/source_removal.py:SourceRemoval.remove": (
        "a task for a single removal, which counts until it ends and whose caller gets its outcome"
    ),
    "worker/agent/report_delivery.py:ReportDelivery._deliver": (
        "tries one report until it is delivered, deferred or rejected"
    ),
    "worker/inputs/download.py:_Download._timer": "the deadline of one download",
    "worker/inputs/download.py:_resolve": "a thread for one lookup, for whose outcome a call waits",
    "worker/ffmpeg/process.py:_Child._until_exit": (
        "reads the pipes of a process until the process ends or its deadline has passed"
    ),
}


class Finding(NamedTuple):
    """A construct that the runner should replace, and where it is."""

    place: str
    line: int
    construct: str


def _is_endless(loop: ast.While) -> bool:
    """Return whether a loop runs until it is stopped from outside."""
    if isinstance(loop.test, ast.Constant):
        return True
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _EVENT_METHODS
        for node in ast.walk(loop.test)
    )


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _findings(node: ast.AST, place: str, name: str = "") -> Iterator[Finding]:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{name}.{child.name}".removeprefix(".")
        if isinstance(child, ast.While) and _is_endless(child):
            yield Finding(f"{place}:{name}", child.lineno, f"while {ast.unparse(child.test)}")
        if isinstance(child, ast.Call) and _called(child) in _STARTERS:
            yield Finding(f"{place}:{name}", child.lineno, _called(child))
        yield from _findings(child, place, inner)


def find_loops(source: str, place: str) -> list[Finding]:
    """Return the loops and background starts in the source of a module."""
    return list(_findings(ast.parse(source), place))


def _found_in_distributions(root: Path) -> list[Finding]:
    found = []
    for distribution in SERVICES:
        package = root / "files" / distribution / "src" / f"ffrtmp_{distribution}"
        for file in python_files(root):
            if file.is_relative_to(package):
                place = f"{distribution}/{file.relative_to(package)}"
                found += find_loops(file.read_text(encoding="utf-8"), place)
    return found


@pytest.mark.slow
def test_every_loop_is_run_by_the_runner(root: Path) -> None:
    odd = [found for found in _found_in_distributions(root) if found.place not in EXCEPTIONS]
    assert odd == [], "use ffrtmp_shared.loop_runner, or add the place to EXCEPTIONS with a reason"


def test_every_exception_is_needed(root: Path) -> None:
    assert EXCEPTIONS.keys() <= {found.place for found in _found_in_distributions(root)}


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    pass",
        "while 1:\n    pass",
        "while not stopped.is_set():\n    pass",
        "while not self._stopped.wait(1.0):\n    pass",
        "threading.Thread(target=run).start()",
        "threading.Timer(1.0, run).start()",
        "asyncio.create_task(run())",
        "loop.call_later(1.0, run)",
    ],
)
def test_a_loop_without_the_runner_is_found(source: str) -> None:
    body = "\n".join(f"    {line}" for line in source.splitlines())
    assert len(find_loops(f"def serve():\n{body}\n", "file.py")) == 1


def test_a_loop_over_data_is_permitted() -> None:
    source = "while chunk := file.read(100):\n    pass\nwhile number < 10:\n    number += 1\n"
    assert find_loops(source, "file.py") == []
