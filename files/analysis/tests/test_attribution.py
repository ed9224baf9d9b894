"""Tests of the attribution of differences to recorded factors."""

import math

import pytest
from ffrtmp_analysis.comparison.attribution import attribute_change
from ffrtmp_analysis.comparison.compared_results import Repeat
from ffrtmp_analysis.comparison.quantities import Quantity
from ffrtmp_analysis.comparison.recorded_factors import Factor

_USUAL = {
    Factor.CLOCK: 3000.0,
    Factor.STEAL: 0.0,
    Factor.THROTTLING: 0.0,
    Factor.PRESSURE: 0.0,
    Factor.THREADS: 4.0,
    Factor.POWER: 50.0,
}


def _parts(
    changed: dict[Factor, float],
    change: float,
    quantity: Quantity = Quantity.SPEED,
    usual: dict[Factor, float] = _USUAL,
) -> tuple[dict[Factor, float | None], float]:
    """Return the parts and the rest for a second side with other factors than the first."""
    a, b = (
        [Repeat(round=str(number), values={}, factors=factors) for number in range(3)]
        for factors in (usual, usual | changed)
    )
    parts, unexplained = attribute_change(a, b, quantity, change)
    return {part.factor: part.change for part in parts}, unexplained


def test_a_slower_clock_explains_its_share() -> None:
    parts, unexplained = _parts({Factor.CLOCK: 2880.0}, 0.95 - 1)
    assert parts[Factor.CLOCK] == pytest.approx(-0.05 * math.log(0.96) / math.log(0.95))
    assert unexplained == pytest.approx(-0.05 - (parts[Factor.CLOCK] or 0))
    assert parts[Factor.THREADS] == 0
    assert Factor.POWER not in parts


def test_parts_and_rest_add_up() -> None:
    changed = {Factor.CLOCK: 3300.0, Factor.STEAL: 0.1, Factor.THREADS: 3.0, Factor.POWER: 70.0}
    for quantity in (Quantity.SPEED, Quantity.ENERGY):
        parts, unexplained = _parts(changed, 0.2, quantity)
        assert sum(part or 0 for part in parts.values()) + unexplained == pytest.approx(0.2)


def test_steal_accounts_at_most_for_the_missing_threads() -> None:
    share = math.log(3.8 / 4) / math.log(0.95)
    parts, unexplained = _parts({Factor.STEAL: 0.2, Factor.THREADS: 3.8}, -0.05)
    assert parts[Factor.STEAL] == pytest.approx(-0.05 * share)
    assert parts[Factor.THREADS] == pytest.approx(0)
    assert unexplained == pytest.approx(0)


def test_steal_of_an_encode_with_as_many_threads_explains_nothing() -> None:
    parts, unexplained = _parts({Factor.STEAL: 0.2}, -0.05)
    assert (parts[Factor.STEAL], parts[Factor.THREADS]) == (0, 0)
    assert unexplained == pytest.approx(-0.05)


@pytest.mark.parametrize("factor", [Factor.STEAL, Factor.THROTTLING, Factor.PRESSURE])
def test_a_disturbance_has_a_part_and_the_encode_the_rest(factor: Factor) -> None:
    parts, _ = _parts({factor: 0.1, Factor.THREADS: 3.0}, 0.75 - 1)
    part, rest = parts[factor], parts[Factor.THREADS]
    assert part is not None
    assert rest is not None
    assert part < 0
    assert rest < 0
    assert part + rest == pytest.approx(-0.25)


def test_energy_follows_the_duration_and_the_power() -> None:
    changed = {Factor.CLOCK: 2700.0, Factor.POWER: 40.0}
    energy = 40 / 50 / 0.9
    parts, unexplained = _parts(changed, energy - 1, Quantity.ENERGY)
    assert parts[Factor.CLOCK] is not None
    assert parts[Factor.CLOCK] > 0
    assert unexplained == pytest.approx(0, abs=1e-12)
    assert sum(part or 0 for part in parts.values()) == pytest.approx(energy - 1)


def test_factors_that_were_not_recorded_have_no_part() -> None:
    usual = {name: value for name, value in _USUAL.items() if name is not Factor.CLOCK}
    parts, _ = _parts({}, -0.05, usual=usual)
    assert parts[Factor.CLOCK] is None
    assert parts[Factor.THREADS] == 0
