"""Fixtures of the tests of dashboards."""

from collections.abc import Iterator

import pytest

from .monitored_farm import Farm, monitored_farm


@pytest.fixture(scope="package")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A VictoriaMetrics with the metrics of a farm."""
    with monitored_farm(tmp_path_factory.mktemp("farm")) as running:
        yield running
