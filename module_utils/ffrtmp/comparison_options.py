"""Options of ffrtmp_compare, which the module documents and its action plugin accepts."""

from __future__ import annotations

from typing import Any

QUANTITIES = ("speed", "cpu_time", "energy", "bit_rate", "vmaf_neg", "cost")
"""The quantities that are compared."""

WITHIN_A_RUN = ("ffmpegs", "nodes", "encodes")
"""The options that compare two parts of one run."""

_PAIR: dict[str, Any] = {"type": "list", "elements": "str"}

COMPARISON_SPEC: dict[str, dict[str, Any]] = {
    "a": {"type": "path", "required": True},
    "b": {"type": "path"},
    **{name: dict(_PAIR) for name in WITHIN_A_RUN},
    "quantities": {
        "type": "list",
        "elements": "str",
        "choices": list(QUANTITIES),
        "default": list(QUANTITIES),
    },
    "margin_percent": {"type": "float", "default": 1.0},
    "vmaf_margin_points": {"type": "float", "default": 0.5},
    "markdown": {"type": "path"},
    "junit": {"type": "path"},
    "fail_on_regression": {"type": "bool", "default": False},
}
"""The options."""
