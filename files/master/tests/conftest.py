"""Fixtures: a real master on a database of either engine, with a clock that the tests set."""

from collections.abc import Callable, Iterator

import factories
import in_process_master
import pytest
from databases import cluster, database, engine, migrated, settings, template_file
from ffrtmp_master.services import Services
from ffrtmp_master.settings import Settings
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.node_models import Registration
from in_process_master import MasterHarness, SetClock

__all__ = ["cluster", "database", "engine", "migrated", "settings", "template_file"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def services(migrated: Settings, clock: SetClock) -> Services:
    # The interval is so long that maintenance only runs when a test calls it.
    return Services(migrated, clock, maintenance_interval_s=3600)


@pytest.fixture
def harness(services: Services, clock: SetClock) -> Iterator[MasterHarness]:
    with in_process_master.running_master(services, clock) as serving:
        yield serving


@pytest.fixture
def ready_harness(harness: MasterHarness) -> MasterHarness:
    """A master with the clip and one node, worker1, which has the encoder libx264."""
    harness.register("worker1")
    harness.upload()
    return harness


@pytest.fixture
def make_suite() -> Callable[..., str]:
    return factories.suite


@pytest.fixture
def make_registration() -> Callable[..., Registration]:
    return factories.registration


@pytest.fixture
def make_measurement() -> Callable[[], Measurement]:
    return factories.measurement
