"""Test that a master that is killed under load does not lose anything that it has acknowledged.

`make test-crash` kills the master 20 times with SIGKILL at random times. The test prints the seed
of the random numbers, with which FFRTMP_TEST_SEED repeats the same times.
"""

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from databases import only
from ffrtmp_master.settings import Settings
from load_generator import JobAccounting, Load, check, register_all
from master_process import MasterProcess
from polling import wait_until

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FFRTMP_TEST_KILLS", "3"))
SEED = int(os.environ.get("FFRTMP_TEST_SEED", str(random.SystemRandom().randrange(2**31))))


@only("sqlite")
def test_kill_9_loses_nothing_that_was_acknowledged(
    migrated: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{KILLS} kills, FFRTMP_TEST_SEED={SEED}")  # noqa: T201
    moments = random.Random(SEED)  # noqa: S311
    # Leases do not expire during the test, so only the slot that has an attempt can end it.
    settings = msgspec.structs.replace(migrated, lease_s=600.0, requests_per_s_max=1e6)
    master = MasterProcess(tmp_path, settings)
    database = settings.database_url.removeprefix("sqlite:///")
    with master.serving():
        register_all(master)
        load = Load([master], seed=SEED)
        with load.running(submitters=4, slots=2) as ledger:
            for _ in range(KILLS):
                _kill_under_load(master, ledger, moments.uniform(0, 1.0))
                check_integrity(database)
                master.start()
        jobs = check(ledger, master)
        assert ledger.unknown, "no kill hit a submission"
        states = [job["state"] for job in jobs.values()]
        assert states.count("failed") == states.count("canceled") == 0
    check_integrity(database)


def _kill_under_load(master: MasterProcess, ledger: JobAccounting, wait_s: float) -> None:
    """Kill the master `wait_s` after it has stored some new results."""
    before = len(ledger.stored)
    wait_until(lambda: len(ledger.stored) >= before + 5, "results are stored", interval_s=0.01)
    time.sleep(wait_s)
    assert master.end(signal.SIGKILL) == -signal.SIGKILL


def check_integrity(database: str) -> None:
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
