"""Tests of the cost of streams, with and without configured prices."""

from pathlib import Path

import msgspec
import pytest
from ffrtmp_shared.config import ConfigError, load
from ffrtmp_shared.density_measurement import StreamCost
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.agent.settings import AgentSettings
from ffrtmp_worker.kinds.steps.stream_cost import Prices

_UNKNOWN_POWER = Unavailable(reason="this node has no energy reader")


def test_a_host_and_its_energy_are_shared_by_the_streams() -> None:
    cost = Prices(currency="EUR", host_per_hour=0.6, energy_per_kwh=0.3).cost_per_stream(4, 25.0)
    assert isinstance(cost, StreamCost)
    assert cost.energy_per_stream_hour == pytest.approx(0.0075)
    assert cost.per_stream_hour == pytest.approx(0.15 + 0.0075)
    assert (cost.currency, cost.host_per_hour, cost.energy_per_kwh) == ("EUR", 0.6, 0.3)


@pytest.mark.parametrize("power", [25.0, _UNKNOWN_POWER])
def test_a_price_that_includes_energy_needs_no_power(power: float | Unavailable) -> None:
    cost = Prices(currency="USD", host_per_hour=0.6).cost_per_stream(4, power)
    assert isinstance(cost, StreamCost)
    assert cost.per_stream_hour == pytest.approx(0.15)
    assert isinstance(cost.energy_per_stream_hour, Unavailable)
    assert isinstance(cost.energy_per_kwh, Unavailable)


def test_priced_but_unavailable_energy_makes_the_cost_unavailable() -> None:
    cost = Prices(currency="EUR", host_per_hour=0.6, energy_per_kwh=0.3).cost_per_stream(
        4, _UNKNOWN_POWER
    )
    assert isinstance(cost, Unavailable)
    assert "no energy reader" in cost.reason


@pytest.mark.parametrize("prices", [Prices(), Prices(currency="EUR", energy_per_kwh=0.3)])
def test_the_cost_is_unavailable_without_a_host_price(prices: Prices) -> None:
    cost = prices.cost_per_stream(4, 25.0)
    assert isinstance(cost, Unavailable)
    assert "worker_host_price_per_hour" in cost.reason


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"host_price_per_hour": 0.6}, "currency"),
        ({"energy_price_per_kwh": 0.3}, "currency"),
        ({"host_price_per_hour": -1.0, "currency": "EUR"}, "host_price_per_hour"),
        ({"host_price_per_hour": 0.6, "currency": "euro"}, "currency"),
    ],
)
def test_invalid_prices_are_rejected(tmp_path: Path, given: dict[str, object], key: str) -> None:
    others = dict.fromkeys(
        ("token_file", "ca_file", "work_dir", "spool_dir", "cache_dir", "ffmpeg", "ffprobe"), "/x"
    ) | {"quality_ffmpeg": "/x", "master_url": "https://m", "node_name": "n", "address": "n"}
    file = tmp_path / "agent.yml"
    file.write_bytes(msgspec.yaml.encode(others))
    assert load(file, AgentSettings).currency is None
    file.write_bytes(msgspec.yaml.encode({**others, **given}))
    with pytest.raises(ConfigError, match=key):
        load(file, AgentSettings)
