"""The report on a run."""

from __future__ import annotations

from .document import Report
from .run_data import RunData
from .sections.conditions import conditions_section
from .sections.density import density_section
from .sections.efficiency import efficiency_section
from .sections.findings import findings_section
from .sections.live import live_section
from .sections.rate_distortion import rate_distortion_section
from .sections.repeats import repeats_section
from .sections.time_series import time_series_section
from .sections.unavailable_values import unavailable_section
from .sections.validity import validity_section

_SECTIONS = (
    findings_section,
    conditions_section,
    unavailable_section,
    rate_distortion_section,
    efficiency_section,
    density_section,
    live_section,
    repeats_section,
    validity_section,
    time_series_section,
)


def make_report(data: RunData) -> Report:
    """Return the report on a run, which begins with the findings.

    Args:
        data: The run with its results.
    """
    run = data.run
    created = f"{run['created_at'][:16].replace('T', ' ')} UTC"
    farm = f"farm {data.farm_name}, " if data.farm_name else ""
    return Report(
        title=f"Benchmark report: {run['suite_name']}",
        subtitle=f"{farm}run {run['id']}, {created}",
        sections=[make_section(data) for make_section in _SECTIONS],
    )
