"""Tests of the spool.

No report may be lost if the agent is killed, and no entry may block the others.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Failure, FailureReport
from ffrtmp_worker.agent.spool import Spool, SpooledReport, describe_artifact

from .api_server import ApiServer


def _add(spool: Spool, folder: Path, message: str) -> SpooledReport:
    log = folder / "ffmpeg.log"
    log.write_text(f"log of {message}", encoding="utf-8")
    failure = Failure(failure_class=FailureClass.NODE, message=message)
    report = SpooledReport(
        job_id=new_id(),
        failure=FailureReport(attempt=1, failure=failure, artifacts=(describe_artifact(log),)),
    )
    spool.add(report, [log])
    return report


def _messages(master: ApiServer) -> list[str]:
    reports = [msgspec.json.decode(b, type=FailureReport) for b in master.bodies("/failure")]
    return [report.failure.message for report in reports]


def test_artifacts_are_sent_before_their_report_and_reports_in_order(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    first, second = (_add(spool, tmp_path, name) for name in ("one", "two"))
    assert spool.deliver(client, threading.Event())
    assert [(request.method, request.path) for request in master.seen] == [
        (method, f"/v1/jobs/{report.job_id}/{suffix}")
        for report in (first, second)
        for method, suffix in (("PUT", "artifacts/ffmpeg.log"), ("POST", "failure"))
    ]
    assert master.bodies("/ffmpeg.log") == [b"log of one", b"log of two"]
    assert spool.pending() == []


def test_temporary_errors_are_retried(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add(spool, tmp_path, "patience")
    master.refuse("/failure", 503)
    master.refuse("/ffmpeg.log", 500)
    assert spool.deliver(client, threading.Event())
    assert _messages(master) == ["patience", "patience"]
    assert (spool.pending(), spool.rejected()) == ([], [])


def test_an_unreachable_master_loses_no_report(tmp_path: Path, master: ApiServer) -> None:
    spool = Spool(tmp_path / "spool")
    _add(spool, tmp_path, "kept")
    stopped = threading.Event()
    threading.Timer(1.0, stopped.set).start()
    with MasterClient("https://127.0.0.1:1", "token", master.ca_file) as unreachable:
        assert not spool.deliver(unreachable, stopped)
    assert len(spool.pending()) == 1
    with MasterClient(master.url, "token", master.ca_file) as client:
        assert Spool(tmp_path / "spool").deliver(client, threading.Event())
    assert _messages(master) == ["kept"]


def test_rejected_and_damaged_entries_do_not_block_the_others(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    for name in ("dead", "cut", "changed", "fine"):
        _add(spool, tmp_path, name)
    _, cut, changed, _ = spool.pending()
    (cut / "report.json").write_bytes((cut / "report.json").read_bytes()[:50])
    (changed / "ffmpeg.log").write_text("something else", encoding="utf-8")
    master.refuse("/failure", 409)
    assert spool.deliver(client, threading.Event())
    assert _messages(master) == ["dead", "fine"]
    assert len(spool.rejected()) == 3
    assert spool.pending() == []


def test_the_number_of_rejected_entries_is_limited(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(103):
        _add(spool, tmp_path, str(number))
        (spool.pending()[-1] / "report.json").unlink()
    last = spool.pending()[-1].name
    spool.deliver(client, threading.Event())
    assert len(spool.rejected()) == 100
    assert spool.rejected()[-1].name == last


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from ffrtmp_worker.agent.spool import Spool
from ffrtmp_shared.failures import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.models import Failure, FailureReport
from ffrtmp_worker.agent import spool
when, folder = sys.argv[1], Path(sys.argv[2])
log = folder / "ffmpeg.log"
log.write_text("a log")
artifacts = (spool.describe_artifact(log),)
failure = Failure(failure_class=FailureClass.NODE, message="written")
report = spool.SpooledReport(
    job_id=new_id(), failure=FailureReport(attempt=1, failure=failure, artifacts=artifacts)
)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "before the rename":
    Path.rename = die
opened = spool.Spool(folder / "spool")
opened.add(report, [log])
die()
"""


@pytest.mark.parametrize(("when", "delivered"), [("after", ["written"]), ("before the rename", [])])
def test_a_killed_writer_leaves_a_complete_report_or_none(
    when: str, delivered: list[str], master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITER, when, str(tmp_path)], env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    spool = Spool(tmp_path / "spool")
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []
    assert spool.deliver(client, threading.Event())
    assert _messages(master) == delivered
