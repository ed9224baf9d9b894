"""Test that compares docs/metrics.md with the metrics of the programs."""

import pytest

from .metric_tables import PAGE, metrics, tables, unit_of, written


def test_the_tables_are_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text, "run: python tests/docs/metric_tables.py"


def test_every_metric_has_a_meaning_and_a_type() -> None:
    for table in tables().values():
        for row in table.splitlines()[2:]:
            name, kind, _, _, meaning = (cell.strip() for cell in row.strip("|").split(" |"))
            assert kind in ("counter", "gauge", "histogram", "info", "summary"), name
            assert len(meaning) > 10, name


def test_every_metric_declares_the_unit_in_its_name() -> None:
    for described in metrics().values():
        for metric, _ in described:
            # The metrics of the library's process collector declare no unit.
            if not metric.name.startswith("process_"):
                assert metric.unit == unit_of(metric.name), metric.name


# The series of all reasons always exist, so that none ends when the reason changes.
_REASON_COUNTS = {
    "ffrtmp_cost_available",
    "ffrtmp_carbon_available",
    "ffrtmp_node_cost_available",
}


def test_no_label_has_the_cause_of_a_failure_next_to_a_state() -> None:
    for described in metrics().values():
        for metric, labels in described:
            if metric.name.endswith(("_up", "_available", "_ready")):
                permitted = {"node", "reason"} if metric.name in _REASON_COUNTS else {"node"}
                assert set(labels) <= permitted, metric.name


def test_a_page_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the metrics of"):
        written("# Metrics\n")
