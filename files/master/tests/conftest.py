"""A real master on a real database, on both engines, with a clock that the tests set."""

from collections.abc import Callable, Iterator

import house as house_module
import pytest
import specimens
from databases import cluster, database, engine, migrated, settings, template_file
from ffrtmp_master.services import Farm
from ffrtmp_master.settings import Settings
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.models import Registration
from house import House, SetClock

__all__ = ["cluster", "database", "engine", "migrated", "settings", "template_file"]


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def farm(migrated: Settings, clock: SetClock) -> Farm:
    # The tests sweep when they want to.
    return Farm(migrated, clock, sweep_s=3600)


@pytest.fixture
def house(farm: Farm, clock: SetClock) -> Iterator[House]:
    with house_module.serving(farm, clock) as serving:
        yield serving


@pytest.fixture
def ready_house(house: House) -> House:
    """A master with one node, worker1, that has libx264, and with the clip."""
    house.register("worker1")
    house.upload()
    return house


@pytest.fixture
def make_suite() -> Callable[..., str]:
    return specimens.suite


@pytest.fixture
def make_registration() -> Callable[..., Registration]:
    return specimens.registration


@pytest.fixture
def make_measurement() -> Callable[[], Measurement]:
    return specimens.measurement
