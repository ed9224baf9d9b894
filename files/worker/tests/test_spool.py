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
from ffrtmp_shared.agent_models import FailureReport, ResultReport
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_shared.loop_registry import LoopRegistry, LoopStatus
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.activity import SpoolCounts
from ffrtmp_worker.agent.report_delivery import ReportDelivery
from ffrtmp_worker.agent.spool import Spool
from ffrtmp_worker.agent.spooled_report import SpooledReport, describe_artifact
from measurement_factory import measurement

from .api_server import ApiServer


def status() -> LoopStatus:
    return LoopRegistry().add("claims", stale_after_s=60.0)


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


def _add_result(spool: Spool, folder: Path, measured: Measurement) -> SpooledReport:
    log = folder / "ffmpeg.log"
    log.write_text("log of a result", encoding="utf-8")
    result = ResultReport(attempt=2, measurement=measured, artifacts=(describe_artifact(log),))
    report = SpooledReport(job_id=new_id(), result=result)
    spool.add(report, [log])
    return report


def _deliver(spool: Spool, client: MasterClient) -> bool:
    return ReportDelivery(spool, threading.Event(), status()).deliver_all(client)


def _results(master: ApiServer) -> list[ResultReport]:
    return [msgspec.json.decode(b, type=ResultReport) for b in master.bodies("/result")]


def _messages(master: ApiServer) -> list[str]:
    reports = [msgspec.json.decode(b, type=FailureReport) for b in master.bodies("/failure")]
    return [report.failure.message for report in reports]


def test_artifacts_are_sent_before_their_report_and_reports_in_order(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    first, second = (_add(spool, tmp_path, name) for name in ("one", "two"))
    assert _deliver(spool, client)
    assert [(request.method, request.path) for request in master.seen] == [
        (method, f"/v1/jobs/{report.job_id}/{suffix}")
        for report in (first, second)
        for method, suffix in (("PUT", "artifacts/ffmpeg.log"), ("POST", "failure"))
    ]
    assert master.bodies("/ffmpeg.log") == [b"log of one", b"log of two"]
    assert spool.pending() == []


@pytest.mark.slow
def test_temporary_errors_are_retried(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add(spool, tmp_path, "patience")
    master.refuse("/failure", 503)
    master.refuse("/ffmpeg.log", 500)
    assert _deliver(spool, client)
    assert _messages(master) == ["patience", "patience"]
    assert (spool.pending(), spool.rejected()) == ([], [])


@pytest.mark.slow
def test_an_unreachable_master_loses_no_report(tmp_path: Path, master: ApiServer) -> None:
    spool = Spool(tmp_path / "spool")
    _add(spool, tmp_path, "kept")
    stopped = threading.Event()
    threading.Timer(1.0, stopped.set).start()
    with MasterClient("https://127.0.0.1:1", "token", master.ca_file) as unreachable:
        assert not ReportDelivery(spool, stopped, status()).deliver_all(unreachable)
    assert len(spool.pending()) == 1
    with MasterClient(master.url, "token", master.ca_file) as client:
        assert _deliver(Spool(tmp_path / "spool"), client)
    assert _messages(master) == ["kept"]


def test_damaged_entries_become_failures_and_do_not_block_the_others(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    for name in ("dead", "cut", "changed", "fine"):
        _add(spool, tmp_path, name)
    _, cut, changed, _ = spool.pending()
    (cut / "report.json").write_bytes((cut / "report.json").read_bytes()[:50])
    (changed / "ffmpeg.log").write_text("something else", encoding="utf-8")
    master.refuse("/failure", 409)
    assert _deliver(spool, client)
    dead, of_cut, of_changed, fine = _messages(master)
    assert (dead, fine) == ("dead", "fine")
    assert "Input data was truncated" in of_cut
    assert f"kept on the node in {tmp_path}/spool/rejected/{cut.name}" in of_cut
    assert "the artifact ffmpeg.log was omitted: the file in the spool is damaged" in of_changed
    assert len(spool.rejected()) == 2
    assert (spool.rejected()[1] / "reason.txt").read_text(encoding="utf-8")
    assert spool.pending() == []


def test_an_entry_without_a_known_job_does_not_block_the_others(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    """Check entries of earlier releases, whose names do not contain the job."""
    spool = Spool(tmp_path / "spool")
    report = _add(spool, tmp_path, "old")
    _add(spool, tmp_path, "cut")
    _add(spool, tmp_path, "fine")
    for entry in spool.pending()[:2]:
        entry.rename(entry.with_name(str(new_id())))
    entries = {
        msgspec.json.decode((e / "report.json").read_bytes())["job_id"]: e for e in spool.pending()
    }
    whole = entries.pop(str(report.job_id))
    document = msgspec.json.decode((whole / "report.json").read_bytes())
    document["failure"]["failure"]["message"] = 5
    (whole / "report.json").write_bytes(msgspec.json.encode(document))
    cut = next(e for e in entries.values() if "." not in e.name)
    (cut / "report.json").write_bytes((cut / "report.json").read_bytes()[:50])
    assert _deliver(spool, client)
    assert sorted(message[:30] for message in _messages(master)) == sorted(
        ["fine", f"{whole.name[:30]}"]
    )
    assert {entry.name for entry in spool.rejected()} == {whole.name, cut.name}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_result_that_the_master_rejects_becomes_a_failure_with_the_reason(
    status: int, master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    report = _add_result(spool, tmp_path, measurement())
    _add(spool, tmp_path, "next")
    master.refuse("/result", status)
    assert _deliver(spool, client)
    first, _ = [msgspec.json.decode(b, type=FailureReport) for b in master.bodies("/failure")]
    assert (first.attempt, first.failure.failure_class) == (2, FailureClass.REPORT_REJECTED)
    assert not first.failure.failure_class.is_retryable
    assert f"rejected the report with status {status}: refused" in first.failure.message
    (kept,) = spool.rejected()
    assert str(kept) in first.failure.message
    assert spool.pending() == []
    stored = msgspec.json.decode((kept / "report.json").read_bytes(), type=SpooledReport)
    assert stored == report, "the measurement is kept"


@pytest.mark.parametrize("code", [400, 422])
def test_a_result_that_an_older_master_cannot_decode_is_kept(
    code: int, master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    result = ResultReport(attempt=1, measurement=measurement())
    spool.add(SpooledReport(job_id=new_id(), result=result, is_master_older=True), [])
    master.refuse("/result", code)
    delivery = ReportDelivery(spool, threading.Event(), status())
    assert delivery.deliver_all(client)
    assert delivery.counts() == SpoolCounts(pending=1, deferred=1, rejected=0)
    assert master.bodies("/failure") == []
    assert _deliver(spool, client), "the upgraded master accepts it"
    assert (len(_results(master)), spool.pending(), spool.rejected()) == (2, [], [])


def test_a_rejected_report_is_replaced_only_once(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add_result(spool, tmp_path, measurement())
    master.refuse("/result", 422)
    master.refuse("/failure", 400)
    assert _deliver(spool, client)
    assert len(master.bodies("/failure")) == 1
    assert (len(spool.pending()), len(spool.rejected())) == (0, 1)


@pytest.mark.parametrize("status", [413, 422, 507])
def test_an_artifact_that_the_master_rejects_is_omitted_and_named(
    status: int, master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add_result(spool, tmp_path, measurement())
    master.refuse("/ffmpeg.log", status)
    assert _deliver(spool, client)
    (result,) = _results(master)
    assert result.artifacts == ()
    (omitted,) = result.measurement.omitted_artifacts
    assert (omitted.name, omitted.size_bytes) == ("ffmpeg.log", 15)
    assert f"status {status}" in omitted.reason
    assert (spool.pending(), spool.rejected()) == ([], [])


def test_an_artifact_that_is_larger_than_the_limit_is_not_sent(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    log = tmp_path / "ffmpeg.log"
    log.write_bytes(b"x" * 1001)
    listed = (describe_artifact(log),)
    result = ResultReport(attempt=1, measurement=measurement(), artifacts=listed)
    spool.add(SpooledReport(job_id=new_id(), result=result), [log], max_bytes=1000)
    assert _deliver(spool, client)
    (stored,) = _results(master)
    assert "master_max_artifact_bytes" in stored.measurement.omitted_artifacts[0].reason
    assert master.bodies("/ffmpeg.log") == []


def test_an_artifact_that_cannot_be_copied_is_omitted(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    log = tmp_path / "ffmpeg.log"
    log.write_bytes(b"x")
    listed = (describe_artifact(log),)
    log.unlink()
    result = ResultReport(attempt=1, measurement=measurement(), artifacts=listed)
    spool.add(SpooledReport(job_id=new_id(), result=result), [log])
    assert _deliver(spool, client)
    (stored,) = _results(master)
    assert "No such file" in stored.measurement.omitted_artifacts[0].reason


@pytest.mark.slow
def test_a_report_with_server_errors_moves_behind_the_others(
    master: ApiServer, client: MasterClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path / "spool")
    bad = _add_result(spool, tmp_path, measurement())
    _add(spool, tmp_path, "next")
    master.refuse(f"{bad.job_id}/result", 500, 500, 500)
    delivery = ReportDelivery(spool, threading.Event(), status())
    assert delivery.deliver_all(client)
    assert _messages(master) == ["next"]
    assert delivery.counts() == SpoolCounts(pending=1, deferred=1, rejected=0)
    assert "a report is deferred by 30 s" in caplog.text
    assert delivery.deliver_all(client), "it is not due yet"
    assert len(_results(master)) == 3
    assert _deliver(spool, client), "a restarted agent tries again"
    assert (len(_results(master)), spool.pending(), spool.rejected()) == (4, [], [])


@pytest.mark.slow
def test_an_artifact_with_server_errors_does_not_hold_back_the_result(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add_result(spool, tmp_path, measurement())
    master.refuse("/ffmpeg.log", *[500] * 10)
    assert _deliver(spool, client)
    (result,) = _results(master)
    assert [omitted.name for omitted in result.measurement.omitted_artifacts] == ["ffmpeg.log"]


def test_a_result_of_an_earlier_release_is_readable_although_its_type_is_stricter(
    master: ApiServer, client: MasterClient, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool")
    _add_result(spool, tmp_path, measurement())
    file = spool.pending()[0] / "report.json"
    document = msgspec.json.decode(file.read_bytes())
    document["result"]["measurement"]["environment"]["throttle_events"] = -2
    file.write_bytes(msgspec.json.encode(document))
    assert _deliver(spool, client)
    (result,) = _results(master)
    assert isinstance(result.measurement.environment.throttle_events, Unavailable)
    assert result.measurement.quality == measurement().quality


def test_the_size_of_rejected_entries_is_limited(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_rejected_bytes=100_000)
    log = tmp_path / "ffmpeg.log"
    for size in (60_000, 60_000, 200_000):
        log.write_bytes(b"x" * size)
        failure = Failure(failure_class=FailureClass.NODE, message=str(size))
        listed = (describe_artifact(log),)
        ended = FailureReport(attempt=1, failure=failure, artifacts=listed)
        spool.add(SpooledReport(job_id=new_id(), failure=ended), [log])
        spool.reject(spool.pending()[0], "test")
        kept = sum(f.stat().st_size for e in spool.rejected() for f in e.iterdir())
        assert kept <= 100_000
    assert (spool.rejected()[-1] / "report.json").exists()
    assert not (spool.rejected()[-1] / "ffmpeg.log").exists()


def test_the_number_of_rejected_entries_is_limited(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(103):
        _add(spool, tmp_path, str(number))
        spool.reject(spool.pending()[-1], "test")
    last = spool.rejected()[-1].name
    assert len(spool.rejected()) == 100
    assert spool.rejected()[-1].name == last


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from ffrtmp_shared.agent_models import FailureReport
from ffrtmp_shared.attempt_models import Failure
from ffrtmp_shared.failure_classes import FailureClass
from ffrtmp_shared.ids import new_id
from ffrtmp_worker.agent import spooled_report
from ffrtmp_worker.agent.spool import Spool
when, folder = sys.argv[1], Path(sys.argv[2])
log = folder / "ffmpeg.log"
log.write_text("a log")
artifacts = (spooled_report.describe_artifact(log),)
failure = Failure(failure_class=FailureClass.NODE, message="written")
report = spooled_report.SpooledReport(
    job_id=new_id(), failure=FailureReport(attempt=1, failure=failure, artifacts=artifacts)
)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "before the rename":
    Path.rename = die
opened = Spool(folder / "spool")
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
    assert _deliver(spool, client)
    assert _messages(master) == delivered


def test_an_entry_with_an_unexpected_error_does_not_block_the_others(
    master: ApiServer, client: MasterClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool")
    for name in ("one", "two", "three"):
        _add(spool, tmp_path, name)
    bad = spool.pending()[1].name
    read = Spool.read

    def read_unless_bad(self: Spool, entry: Path) -> SpooledReport:
        if entry.name == bad:
            raise RecursionError
        return read(self, entry)

    monkeypatch.setattr(Spool, "read", read_unless_bad)
    of_loop = status()
    delivery = ReportDelivery(spool, threading.Event(), of_loop)
    for _ in range(4):
        assert delivery.deliver_all(client)
    assert _messages(master) == ["one", "three"]
    assert [entry.name for entry in spool.pending()] == [bad]
    assert of_loop.read().items_set_aside == 1
