"""Charts as SVG, rendered by the package vl-convert-python, which is imported only for this."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import SettingsError
from .report.document import Plot

_VEGA_LITE = "5.20"


def render_plots(plots: Iterable[Plot]) -> list[str]:
    """Return the charts of plots as SVG, in their order.

    Args:
        plots: The plots.

    Raises:
        SettingsError: The package vl-convert-python is not installed, or cannot draw a chart.
    """
    found = list(plots)
    if not found:
        return []
    try:
        import vl_convert  # noqa: PLC0415 - it needs 200 MB of memory
    except ImportError as error:
        raise SettingsError(
            "the charts of the report cannot be drawn, because the Python package "
            f"vl-convert-python is not installed: {error}"
        ) from error
    try:
        return [
            str(vl_convert.vegalite_to_svg(dict(plot.specification), vl_version=_VEGA_LITE))
            for plot in found
        ]
    except ValueError as error:
        raise SettingsError(f"the charts of the report cannot be drawn: {error}") from error
