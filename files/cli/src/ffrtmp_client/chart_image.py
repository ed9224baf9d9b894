"""Charts as SVG, rendered by the package vl-convert-python in a process of its own.

The package contains a JavaScript engine that needs 200 MB of memory. In a process of its own, it
frees this memory at its end, and a failure of the engine does not end the program with the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

from .errors import SettingsError
from .report.document import Plot

_TIMEOUT_S = 300.0
_NOT_INSTALLED = 3
_PROGRAM = f"""
import json, sys
try:
    import vl_convert
except ImportError as error:
    sys.stderr.write(str(error))
    sys.exit({_NOT_INSTALLED})
charts = json.load(sys.stdin)
json.dump([vl_convert.vegalite_to_svg(chart, vl_version="5.20") for chart in charts], sys.stdout)
"""


def render_plots(plots: Iterable[Plot]) -> list[str]:
    """Return the charts of plots as SVG, in their order.

    Args:
        plots: The plots.

    Raises:
        SettingsError: The package vl-convert-python is not installed, or cannot draw a chart.
    """
    specifications = [dict(plot.specification) for plot in plots]
    if not specifications:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(specifications).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        reason = done.stderr.decode(errors="replace").strip()
        if done.returncode == 0:
            return [str(image) for image in json.loads(done.stdout)]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"the charts of the report cannot be drawn: {error}") from error
    if done.returncode == _NOT_INSTALLED:
        raise SettingsError(
            "the charts of the report cannot be drawn, because the Python package "
            f"vl-convert-python is not installed ({reason}). Install it with "
            f"{sys.executable} -m pip install vl-convert-python"
        )
    last = reason.splitlines()[-1] if reason else "no message"
    raise SettingsError(
        f"the charts of the report cannot be drawn: the renderer ended with {done.returncode}: "
        f"{last}"
    )
