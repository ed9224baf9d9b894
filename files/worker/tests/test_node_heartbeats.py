"""Tests of the heartbeats of a node: their sender, clock offsets, failed units, older masters."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.client import MasterClient
from ffrtmp_shared.loop_registry import LoopRegistry
from ffrtmp_shared.loop_runner import AfterPass
from ffrtmp_shared.node_models import MAX_UNITS, NodeHeartbeat
from ffrtmp_worker.agent.directory_lock import DirectoryLock
from ffrtmp_worker.agent.failed_units import FailedUnits, read_failed_units
from ffrtmp_worker.agent.node_heartbeats import NodeHeartbeats, clock_offset

from .api_server import ApiServer

_NODE = "worker-1"
_PATH = f"/v1/nodes/{_NODE}/heartbeat"

# The output of systemctl of Debian 12 and 13 for failed units.
_LISTED = """\
nginx.service                    loaded failed failed A high performance web server
dev-disk-by\\x2duuid-1.swap      loaded failed failed /dev/disk/by-uuid/1
"""


@pytest.fixture
def connect(master: ApiServer) -> Callable[[], MasterClient]:
    return lambda: MasterClient(master.url, "token", master.ca_file)


@contextmanager
def sender(
    connect: Callable[[], MasterClient], folder: Path, units: FailedUnits | None = None
) -> Iterator[NodeHeartbeats]:
    beats = NodeHeartbeats(
        _NODE, connect, LoopRegistry(), DirectoryLock(folder), read_units=lambda: units
    )
    yield beats
    beats.close()


def heartbeats(master: ApiServer) -> list[NodeHeartbeat]:
    return [msgspec.json.decode(body, type=NodeHeartbeat) for body in master.bodies(_PATH)]


def test_an_offset_is_that_of_the_middle_of_the_round_trip() -> None:
    """Compare with a hand calculation: sent at 100.0, received at 100.4, answered 95.0."""
    master_time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=95)
    measured = clock_offset(100.0, 0.4, master_time)
    assert measured.offset_s == pytest.approx(5.2)
    assert measured.uncertainty_s == pytest.approx(0.2)


@pytest.mark.parametrize("answered_after", [0.0, 0.5, 1.0])
def test_the_true_offset_is_within_the_uncertainty(answered_after: float) -> None:
    """Let the master answer at any moment of the round trip of 2 s, with clocks 3 s apart."""
    master_time = datetime.fromtimestamp(1000.0 + 2 * answered_after - 3.0, tz=UTC)
    measured = clock_offset(1000.0, 2.0, master_time)
    assert abs(measured.offset_s - 3.0) <= measured.uncertainty_s


def test_the_second_heartbeat_follows_at_once_and_has_the_offset(
    master: ApiServer, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    with sender(connect, tmp_path, FailedUnits(3, ("nginx.service",))) as beats:
        assert beats.send_next() is AfterPass.REPEAT
        assert beats.send_next() is AfterPass.PAUSE
    first, second = heartbeats(master)
    assert (first.failed_unit_count, first.failed_units) == (3, ("nginx.service",))
    assert first.clock is None
    # The server of the test has the same clock.
    assert second.clock is not None
    assert abs(second.clock.offset_s) <= second.clock.uncertainty_s + 0.001
    assert 0 < second.clock.uncertainty_s < 5


def test_a_master_of_an_earlier_release_is_no_failure(
    master: ApiServer,
    connect: Callable[[], MasterClient],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    master.refuse(_PATH, 404, 405, 404)
    with sender(connect, tmp_path) as beats:
        assert [beats.send_next() for _ in range(3)] == [AfterPass.PAUSE] * 3
        assert len([r for r in caplog.records if "does not accept heartbeats" in r.message]) == 1
        # After the upgrade of the master, its agents need no restart.
        assert beats.send_next() is AfterPass.REPEAT
    assert heartbeats(master)[-1] == NodeHeartbeat()


def test_one_of_several_agents_sends_and_another_one_follows_it(
    master: ApiServer, connect: Callable[[], MasterClient], tmp_path: Path
) -> None:
    with sender(connect, tmp_path) as first, sender(connect, tmp_path) as second:
        assert [first.send_next(), first.send_next()] == [AfterPass.REPEAT, AfterPass.PAUSE]
        assert second.send_next() is AfterPass.PAUSE
        assert len(heartbeats(master)) == 2
        first.close()
        assert [second.send_next(), second.send_next()] == [AfterPass.REPEAT, AfterPass.PAUSE]
        # The first agent was only disconnected, and must not send as well.
        assert first.send_next() is AfterPass.PAUSE
    assert len(heartbeats(master)) == 4


_HOLDER = """
import sys
from pathlib import Path
from ffrtmp_worker.agent.directory_lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print(lock.try_acquire(), flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lock.try_acquire()
        holder.kill()
        holder.wait()
    assert lock.try_acquire()
    assert lock.try_acquire()
    assert not DirectoryLock(tmp_path).try_acquire()
    lock.release()
    assert DirectoryLock(tmp_path).try_acquire()


def test_the_programs_that_an_agent_starts_do_not_keep_its_lock(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    assert lock.try_acquire()
    with subprocess.Popen(["/usr/bin/sleep", "60"]) as program:
        lock.release()
        assert DirectoryLock(tmp_path).try_acquire()
        program.kill()


def test_a_directory_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DirectoryLock(tmp_path / "missing").try_acquire()


def systemctl(folder: Path, count: str, listed: str = _LISTED) -> Path:
    """Return a program that answers as systemctl does; tests run without systemd."""
    program = folder / "systemctl"
    program.write_text(
        f"#!/bin/sh\ncase $1 in show) echo \"{count}\" ;; *) cat <<'END'\n{listed}END\n;; esac\n"
    )
    program.chmod(0o755)
    return program


def test_failed_units_are_named(tmp_path: Path) -> None:
    assert read_failed_units(systemctl(tmp_path, "2")) == FailedUnits(
        2, ("nginx.service", "dev-disk-by\\x2duuid-1.swap")
    )
    assert read_failed_units(systemctl(tmp_path, "0")) == FailedUnits(0, ())


def test_the_names_of_failed_units_are_bounded(tmp_path: Path) -> None:
    many = "".join(f"unit{n}.service loaded failed failed x\n" for n in range(100))
    found = read_failed_units(systemctl(tmp_path, "100", many + "ä.service loaded\n"))
    assert found is not None
    assert (found.count, len(found.names)) == (100, MAX_UNITS)
    beyond = read_failed_units(systemctl(tmp_path, "100000", many))
    assert beyond == FailedUnits(100_000, ())
    hostile = read_failed_units(systemctl(tmp_path, "2", "a/b.service x\nok.service x\n"))
    assert hostile == FailedUnits(2, ("ok.service",))


@pytest.mark.parametrize("output", ["", "-1", "unknown"])
def test_an_unexpected_answer_is_no_number_of_units(tmp_path: Path, output: str) -> None:
    assert read_failed_units(systemctl(tmp_path, output)) is None


def test_a_host_without_systemd_reports_nothing(tmp_path: Path) -> None:
    assert read_failed_units(tmp_path / "missing") is None


def test_a_hanging_systemctl_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffrtmp_worker.agent.failed_units._TIMEOUT_S", 0.1)
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    started_s = time.monotonic()
    assert read_failed_units(program) is None
    assert time.monotonic() - started_s < 10
