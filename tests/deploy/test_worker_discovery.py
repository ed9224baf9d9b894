"""Tests of the discovery of workers, with a master, and VictoriaMetrics as its role sets it up."""

import time
from pathlib import Path

import factories
import msgspec
import pytest
from certificates import HOST, Site
from databases import Database, fill, settings_for
from ffrtmp_shared.node_models import NodeUpdate
from ffrtmp_shared.states import NodeState
from master_process import MasterProcess
from metrics_target import metrics_target
from polling import wait_until
from postgresql import free_port
from victoria_metrics import (
    RELEASES,
    run_victoria_metrics,
    settings,
    write_scrape_config,
)

_ADDED_WITHIN_S = 30
_OFFLINE_S = 2.0


# The test takes 40 s, and the releases do not differ in the discovery of targets.
@pytest.mark.slow
@pytest.mark.parametrize(
    "release", [RELEASES[0], pytest.param(RELEASES[1], marks=pytest.mark.deep)]
)
def test_workers_are_scraped_soon_after_they_register_until_they_are_drained_and_stopped(
    tmp_path: Path, release: str
) -> None:
    """The intervals are the defaults of the role."""
    site = Site(tmp_path)
    database = Database(f"sqlite:///{tmp_path}/farm.db")
    fill(database)
    own = msgspec.structs.replace(settings_for(database, tmp_path), node_offline_s=_OFFLINE_S)
    with (
        MasterProcess(tmp_path, own).serving() as master,
        metrics_target(site, lambda: b"ffrtmp_power_watts 5\n") as target,
    ):
        both = tmp_path / "both.pem"
        both.write_bytes(site.ca_file.read_bytes() + master.ca_file.read_bytes())
        known = settings(
            site,
            release,
            free_port(),
            victoria_metrics_master_url=master.url,
            victoria_metrics_ca_file=str(both),
        )
        (tmp_path / "monitoring.token").write_text("token-viewer")
        write_scrape_config(known)
        with (
            run_victoria_metrics(site, release, known) as store,
            master.client("worker1") as worker,
            master.client("admin") as admin,
        ):
            wait_until(
                lambda: store.value('up{job="victoria_metrics"}') == 1, "VictoriaMetrics is scraped"
            )
            assert store.query('up{job="cpu"}') == []
            added_s = time.monotonic()
            registration = msgspec.structs.replace(
                factories.registration("worker1"),
                address=HOST,
                exporters={"cpu": int(target.partition(":")[2])},
            )
            worker.register(registration)
            power = 'ffrtmp_power_watts{job="cpu",node="worker1"}'
            wait_until(lambda: store.value(power) == 5, "the worker is scraped")
            assert time.monotonic() - added_s < _ADDED_WITHIN_S

            # An offline node that was not drained stays a target, so that its failure is noticed.
            wait_until(lambda: admin.nodes()[0].state is NodeState.OFFLINE, "the worker is offline")
            admin.update_node("worker1", NodeUpdate(state=NodeState.DRAINING))
            wait_until(lambda: store.query('up{job="cpu"}') == [], "the target is removed")
            assert [t for t in store.targets().values() if t["labels"]["job"] == "cpu"] == []
            # It was up until it was removed, so no alert has a reason to fire.
            assert store.value('min_over_time(up{job="cpu"}[10m])') == 1
